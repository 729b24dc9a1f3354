"""The discrete-time hazard model: known hazards are found, unknown ones do not bias it, and every classifier works."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

from mlsys.errors import EstimatorError, OneClassError
from mlsys.pipeline.column_parameters import Columns
from mlsys.pipeline.composites import MemberRows, PartialRows, composite_of
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import vote
from mlsys.pipeline.parameter_checks import column_problems, horizon_problems, parameter_problems
from mlsys.pipeline.stacking import stack
from mlsys.pipeline.survival import DiscreteTimeHazard, person_periods
from mlsys.runs.hazards import by_day_name, calibrated_by_day, cumulative_hazard, probability_by
from mlsys.runs.model_io import model_bytes, model_from_bytes
from mlsys.runs.model_outputs import more_outputs

ENDS = [7, 14, 21, 30]
NAN = np.nan


def rows_of(outcome, known, partial=None):
    """Return rows with one input, their number."""
    details = pd.DataFrame({"days_to_outcome": outcome, "days_known": known}, dtype=np.float64)
    inputs = pd.DataFrame({"row": np.arange(len(details), dtype=np.float64)})
    return MemberRows(inputs, (details["days_to_outcome"] <= 30).to_numpy(np.int8), details, partial)


def periods(rows):
    """Return row, end of the interval and label of each row and interval."""
    made = person_periods(rows, ENDS)
    end = made.inputs["interval_start"] + made.inputs["interval_days"]
    return sorted(zip(made.inputs["row"].astype(int), end.astype(int), made.labels.tolist(), strict=True))


# Rows and intervals


def test_a_row_is_at_risk_until_its_outcome():
    assert periods(rows_of([7, 8, NAN], 30)) == [
        *((0, 7, 1), (1, 7, 0), (1, 14, 1)),
        *((2, 7, 0), (2, 14, 0), (2, 21, 0), (2, 30, 0)),
    ]


def test_an_outcome_after_the_horizon_is_none():
    assert periods(rows_of([3, 31], 60))[1:] == periods(rows_of([3, NAN], 60))[1:]


def test_an_interval_that_is_not_over_does_not_count_even_if_the_outcome_has_come():
    assert periods(rows_of([3, 9, NAN], [30, 13, 13])) == [(0, 7, 1), (1, 7, 0), (2, 7, 0)]


def test_partly_known_rows_add_the_intervals_that_are_over():
    partial = PartialRows(pd.DataFrame({"row": [8.0, 9.0]}), rows_of([NAN, 2], [20, 6]).details)
    assert periods(rows_of([3], [30], partial)) == [(0, 7, 1), (8, 7, 0), (8, 14, 0)]


def test_rows_without_any_outcome_in_an_interval_that_is_over_are_an_error():
    with pytest.raises(OneClassError, match=r"^All 2 intervals of the training rows are negative\.$"):
        person_periods(rows_of([9, NAN], [13, 13]), ENDS)


# Known hazards


def simulated(count, seed=0):
    """Return one input, days to the outcome, and the true probability by each interval's end."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, count).astype(float)
    starts, lengths = np.array([0, *ENDS[:-1]]), np.diff([0, *ENDS])
    log_odds = -4 + x[:, None] - 0.03 * starts + np.log(lengths / 7) * (lengths > 7)
    hazards = 1 / (1 + np.exp(-log_odds))
    falls = rng.random(hazards.shape) < hazards
    first = falls.argmax(axis=1)
    days = np.where(falls.any(axis=1), starts[first] + 1 + rng.integers(0, 7, count), np.nan)
    return pd.DataFrame({"x": x}), days, probability_by(cumulative_hazard(hazards))


BOOSTED = XGBClassifier(n_estimators=60, max_depth=2, learning_rate=0.2, random_state=0)


@pytest.mark.parametrize("hazard", [LogisticRegression(C=100), BOOSTED], ids=["logistic", "xgboost"])
@pytest.mark.parametrize("known", ["all", "part"])
def test_known_hazards_are_found_also_from_rows_known_in_part(hazard, known):
    inputs, days, truth = simulated(20_000)
    days_known = np.full(len(days), 60.0)
    if known == "part":  # young rows: what comes after is unknown
        days_known = np.random.default_rng(1).integers(1, 60, len(days)).astype(float)
        days = np.where(days <= days_known, days, np.nan)
    model = DiscreteTimeHazard(hazard, ENDS)
    model.fit(inputs, days <= 30, days_to_outcome=days, days_known=days_known)
    groups, true, found = inputs["x"], pd.DataFrame(truth), pd.DataFrame(model.predict_by_day(inputs))
    np.testing.assert_allclose(found.groupby(groups).mean(), true.groupby(groups).mean(), atol=0.012)


