"""The service returns the run's own probabilities, for every model, encoder and format of input."""

import io
import math
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.runs import Run
from mlsys.runs.golden import predict
from mlsys.runs.inputs import to_inputs
from mlsys.runs.model_outputs import more_outputs
from serve.scoring import Scorer
from serve.scoring.tables import read_csv
from serve.scoring.trees.compiled import is_compiled

CONF = Path(__file__).parents[3] / "conf"
PATHS = {
    "xgboost": "trees", "lightgbm": "lightgbm", "catboost": "catboost", "logistic": "linear", "random_forest": "trees",
    "hist_gradient_boosting": "trees", "ebm": "terms", "vote": "vote", "stack": "stack", "activity": "baseline",
    "dummy": "baseline", "survival": "survival", "uplift": "uplift",
}  # fmt: skip
ENCODERS = ("native", "onehot", "ordinal", "target")
FLOAT32 = ("xgboost", "survival", "vote", "stack")


def options(group):
    return {path.stem for path in (CONF / group).glob("*.yaml")}


def test_every_model_and_encoder_is_covered():
    assert set(PATHS) == options("model") - {"auto"}  # which ends as one of the others
    assert set(ENCODERS) == options("encoder")


@pytest.mark.parametrize(("model", "encoder"), list(product(PATHS, ENCODERS)))
def test_single_batch_and_tables_equal_the_pipeline(model, encoder, run_of, rows, records):
    calibration = (sorted(PATHS).index(model) + ENCODERS.index(encoder)) % 4
    scorer = Scorer.load(run_of(model, encoder, calibration))
    traversed = model == "lightgbm" and encoder != "native" and is_compiled()
    assert scorer.path == ("trees" if traversed else PATHS[model]), scorer.reason
    run = Run.open(scorer.run.path)
    _, expected = predict(run.model, run.calibration, to_inputs(rows, run.schema))

    tolerance = 1e-6 if model in FLOAT32 else 1e-9
    single = [scorer.score(record).probability for record in records]
    np.testing.assert_allclose(single, expected, rtol=0, atol=tolerance)
    many = scorer.score_many(records)
    np.testing.assert_allclose(many.probabilities, expected, rtol=0, atol=1e-9)
    table = pa.Table.from_pandas(rows.assign(id=range(len(rows)), as_of="2020-01-06"))
    parquet, csv = io.BytesIO(), rows.to_csv(index=False).encode()
    pq.write_table(table, parquet)
    for each in (table, pq.read_table(parquet), read_csv(csv, scorer.inputs)):
        np.testing.assert_array_equal(scorer.score_table(each).probabilities, many.probabilities)
    assert many.warnings.keys() >= {3, 4, 5, 13}
    outputs = more_outputs(run.model, run.calibration, to_inputs(rows, run.schema))
    check_further_outputs(scorer, many, records, outputs, tolerance)
    assert many.decisions.tolist() == [probability >= 0.3 for probability in many.probabilities]
    check_that_reasons_add_up(scorer, records, many.probabilities)


def check_further_outputs(scorer, many, records, expected, tolerance):
    assert list(many.outputs) == list(scorer.outputs) == list(expected)
    single = np.array([scorer.score(record).outputs for record in records])
    for position, (name, values) in enumerate(expected.items()):
        np.testing.assert_allclose(many.outputs[name], values, rtol=0, atol=1e-9)
        np.testing.assert_allclose(single[:, position], values, rtol=0, atol=tolerance)


def check_that_reasons_add_up(scorer, records, probabilities):
    for record, probability in zip(records[::7], probabilities[::7], strict=True):
        values = scorer.score(record).values
        reasons = scorer.reasons(values, top=2)
        assert len(reasons["top"]) == 2
        named = sum(reason["contribution"] for reason in reasons["top"])
        assert reasons["base"] + named + reasons["other"] == pytest.approx(reasons["total"], abs=1e-9)
        every = scorer.reasons(values, top=6)
        assert abs(every["other"]) < 1e-4  # all fields are listed: only rounding is left
        if reasons["scale"] == "log-odds":
            assert reasons["total"] == pytest.approx(math.log(probability / (1 - probability)), abs=1e-4)


ONE_KIND = [(model, "native", ("industry", "plan")) for model in PATHS if model != "activity"]
ONE_KIND += [("xgboost", encoder, ("plan",)) for encoder in ENCODERS if encoder != "native"]
ONE_KIND += [("logistic", "native", ("users", "mrr", "trend"))]


