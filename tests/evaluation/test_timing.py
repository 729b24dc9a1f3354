"""Models of when the outcome comes in the backtest: nothing after the test as-of is known, and days are compared."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from mlsys.data.panel import Panel
from mlsys.evaluation import backtest
from mlsys.evaluation.audit.embargo import embargo
from mlsys.evaluation.audit.forbidden import forbidden_columns
from mlsys.evaluation.audit.placebo import label_placebo
from mlsys.evaluation.backtest import refit_folds, run_folds
from mlsys.evaluation.explain import importances
from mlsys.evaluation.metrics import evaluate
from mlsys.evaluation.splits import Backtest, GroupKFold, Holdout
from mlsys.evaluation.timing import outcomes_by_day
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.survival import DiscreteTimeHazard
from mlsys.runs.model_io import model_bytes
from tests.evaluation.audit import subjects
from tests.evaluation.test_backtest import HORIZON, SPLIT, make_panel, plan

MODEL = DiscreteTimeHazard(LogisticRegression(), [7, 14, 21, HORIZON])


def timed_panel():
    """Return a panel in which outcomes come some days after the as-of, as far as they are known at the data's end."""
    panel = make_panel()
    frame, rng = panel.frame, np.random.default_rng(2)
    days = np.where(frame["label"] == 1, rng.integers(1, HORIZON + 1, len(frame)), np.nan)
    known = (frame["as_of"].max() + pd.Timedelta(days=10) - frame["as_of"]).dt.days.astype(float)
    frame = frame.assign(days_to_outcome=np.where(days <= known, days, np.nan), days_known=known)
    return Panel(frame, panel.features)


@pytest.fixture(scope="module")
def panel():
    return timed_panel()


# No leaks


def test_nothing_after_the_test_as_of_is_known(panel):
    folds = SPLIT.split(panel.frame)
    before = run_folds(plan(MODEL), panel, folds)
    for number, fold in enumerate(folds):
        frame = panel.frame.copy()
        outcome = frame["as_of"] + pd.to_timedelta(frame["days_to_outcome"], unit="D")
        later = ~(outcome <= fold.as_of)  # it comes after the test as-of, or never
        days = (fold.as_of - frame["as_of"]).dt.days.clip(lower=0) + 1.0  # instead, the day after
        frame.loc[later, "days_to_outcome"] = np.where(outcome[later].isna(), days[later], np.nan)
        frame.loc[later, "days_known"] = 500.0
        frame.loc[later & ~np.isin(np.arange(len(frame)), fold.train), "label"] = 1
        after = run_folds(plan(MODEL), Panel(frame, panel.features), folds).folds[number].fitted
        assert model_bytes(after.pipeline) == model_bytes(before.folds[number].fitted.pipeline)


def test_a_fit_gets_no_outcome_after_the_test_as_of(panel, monkeypatch):
    seen = []
    monkeypatch.setattr(backtest, "fit", lambda spec, rows: seen.append(rows) or fit(spec, rows))
    fold = SPLIT.split(panel.frame)[-1]
    frame = panel.frame.copy()
    frame.loc[fold.partial, "days_to_outcome"] = np.arange(len(fold.partial)) % HORIZON + 1.0  # the last two are later
    run_folds(plan(MODEL), Panel(frame, panel.features), [fold])
    last = panel.frame["as_of"].max() + pd.Timedelta(days=10)
    for rows in seen:  # of the fold, and of the final model
        until = fold.as_of if len(rows.labels) == len(fold.train) else last
        for inputs, details in [(rows.inputs, rows.details), (rows.partial.inputs, rows.partial.details)]:
            age = (until - panel.frame["as_of"].loc[inputs.index]).dt.days
            assert (details["days_known"] == age).all()
            assert not (details["days_to_outcome"] > age).any()
    assert len(seen) == 2


@pytest.mark.parametrize("model", [MODEL, LogisticRegression()], ids=["when", "whether"])
def test_rows_weigh_half_after_each_half_life(model, panel, monkeypatch):
    seen = []
    monkeypatch.setattr(backtest, "fit", lambda spec, rows: seen.append(rows) or fit(spec, rows))
    fold = SPLIT.split(panel.frame)[-1]
    run_folds(plan(model, half_life_days=56.0), panel, [fold])
    times = panel.frame["as_of"]
    for rows in seen:
        age = (times.loc[rows.inputs.index].max() - times.loc[rows.inputs.index]).dt.days
        np.testing.assert_allclose(rows.rows().weights, 0.5 ** (age / 56))
    assert len(seen) == 2
    if model is MODEL:  # rows that are known in part are newer
        assert (seen[-1].partial.weights > 1).all()


def test_rows_of_a_sample_weigh_by_age_too(panel, monkeypatch):
    seen = []
    monkeypatch.setattr(backtest, "fit", lambda spec, rows: seen.append(rows) or fit(spec, rows))
    sampled = np.where(panel.frame["label"] == 1, 1.0, 4.0)
    fold = SPLIT.split(panel.frame)[-1]
    for frame in (panel.frame, panel.frame.assign(sampling_weight=sampled)):
        run_folds(plan(MODEL, half_life_days=56.0), Panel(frame, panel.features), [fold])
    for rows, weighted in zip(sorted(seen[:2], key=_size), sorted(seen[2:], key=_size), strict=True):
        for part, weighted_part in ((rows, weighted), (rows.partial, weighted.partial)):
            np.testing.assert_array_equal(weighted_part.weights, sampled[part.inputs.index] * part.weights)


