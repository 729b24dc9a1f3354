"""Served uplift models equal their Pipelines, whatever they are made of."""

import numpy as np
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from xgboost import XGBClassifier, XGBRegressor

from mlsys.pipeline.encoders import Native, OneHot
from mlsys.pipeline.uplift import uplift
from mlsys.runs import Run
from mlsys.runs.golden import all_outputs
from mlsys.runs.inputs import to_inputs
from serve.scoring import Scorer
from tests.serve.scoring.conftest import CALIBRATIONS, component, make_run

LOGISTIC = LogisticRegression(max_iter=1000)
CASES = {
    "ridge": (uplift(LOGISTIC, Ridge(10)), "uplift"),
    "t-learner": (uplift(LOGISTIC, method="t_learner"), "uplift"),
    "propensity": (uplift(LOGISTIC, Ridge(10), LOGISTIC), "uplift"),
    "weighted": (uplift(LogisticRegression(max_iter=1000, class_weight="balanced"), method="t_learner"), "uplift"),
    "lightgbm": (uplift(LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1), Ridge(10)), "uplift"),
    "catboost": (uplift(CatBoostClassifier(iterations=5, verbose=False), Ridge(10)), "uplift"),
    "histogram": (uplift(HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5), Ridge(10)), "uplift"),
    "xgboost": (uplift(XGBClassifier(n_estimators=5), XGBRegressor(n_estimators=5)), "uplift"),
    "xgboost, median": (uplift(LOGISTIC, XGBRegressor(n_estimators=5, objective="reg:absoluteerror")), "uplift"),
    "another effect": (uplift(LOGISTIC, HistGradientBoostingRegressor(max_iter=5)), "pipeline"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_part_is_exact(case, tmp_path, rows, records):
    (model, path), calibration = CASES[case], CALIBRATIONS[[*CASES].index(case) % 4]
    scorer = Scorer.load(make_run(tmp_path / "run", model, Native(min_rows=3), calibration))
    assert scorer.path == path, scorer.reason
    run = Run.open(scorer.run.path)
    expected = all_outputs(run.model, run.calibration, to_inputs(rows, run.schema))
    names = ["uplift", "probability_if_treated", "probability_if_not"]
    many, single = scorer.score_many(records), [scorer.score(record) for record in records]
    tolerance = {"rtol": 0, "atol": 1e-6 if "boost" in case else 1e-9}
    np.testing.assert_allclose(many.probabilities, expected["probability"], **tolerance)
    np.testing.assert_allclose([each.probability for each in single], expected["probability"], **tolerance)
    np.testing.assert_allclose(np.column_stack([*many.outputs.values()]), expected[names], **tolerance)
    np.testing.assert_allclose([each.outputs for each in single], expected[names], **tolerance)
    reasons = scorer.reasons(single[0].values, top=6)
    assert abs(reasons["other"]) < 1e-4


def test_resampled_arms_are_exact(tmp_path, rows, records):
    sampler = component("sampler", "random_over")
    run = Run.open(make_run(tmp_path / "run", CASES["ridge"][0], OneHot(), CALIBRATIONS[1], sampler))
    expected = all_outputs(run.model, run.calibration, to_inputs(rows, run.schema))
    many = Scorer.load(run.path).score_many(records)
    np.testing.assert_allclose(many.probabilities, expected["probability"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(many.outputs["uplift"], expected["uplift"], rtol=0, atol=1e-9)
