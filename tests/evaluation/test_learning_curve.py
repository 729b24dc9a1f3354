"""The learning curve: the same folds with fewer entities to learn from."""

import re

import numpy as np
import pytest

from mlsys.errors import FitError
from mlsys.evaluation.backtest import run_folds
from mlsys.evaluation.learning_curve import MIN_POSITIVES, learning_curve
from mlsys.evaluation.paired import PairedBootstrap
from tests.evaluation.test_backtest import SPLIT, make_panel, plan

BOOTSTRAP = PairedBootstrap(50, 0, 0.95)


@pytest.fixture(scope="module")
def panel():
    return make_panel()


@pytest.fixture(scope="module")
def results(panel):
    return run_folds(plan(), panel, SPLIT.split(panel.frame)).folds


def curve(panel, results, *fractions, monkeypatch):
    """Return a learning curve and the folds that were fitted for it."""
    from mlsys.evaluation import learning_curve as module

    fitted = []

    def refit(plan, panel, folds):
        fitted.append(folds)
        return original(plan, panel, folds)

    original = module.refit_folds
    monkeypatch.setattr(module, "refit_folds", refit)
    return learning_curve(plan(), panel, results, fractions, BOOTSTRAP), fitted


def test_smaller_fractions_are_parts_of_larger_ones_and_keep_entities_whole(panel, results, monkeypatch):
    points, (less, half) = curve(panel, results, 0.5, 0.4, monkeypatch=monkeypatch)
    assert [point["fraction"] for point in points] == [0.4, 0.5, 1.0]
    group, label = panel.frame["group"].to_numpy(), panel.frame["label"].to_numpy()
    for small, large, result in zip(less, half, results, strict=True):
        whole = result.fold
        assert set(small.train) < set(large.train) < set(whole.train)
        assert (small.test == whole.test).all()
        left_out = np.setdiff1d(whole.train, large.train)
        assert not set(group[left_out]) & set(group[large.train])
        assert label[large.train].sum() == pytest.approx(label[whole.train].sum() / 2, rel=0.2)
        assert set(small.partial) < set(large.partial) < set(whole.partial)
        assert set(group[large.partial]) <= set(group[large.train])
    assert points[1]["rows"] == np.mean([len(fold.train) for fold in half])


def test_the_last_point_is_the_run_itself(panel, results, monkeypatch):
    points, _ = curve(panel, results, 0.5, monkeypatch=monkeypatch)
    assert points[-1]["rows"] == np.mean([len(result.fold.train) for result in results])
    entry = points[0]["metrics"]["log_loss"]
    assert entry["reference"] == pytest.approx(np.mean([result.metrics([1])["log_loss"] for result in results]))
    assert entry["difference"]["value"] == pytest.approx(entry["value"] - entry["reference"])
    assert entry["difference"]["low"] <= entry["difference"]["value"] <= entry["difference"]["high"]


def test_fractions_with_too_few_positive_rows_are_left_out_and_named(panel, results, monkeypatch, caplog):
    caplog.set_level("INFO")
    label = panel.frame["label"].to_numpy()
    fewest = min(int(label[result.fold.train].sum()) for result in results)
    points, fitted = curve(panel, results, 0.5 * MIN_POSITIVES / fewest, monkeypatch=monkeypatch)
    assert (points, fitted) == ([], [])
    assert re.search(
        r"no point at .*% of the entities: a fold would have \d positive training rows?, fewer than 10", caplog.text
    )


def test_a_point_that_cannot_be_fitted_is_left_out_and_named(panel, results, monkeypatch, caplog):
    from mlsys.evaluation import learning_curve as module

    def refit(plan, panel, folds):
        raise FitError("fold 0: the latest rows do not contain both classes.")

    monkeypatch.setattr(module, "refit_folds", refit)
    assert learning_curve(plan(), panel, results, [0.5], BOOTSTRAP) == []
    assert "no point at 50% of the entities: fold 0: the latest rows" in caplog.text