def test_class_weights_and_samplers_do_not_change_the_level(spec, table):
    def mean(model, **parts):
        return fit(spec(model, **parts), table.training()).scores(table.inputs).mean()

    plain = DiscreteTimeHazard(LogisticRegression(C=0.1, max_iter=1000), ENDS)
    weighted = DiscreteTimeHazard(LogisticRegression(C=0.1, max_iter=1000, class_weight={0: 1, 1: 20}), ENDS)
    assert mean(plain) == pytest.approx(table.labels.mean(), abs=0.01)
    assert mean(weighted) == pytest.approx(table.labels.mean(), abs=0.03)
    for sampler in ("random_under", "smotenc"):
        assert mean(plain, sampler=sampler) == pytest.approx(table.labels.mean(), abs=0.06), sampler


# The estimator


def test_every_model_can_be_that_of_the_hazards(any_model, component, spec, table, later):
    if any_model == "survival":
        return
    made = DiscreteTimeHazard(component("model", any_model), ENDS)
    fitted = fit(spec(made), table.training())
    outputs = more_outputs(fitted.pipeline, fitted.calibration, later.inputs)
    assert list(outputs) == [by_day_name(day) for day in ENDS]
    by_day = np.column_stack([*outputs.values()])
    assert np.array_equal(by_day[:, -1], fitted.scores(later.inputs))  # nothing to calibrate
    assert (np.diff(by_day, axis=1) >= 0).all()
    assert (by_day > 0).all()
    again = model_from_bytes(model_bytes(fitted.pipeline), "here")
    np.testing.assert_array_equal(
        again[-1].predict_by_day(later.inputs), fitted.pipeline[-1].predict_by_day(later.inputs)
    )


@pytest.mark.parametrize("encoder", ["native", "onehot", "target"])
def test_parameters_that_refer_to_columns_are_those_of_the_panel(encoder, spec, table):
    users = table.numbers[0]
    made = DiscreteTimeHazard(XGBClassifier(n_estimators=10, monotone_constraints=[1] + [0] * 8, random_state=0), ENDS)
    assert column_problems(made, Columns([*table.numbers, *table.categories], table.categories)) == []
    fitted = fit(spec(made, encoder), table.training())
    grid = pd.concat([table.inputs.iloc[[0]]] * 9, ignore_index=True).assign(**{users: np.arange(9.0)})
    assert np.diff(fitted.scores(grid)).min() >= 0


def test_it_can_be_cloned_and_refuses_classes_it_cannot_learn(spec, table):
    model = DiscreteTimeHazard(LogisticRegression(), ENDS)
    assert clone(model).get_params()["hazard__C"] == 1.0
    late = replace(table.training(), details=pd.DataFrame({"days_to_outcome": np.full(300, NAN), "days_known": 60.0}))
    with pytest.raises(OneClassError, match="All 1,200 intervals"):
        fit(spec(model), late)


def test_an_error_of_the_hazards_names_that_model(spec, table):
    made = DiscreteTimeHazard(LogisticRegression(solver="no such"), ENDS)
    with pytest.raises(EstimatorError, match=r"^LogisticRegression could not be fitted on .* with 11 features"):
        fit(spec(made), table.training())


class Doubtful(LogisticRegression):
    """Returns numbers that are no probabilities."""

    def predict_proba(self, X):
        return super().predict_proba(X) + 1


def test_hazards_that_are_no_probabilities_are_an_error(spec, table):
    fitted = fit(spec(DiscreteTimeHazard(Doubtful(max_iter=1000), ENDS)), table.training())
    with pytest.raises(EstimatorError, match=r"^DiscreteTimeHazard gives 300 of 300 rows a score that is no prob"):
        fitted.scores(table.inputs)


# As a member


