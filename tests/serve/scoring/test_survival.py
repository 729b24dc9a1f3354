"""A model of when the outcome comes: its probabilities by day, in every answer, equal those of training."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from xgboost import XGBClassifier

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.runs.golden import check_golden
from mlsys.runs.inputs import to_inputs
from mlsys.runs.model_outputs import more_outputs
from mlsys.runs.pyfunc import RunModel
from serve.openapi import document
from serve.scoring import Scorer

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
