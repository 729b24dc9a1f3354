"""A model of when the outcome comes: its probabilities by day, in every answer, equal those of training."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

from mlsys.errors import RunError
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.composites import PartialRows
from mlsys.pipeline.encoders import Native
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import vote
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.survival import DiscreteTimeHazard
from mlsys.runs import Run
from mlsys.runs.golden import check_golden
from mlsys.runs.inputs import to_inputs
from mlsys.runs.model_io import model_bytes
from mlsys.runs.model_outputs import more_outputs
from mlsys.runs.pyfunc import RunModel
from serve.openapi import document
from serve.scoring import Scorer
from serve.scoring.encoding import known_levels
from serve.scoring.skops_reader import read_skops
from tests.serve.scoring.conftest import details_of, panel

NAMES = ["by_7d", "by_14d", "by_21d", "by_30d"]
CALIBRATIONS = range(4)  # none, prior, sigmoid, isotonic


def expected(run, rows):
    outputs = more_outputs(run.model, run.calibration, to_inputs(rows, run.schema))
    assert list(outputs) == NAMES
    return np.column_stack([*outputs.values()])


def by_day(answer):
    return [answer[name] for name in NAMES]


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_the_last_day_has_the_probability_and_earlier_ones_less(calibration, run_of, rows, records):
    scorer = Scorer.load(run_of("survival", "native", calibration))
    assert scorer.path == "survival", scorer.reason
    assert list(scorer.outputs) == NAMES
    many = scorer.score_many(records)
    found = np.column_stack([*many.outputs.values()])
    np.testing.assert_allclose(found, expected(Run.open(scorer.run.path), rows), rtol=0, atol=1e-9)
    assert np.array_equal(found[:, -1], many.probabilities)
    assert (np.diff(found, axis=1) >= 0).all()
    prediction = scorer.score(records[0])
    assert prediction.outputs[-1] == prediction.probability
    assert list(prediction.outputs) == sorted(prediction.outputs)


@pytest.mark.parametrize("model", ["vote", "stack"])
def test_a_member_is_scored_and_explained_exactly(model, run_of, rows, records):
    when = DiscreteTimeHazard(LogisticRegression(C=0.1, max_iter=1000), [7, 14, 21, 30])
    members = [("trees", XGBClassifier(n_estimators=5, random_state=0)), ("when", when)]
    scorer = Scorer.load(run_of(model, estimators=members))
    assert scorer.path == model, scorer.reason
    run = Run.open(scorer.run.path)
    truth = run.calibration.apply(run.model.predict_proba(to_inputs(rows, run.schema))[:, 1])
    np.testing.assert_allclose(scorer.score_many(records).probabilities, truth, rtol=0, atol=1e-6)
    prediction = scorer.score(records[0])
    assert prediction.probability == pytest.approx(truth[0], abs=1e-6)
    reasons = scorer.reasons(prediction.values, top=None)
    assert abs(reasons["other"]) < 1e-4
    assert {reason["field"] for reason in reasons["top"]} <= set(rows.columns)


def test_values_that_only_a_member_of_when_has_seen_are_known():
    frame, label = panel()
    details = details_of(frame, label)
    new = PartialRows(frame.assign(plan=pd.Series("new", frame.index, dtype="str")), details)
    numbers, categories = ["users", "mrr", "empty", "trend"], ["industry", "plan"]
    when = DiscreteTimeHazard(LogisticRegression(max_iter=1000), [7, 14, 21, 30])
    made = vote({"trees": XGBClassifier(n_estimators=2, random_state=0), "when": when})
    recipe = PipelineSpec(Native(), None, made, Identity(), numbers, categories, stop_after=None)
    fitted = fit(recipe, Training(frame, label, details=details, partial=new))
    assert "new" in known_levels(read_skops(model_bytes(fitted.pipeline), "model"))["plan"]


def test_hazards_without_a_fast_path_are_scored_by_the_pipeline(run_of, rows, records):
    hazard = XGBClassifier(n_estimators=5, missing=0.0, random_state=0)
    scorer = Scorer.load(run_of("survival", hazard=hazard))
    assert scorer.path == "pipeline"
    assert (
        "the model of the hazards has no fast path: there is no fast path for XGBoost with missing=0" in scorer.reason
    )
    truth = expected(Run.open(scorer.run.path), rows)
    np.testing.assert_array_equal(np.column_stack([*scorer.score_many(records).outputs.values()]), truth)
    assert scorer.score(records[0]).outputs == pytest.approx(truth[0], abs=1e-9)
    reasons = scorer.reasons(scorer.score(records[0]).values)
    assert {reason["field"] for reason in reasons["top"]} <= set(rows.columns)


def test_answers_have_the_probabilities_by_day(run_of, records, inside_of):
    service = inside_of(Run.open(run_of("survival")))
    single = service.post("/predict", records[0]).json()
    assert single["by_30d"] == single["probability"]
    assert by_day(single) == sorted(by_day(single))
    explained = service.post("/predict?explain=true", records[0]).json()
    assert by_day(explained) == by_day(single)
    assert explained["reasons"]["top"]

    batch = service.post("/predict/batch", {"records": records[:3]}).json()["predictions"]
    assert by_day(batch[0]) == pytest.approx(by_day(single), abs=4e-6)
    table = pa.Table.from_pylist(records[:3])
    body = io.BytesIO()
    pyarrow.csv.write_csv(table, body)
    answer = service.post("/predict/batch", content=body.getvalue(), headers={"content-type": "text/csv"})
    columns = pyarrow.csv.read_csv(io.BytesIO(answer.content))
    for name in NAMES:
        assert columns[name].to_pylist() == pytest.approx([each[name] for each in batch])


def test_the_documentation_has_them_only_where_the_model_does(run_of, inside_of, records):
    champion = inside_of(Run.open(run_of("survival"))).service.slot.champion
    schemas = document(champion, keys=False)["components"]["schemas"]
    for schema in (schemas["Prediction"], schemas["Predictions"]["properties"]["predictions"]["items"]):
        assert schema["properties"]["by_7d"] == {
            "type": "number",
            "minimum": 0.0,
            "maximum": 1.0,
            "description": "Probability of the outcome within 7 days.",
        }
        assert {*NAMES} <= {*schema["required"]}
    other = inside_of(Run.open(run_of("logistic")))
    assert "by_7d" not in str(document(other.service.slot.champion, keys=False))
    assert "by_7d" not in other.post("/predict", records[0]).json()
    assert "by_7d" not in other.post("/predict/batch", {"records": records[:1]}).json()["predictions"][0]


def test_class_weights_are_corrected_as_in_training(run_of, rows, records):
    scorer = Scorer.load(run_of("survival", calibration=0, hazard=XGBClassifier(n_estimators=5, scale_pos_weight=20)))
    assert scorer.path == "survival", scorer.reason
    truth = expected(Run.open(scorer.run.path), rows)
    assert scorer.score(records[0]).outputs == pytest.approx(truth[0], abs=1e-5)
    np.testing.assert_allclose(scorer.score_many(records).probabilities, truth[:, -1], rtol=0, atol=1e-9)
    reasons = scorer.reasons(scorer.score(records[0]).values, top=None)
    assert abs(reasons["other"]) < 1e-4


def test_a_model_logged_for_mlflow_returns_them_too(run_of, rows):
    run = Run.open(run_of("survival"))
    found = RunModel(run).predict(rows)
    assert list(found) == ["score", "probability", *NAMES]
    np.testing.assert_array_equal(found[NAMES].to_numpy(), expected(run, rows))


def test_the_golden_rows_have_them(run_of):
    run = Run.open(run_of("survival"))
    check_golden(run)
    run.golden.loc[3, "by_7d"] += 1e-5
    with pytest.raises(RunError, match=r"1 of 12 differs in by_7d, by up to 1e-05"):
        check_golden(run)