@pytest.mark.parametrize(("model", "encoder", "columns"), ONE_KIND)
def test_inputs_of_one_kind(model, encoder, columns, run_of, rows, records):
    scorer = Scorer.load(run_of(model, encoder, columns=columns))
    assert scorer.path != "pipeline", scorer.reason
    run = Run.open(scorer.run.path)
    rows = rows[list(columns)]
    _, expected = predict(run.model, run.calibration, to_inputs(rows, run.schema))
    records = [{name: record[name] for name in columns} for record in records]
    single = [scorer.score(record).probability for record in records]
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-6 if model in FLOAT32 else 1e-9)
    many = scorer.score_many(records).probabilities
    np.testing.assert_allclose(many, expected, rtol=0, atol=1e-9)
    csv = read_csv(rows.to_csv(index=False).encode(), scorer.inputs)
    for table in (pa.Table.from_pandas(rows), csv):
        np.testing.assert_array_equal(scorer.score_table(table).probabilities, many)
    scorer.reasons(scorer.score(records[0]).values)


@pytest.mark.parametrize(
    ("model", "encoder", "sampler"),
    [
        ("catboost", "native", "smotenc"),
        ("lightgbm", "native", "smotenc"),
        ("xgboost", "native", "smotenc"),
        ("xgboost", "native", "random_over"),
        ("vote", "native", "smote"),
        ("stack", "native", "smote"),
        ("hist_gradient_boosting", "native", "smotenc"),
        ("ebm", "native", "smotenc"),
        ("xgboost", "target", "smote"),
        ("random_forest", "ordinal", "smote"),
        ("survival", "native", "smotenc"),
        ("survival", "onehot", "random_over"),
    ],
)
def test_encoders_that_impute_and_scale_for_a_sampler_give_the_same(model, encoder, sampler, run_of, rows, records):
    scorer = Scorer.load(run_of(model, encoder, sampler=sampler))
    assert scorer.path == PATHS[model], scorer.reason
    run = Run.open(scorer.run.path)
    _, expected = predict(run.model, run.calibration, to_inputs(rows, run.schema))
    single = [scorer.score(record).probability for record in records]
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-6 if model in FLOAT32 else 1e-9)
    np.testing.assert_allclose(scorer.score_many(records).probabilities, expected, rtol=0, atol=1e-9)


COLUMN_PARAMETERS = {
    "xgboost": {"monotone_constraints": {"users": 1}, "interaction_constraints": [["users", "plan"], ["mrr", "trend"]]},
    "lightgbm": {
        "monotone_constraints": [1, 0, -1, 0, 0, 0],
        "class_weight": {0: 1, 1: 4},
        "feature_contri": {"mrr": 2},
    },
    "catboost": {"monotone_constraints": {"users": 1}, "class_weights": (1, 4), "ignored_features": ["industry"]},
    "hist_gradient_boosting": {"monotonic_cst": {"users": 1}, "interaction_cst": [["users", "plan"]]},
    "ebm": {"monotone_constraints": {"users": 1}, "interactions": [["mrr", "plan"], ["mrr", "trend", "plan"]]},
    "random_forest": {"monotonic_cst": {"users": 1}, "class_weight": {0: 1, 1: 4}},
    "logistic": {"class_weight": {0: 1, 1: 4}},
}


@pytest.mark.parametrize("encoder", ["native", "onehot"])
@pytest.mark.parametrize("model", COLUMN_PARAMETERS)
def test_models_with_constraints_and_weights_keep_their_fast_path(model, encoder, run_of, rows, records):
    scorer = Scorer.load(run_of(model, encoder, **COLUMN_PARAMETERS[model]))
    assert scorer.path == ("trees" if (model, encoder) == ("lightgbm", "onehot") and is_compiled() else PATHS[model])
    run = Run.open(scorer.run.path)
    _, expected = predict(run.model, run.calibration, to_inputs(rows, run.schema))
    single = [scorer.score(record).probability for record in records]
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-6 if model in FLOAT32 else 1e-9)
    check_that_reasons_add_up(scorer, records, scorer.score_many(records).probabilities)


def test_xgboosts_own_mark_for_missing_numbers_is_scored_by_the_pipeline(run_of, rows, records):
    scorer = Scorer.load(run_of("xgboost", missing=0.0))
    assert scorer.path == "pipeline"
    assert "there is no fast path for XGBoost with missing=0" in scorer.reason
    run = Run.open(scorer.run.path)
    _, expected = predict(run.model, run.calibration, to_inputs(rows, run.schema))
    np.testing.assert_array_equal(scorer.score_many(records).probabilities, expected)


def test_a_batch_of_many_chunks_keeps_its_order(run_of, records):
    scorer = Scorer.load(run_of("lightgbm"))
    order = np.random.default_rng(0).integers(0, len(records), 3_000)
    singly = np.array([scorer.score(record).probability for record in records])
    many = scorer.score_many([records[i] for i in order])
    np.testing.assert_array_equal(many.probabilities, singly[order])
    assert many.warnings == {
        row: scorer.score(records[i]).warnings
        for row, i in enumerate(order.tolist())
        if scorer.score(records[i]).warnings
    }
    assert many.values(2_999)[1] == scorer.score(records[order[-1]]).values[1]


def test_an_empty_batch_has_an_empty_result(run_of):
    scorer = Scorer.load(run_of("logistic"))
    assert len(scorer.score_many([]).probabilities) == 0
