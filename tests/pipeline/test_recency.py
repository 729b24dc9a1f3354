"""Training rows that are weighed by age: every model follows what is recent, at the level of recent rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from xgboost import XGBClassifier

from mlsys.pipeline.fitting import fit
from mlsys.pipeline.parameter_checks import weight_problems
from mlsys.pipeline.recency import half_life_problems, recency_weights
from mlsys.pipeline.survival import DiscreteTimeHazard

EVENTS = {"kind": "events"}
IGNORE_WEIGHTS = ("activity", "dummy")  # they rank by one column, or not at all


@pytest.fixture
def reversed_past(table):
    """Return rows twice: as they are, and with the other label and hardly any weight."""
    training = table.training()
    old = training.details.assign(days_to_outcome=np.where(table.labels == 0, 15.0, np.nan))
    details = pd.concat([old, training.details], ignore_index=True)
    weights = np.repeat([1e-3, 1.0], len(table.labels))
    inputs = pd.concat([table.inputs, table.inputs], ignore_index=True)
    labels = np.concatenate([1 - table.labels, table.labels]).astype(np.int8)
    validation = np.arange(len(labels)) >= len(labels) - 100
    rows = replace(training, inputs=inputs, labels=labels, details=details, weights=weights)
    return replace(rows, validation=validation, early=~validation)


def test_every_model_learns_from_the_rows_with_weight(any_model, spec, table, later, reversed_past):
    fitted = fit(spec(any_model), reversed_past)
    probability = fitted.calibration.apply(fitted.scores(later.inputs))
    assert probability.mean() == pytest.approx(table.labels.mean(), abs=0.08)  # half of all rows are positive
    if any_model not in IGNORE_WEIGHTS:
        assert roc_auc_score(later.labels, fitted.scores(later.inputs)) > 0.7


@pytest.mark.parametrize("model", ["xgboost", "lightgbm", "catboost", "hist_gradient_boosting", "ebm"])
def test_early_stopping_keeps_the_weights(model, spec, later, reversed_past):
    fitted = fit(spec(model, stop_after=5), reversed_past)
    assert fitted.iterations is not None
    assert roc_auc_score(later.labels, fitted.scores(later.inputs)) > 0.7


def test_a_row_of_weight_2_counts_like_two(spec, table):
    training = table.training()
    weight = np.where(np.arange(len(table.labels)) % 3 == 0, 2.0, 1.0)
    weighted = replace(training, weights=weight)
    again = np.repeat(np.arange(len(weight)), weight.astype(int))
    repeated = replace(
        training, inputs=table.inputs.iloc[again], labels=table.labels[again], details=training.details.iloc[again]
    )
    for model in (LogisticRegression(class_weight={1: 5}), DiscreteTimeHazard(LogisticRegression(), [7, 14, 21, 30])):
        scores = []
        for rows in (weighted, repeated):
            fitted = fit(spec(model), rows)
            scores.append(fitted.calibration.apply(fitted.scores(table.inputs)))
        np.testing.assert_allclose(scores[0], scores[1], atol=0.01)


# Refusals


@pytest.mark.parametrize(
    ("model", "sampler", "data", "got"),
    [
        (KNeighborsClassifier(), None, EVENTS, "240, but KNeighborsClassifier (model) cannot weigh rows"),
        (
            VotingClassifier([("near", KNeighborsClassifier()), ("line", LogisticRegression())]),
            None,
            EVENTS,
            "240, but KNeighborsClassifier (model.members.near) cannot weigh rows",
        ),
        (
            DiscreteTimeHazard(LogisticRegression(class_weight="balanced")),
            None,
            EVENTS,
            "240, but LogisticRegression (model.hazard) has class weights that follow the rows",
        ),
        (XGBClassifier(), object(), EVENTS, "240, with the sampler object"),
        (XGBClassifier(), None, {"kind": "table", "time": None}, "240, for a table without times"),
    ],
)
def test_what_does_not_go_with_weights_is_refused(model, sampler, data, got):
    (problem,) = weight_problems(model, sampler, 240, data)
    assert (problem.where, problem.got) == ("fit.half_life_days", got)
    assert problem.allowed.startswith("null, or ")
    assert weight_problems(model, sampler, None, data) == []


@pytest.mark.parametrize(("half_life", "least"), [(1e-9, "2 days"), (1.0, "2 days"), (1.7, "")])
def test_a_half_life_that_leaves_old_rows_no_weight_is_refused(half_life, least):
    times = pd.Series(pd.date_range("2020-01-01", "2020-07-28", freq="28D"))  # 196 days
    problems = half_life_problems(half_life, times)
    assert [problem.allowed for problem in problems] == ([f"null, or at least {least}"] if least else [])
    lightest = np.float32(recency_weights(times, times.iloc[-1], 1.7).min())
    assert lightest >= np.finfo(np.float32).tiny


def test_one_as_of_takes_any_half_life():
    assert half_life_problems(1e-9, pd.Series(pd.to_datetime(["2020-01-01"] * 3))) == []


def test_models_that_can_weigh_rows_are_accepted(any_model, component):
    assert weight_problems(component("model", any_model), None, 240, {"kind": "table", "time": "day"}) == []