@pytest.mark.parametrize("combine", [vote, stack])
def test_a_member_learns_from_partly_known_rows_and_other_members_do_not(combine, spec, table, later):
    when = DiscreteTimeHazard(LogisticRegression(max_iter=1000), ENDS)
    made = spec(combine({"whether": LogisticRegression(max_iter=1000), "when": when}))
    assert made.uses_partial_rows
    training = table.training()
    young = training.details.assign(days_to_outcome=3.0, days_known=10.0)  # all of them convert soon
    partial = PartialRows(table.inputs, young)
    members = [
        composite_of(fit(made, rows).pipeline[-1]).fitted_members()
        for rows in (training, replace(training, partial=partial))
    ]
    (before, after) = ([part.pipeline.predict_proba(later.inputs)[:, 1].mean() for part in each] for each in members)
    assert after[0] == before[0]
    assert after[1] > before[1] + 0.2


# Calibration


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(1e-6, 1 - 1e-6),
)
def test_calibrated_probabilities_rise_to_that_of_the_horizon(hazards, probability):
    by_day = probability_by(cumulative_hazard(np.array(hazards)))
    calibrated = calibrated_by_day(by_day, np.full(len(hazards), probability))
    assert (calibrated[:, -1] == probability).all()
    assert (np.diff(calibrated, axis=1) >= 0).all()
    assert (calibrated >= 0).all()


# Refusals


@pytest.mark.parametrize("ends", [[], [7, 7, 30], [30, 7], [0, 30], [7.5, 30], 30, ["7", "30"]])
def test_intervals_that_are_not_rising_days_are_refused(ends):
    model = DiscreteTimeHazard(LogisticRegression(), ends)
    (problem,) = parameter_problems({"model": model, "model.hazard": model.hazard})
    assert (problem.where, problem.got) == ("model.intervals", repr(ends))
    assert horizon_problems(model, {"kind": "events", "horizon_days": 30}) == []  # one error is enough


def test_a_missing_model_of_the_hazards_is_refused():
    (problem,) = parameter_problems({"model": DiscreteTimeHazard(None, ENDS)})
    assert (problem.where, problem.got) == ("model.hazard", "null")


@pytest.mark.parametrize(("horizon", "advice"), [(60, "[15,30,45,60]"), (2, "[1,2]"), (14, "[4,7,10,14]")])
def test_intervals_that_do_not_end_with_the_horizon_are_refused(horizon, advice):
    model = DiscreteTimeHazard(LogisticRegression(), ENDS)
    (problem,) = horizon_problems(model, {"kind": "events", "horizon_days": horizon})
    assert problem.where == "model.intervals"
    assert problem.allowed == f"days that end with data.horizon_days={horizon}, such as {advice}"


def test_a_flat_table_is_refused():
    (problem,) = horizon_problems(DiscreteTimeHazard(LogisticRegression(), ENDS), {"kind": "table"})
    assert problem.where == "data.kind"
    assert "data.outcome.time" in problem.allowed
    assert horizon_problems(LogisticRegression(), {"kind": "table"}) == []


def inside(made):
    return {"model": made, **{f"model.{key}": member for key, member in composite_of(made).unfitted_members().items()}}


@pytest.mark.parametrize("combine", [vote, stack])
def test_a_member_is_checked_like_the_model_itself(combine):
    when = DiscreteTimeHazard(XGBClassifier(monotone_constraints={"users": 1}), [7, 60])
    made = combine({"when": when, "whether": LogisticRegression()})
    models = {**inside(made), "model.members.when.hazard": when.hazard}
    assert parameter_problems(models) == []
    (problem,) = horizon_problems(made, {"kind": "events", "horizon_days": 30})
    assert (problem.where, problem.got) == ("model.members.when.intervals", "[7, 60]")
    (problem,) = horizon_problems(made, {"kind": "table"})
    assert problem.where == "data.kind"
    (problem,) = column_problems(made, Columns(["seats"], []))
    assert problem.where == "model.members.when.hazard.monotone_constraints.users"


def test_it_cannot_be_inside_another_model():
    inner = DiscreteTimeHazard(LogisticRegression(), ENDS)
    outer = DiscreteTimeHazard(inner, ENDS)
    (problem,) = parameter_problems({"model": outer, "model.hazard": inner, "model.hazard.hazard": inner.hazard})
    assert problem.where == "model.hazard._target_"
    assert problem.allowed == "the model itself, or a member of a vote or a stack"
