"""Performance by the age of a model: earlier models on later folds."""

import numpy as np
import pytest

from mlsys.evaluation.ageing import performance_by_age
from mlsys.evaluation.backtest import run_folds
from mlsys.evaluation.metrics import fold_metrics
from mlsys.evaluation.paired import PairedBootstrap
from mlsys.evaluation.splits import GroupKFold
from tests.evaluation.test_backtest import SPLIT, make_panel, plan

BOOTSTRAP = PairedBootstrap(50, 0, 0.95)


@pytest.fixture(scope="module")
def panel():
    return make_panel()


@pytest.fixture(scope="module")
def results(panel):
    return run_folds(plan(), panel, SPLIT.split(panel.frame)).folds


def test_each_age_is_that_of_earlier_models_on_later_rows(panel, results):
    ages = performance_by_age(results, panel, BOOTSTRAP)
    assert [(age["days"], age["folds"]) for age in ages] == [(28, 2), (56, 1)]
    first, last = results[0], results[-1]
    scores = first.fitted.scores(panel.inputs.iloc[last.fold.test])
    old = fold_metrics(last.predictions["label"], first.fitted.calibration.apply(scores), None, top_k=[1])
    for name, entry in ages[-1]["metrics"].items():
        assert (entry["value"], entry["reference"]) == pytest.approx((old[name], last.metrics([1])[name]))
        assert entry["difference"]["value"] == pytest.approx(old[name] - last.metrics([1])[name])
    assert ages[0]["metrics"]["roc_auc"]["reference"] == pytest.approx(
        np.mean([result.metrics([1])["roc_auc"] for result in results[1:]])
    )


def test_an_outcome_that_changes_ages_the_model(panel):
    frame = panel.frame.copy()
    latest = frame["as_of"] >= sorted(frame["as_of"].unique())[-3]
    frame.loc[latest, "users"] = -frame.loc[latest, "users"]
    changed = type(panel)(frame, panel.features)
    ages = performance_by_age(run_folds(plan(), changed, SPLIT.split(frame)).folds, changed, BOOTSTRAP)
    assert ages[-1]["metrics"]["log_loss"]["difference"]["value"] > 0


def test_a_fold_of_one_class_has_no_roc_auc(panel):
    frame = panel.frame.copy()
    folds = SPLIT.split(frame)
    frame.loc[folds[1].test, "label"] = 0
    changed = type(panel)(frame, panel.features)
    youngest, oldest = performance_by_age(run_folds(plan(), changed, folds).folds, changed, BOOTSTRAP)
    assert youngest["folds"] == 2
    assert youngest["metrics"]["roc_auc"]["reference"] == oldest["metrics"]["roc_auc"]["reference"]


def test_a_split_that_ignores_time_has_no_ages(panel):
    folds = GroupKFold(folds=3).split(panel.frame)
    assert performance_by_age(run_folds(plan(), panel, folds).folds, panel, BOOTSTRAP) == []