def _size(rows):
    return len(rows.labels)


def test_what_young_rows_show_by_the_test_as_of_is_learned(panel):
    fold = SPLIT.split(panel.frame)[-1]
    assert len(fold.partial) == 40  # one as-of is younger than the horizon
    frame = panel.frame.copy()
    frame.loc[fold.partial, "days_to_outcome"] = 3.0
    (before, after) = (
        run_folds(plan(MODEL), each, [fold]).folds[0].fitted for each in (panel, Panel(frame, panel.features))
    )
    inputs = panel.inputs.iloc[fold.test]
    assert after.scores(inputs).mean() > before.scores(inputs).mean() + 0.02


@pytest.mark.parametrize(
    "split", [SPLIT, Holdout(horizon_days=HORIZON), Holdout(order="random"), GroupKFold(folds=3)], ids=str
)
def test_partly_known_rows_are_neither_training_nor_test_rows(split, panel):
    frame = panel.frame
    for fold in split.split(frame):
        assert not np.intersect1d(fold.partial, np.concatenate([fold.train, fold.test])).size
        if fold.as_of is None:
            assert not frame["label_complete"].iloc[fold.partial].any()
            tested = set(frame["group"].iloc[fold.test])
            assert not tested & set(frame["group"].iloc[fold.partial])
        else:
            assert (frame["as_of"].iloc[fold.partial] < fold.as_of).all()
            assert (frame["as_of"].iloc[fold.partial] + pd.Timedelta(days=HORIZON) > fold.as_of).all()


def test_other_models_do_not_see_them(panel):
    folds = SPLIT.split(panel.frame)
    without = [replace(fold, partial=np.empty(0, dtype=np.int64)) for fold in folds]
    (with_them, alone) = (refit_folds(plan(), panel, each) for each in (folds, without))
    assert with_them["score"].equals(alone["score"])


# Audit


def of_a_model_of_when(subject):
    return replace(subject, uses_partial=True)


def test_the_embargo_covers_partly_known_rows():
    frame = subjects.accounts()
    folds = Backtest(folds=3, horizon_days=subjects.HORIZON).split(frame)
    check = embargo(of_a_model_of_when(subjects.audited(frame, folds=folds)))
    assert check.status == "pass"
    assert "The model also learns from 1" in check.message
    assert check.message.endswith("from the intervals alone that end by that as-of.")
    late = [replace(fold, partial=fold.test[:2]) for fold in folds]
    check = embargo(of_a_model_of_when(subjects.audited(frame, folds=late)))
    assert (check.status, check.value) == ("fail", 6)
    assert embargo(subjects.audited(frame, folds=late)).status == "pass"  # no model reads them


def test_the_placebo_moves_the_days_of_outcomes_too():
    frame, seen = subjects.accounts(), []

    def refit(panel, folds):
        seen.append((panel.frame, folds))
        return np.zeros(sum(len(fold.test) for fold in folds))

    label_placebo(subjects.audited(frame, refit=refit))
    ((placebo, folds),) = seen
    assert placebo["days_to_outcome"].notna().equals(placebo["label"] == 1)
    donors = frame.groupby("as_of")["days_to_outcome"].agg(set)
    for as_of, days in placebo.dropna(subset="days_to_outcome").groupby("as_of")["days_to_outcome"]:
        assert set(days) <= donors[as_of]
    for fold in folds:
        assert (placebo["as_of"].iloc[fold.partial] < fold.as_of).all()


def test_the_days_to_the_outcome_are_no_feature():
    frame = subjects.accounts()
    frame["age"] = frame["days_to_outcome"].fillna(3.0) * 2
    check = forbidden_columns(subjects.audited(frame))
    assert check.status == "fail"
    assert "age (it is the number of days to the outcome, or a multiple of it)" in check.message


# Results


def test_predictions_by_day(panel):
    folds = SPLIT.split(panel.frame)
    result = run_folds(plan(MODEL), panel, folds)
    rows = result.predictions
    assert rows.columns[-5:].tolist() == ["by_7d", "by_14d", "by_21d", "by_30d", "days_to_outcome"]
    assert rows["by_30d"].equals(rows["probability"].rename("by_30d"))
    by_day = evaluate(rows, top_k=[1], bootstrap_resamples=0, seed=0)["by_day"]
    known = rows[rows["label_complete"]]
    assert [each["days"] for each in by_day] == [7, 14, 21, 30]
    assert by_day[-1] == {"days": 30, "expected": known["probability"].sum(), "observed": known["label"].sum()}
    assert outcomes_by_day(rows.drop(columns=["by_7d", "by_14d", "by_21d", "by_30d"])) == {}
    weights = importances(result.final.pipeline, panel.inputs, seed=0)
    assert set(weights["feature"]) == {"users", "industry"}
    assert weights["importance"].sum() == pytest.approx(1)
