"""A model of when the outcome comes: its probabilities by day, in every answer, equal those of training."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from xgboost import XGBClassifier

from mlsys.runs import Run
from mlsys.runs.hazards import calibrated_by_day
from mlsys.runs.inputs import to_inputs
from serve.openapi import document
from serve.scoring import Scorer

DAYS = ["7", "14", "21", "30"]
CALIBRATIONS = range(4)  # none, prior, sigmoid, isotonic


def expected(run, rows):
    by_day = run.model[-1].predict_by_day(to_inputs(rows, run.schema))
    return calibrated_by_day(by_day, run.calibration.apply(by_day[:, -1]))


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_single_records_and_batches_equal_training(calibration, run_of, rows, records):
    scorer = Scorer.load(run_of("survival", "native", calibration))
    assert scorer.path == "survival", scorer.reason
    truth = expected(Run.open(scorer.run.path), rows)
    many = scorer.score_many(records)
    np.testing.assert_allclose(np.column_stack(list(many.by_days.values())), truth, rtol=0, atol=1e-9)
    assert np.array_equal(many.by_days["30"], many.probabilities)
    for record, by_day in zip(records, truth, strict=True):
        prediction = scorer.score(record)
        assert list(prediction.by_days) == DAYS
        assert list(prediction.by_days.values()) == pytest.approx(by_day, abs=4e-6)
        assert prediction.by_days["30"] == prediction.probability


def test_hazards_without_a_fast_path_are_scored_by_the_pipeline(run_of, rows, records):
    hazard = XGBClassifier(n_estimators=5, missing=0.0, random_state=0)
    scorer = Scorer.load(run_of("survival", hazard=hazard))
    assert scorer.path == "pipeline"
    assert (
        "the model of the hazards has no fast path: there is no fast path for XGBoost with missing=0" in scorer.reason
    )
    truth = expected(Run.open(scorer.run.path), rows)
    np.testing.assert_array_equal(np.column_stack(list(scorer.score_many(records).by_days.values())), truth)
    assert list(scorer.score(records[0]).by_days.values()) == pytest.approx(truth[0], abs=1e-9)
    reasons = scorer.reasons(scorer.score(records[0]).values)
    assert {reason["field"] for reason in reasons["top"]} <= set(rows.columns)


def test_answers_have_the_probabilities_by_day(run_of, records, inside_of):
    service = inside_of(Run.open(run_of("survival")))
    single = service.post("/predict", records[0]).json()
    assert list(single["by_days"]) == DAYS
    assert single["by_days"]["30"] == single["probability"]
    assert list(single["by_days"].values()) == sorted(single["by_days"].values())
    explained = service.post("/predict?explain=true", records[0]).json()
    assert explained["by_days"] == single["by_days"]
    assert explained["reasons"]["top"]

    batch = service.post("/predict/batch", {"records": records[:3]}).json()["predictions"]
    assert batch[0]["by_days"] == pytest.approx(single["by_days"], abs=4e-6)
    table = pa.Table.from_pylist(records[:3])
    body = io.BytesIO()
    pyarrow.csv.write_csv(table, body)
    answer = service.post("/predict/batch", content=body.getvalue(), headers={"content-type": "text/csv"})
    columns = pyarrow.csv.read_csv(io.BytesIO(answer.content))
    assert columns.column_names[-4:] == ["by_7d", "by_14d", "by_21d", "by_30d"]
    assert columns["by_7d"].to_pylist() == pytest.approx([each["by_days"]["7"] for each in batch])


def test_the_documentation_has_them_only_where_the_model_does(run_of, inside_of, records):
    schemas = document(inside_of(Run.open(run_of("survival"))).service.slot.champion, keys=False)["components"][
        "schemas"
    ]
    for schema in (schemas["Prediction"], schemas["Predictions"]["properties"]["predictions"]["items"]):
        assert list(schema["properties"]["by_days"]["properties"]) == DAYS
        assert "by_days" in schema["required"]
    other = inside_of(Run.open(run_of("logistic")))
    assert "by_days" not in str(document(other.service.slot.champion, keys=False))
    assert "by_days" not in other.post("/predict", records[0]).json()
    assert "by_days" not in other.post("/predict/batch", {"records": records[:1]}).json()["predictions"][0]


def test_class_weights_are_corrected_as_in_training(run_of, rows, records):
    scorer = Scorer.load(run_of("survival", calibration=0, hazard=XGBClassifier(n_estimators=5, scale_pos_weight=20)))
    assert scorer.path == "survival", scorer.reason
    truth = expected(Run.open(scorer.run.path), rows)
    assert list(scorer.score(records[0]).by_days.values()) == pytest.approx(truth[0], abs=1e-5)
    np.testing.assert_allclose(scorer.score_many(records).probabilities, truth[:, -1], rtol=0, atol=1e-9)
    reasons = scorer.reasons(scorer.score(records[0]).values, top=None)
    assert abs(reasons["other"]) < 1e-4
