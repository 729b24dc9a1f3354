"""The stack: what its members have seen, its weights, priors and parameters."""

import logging
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from mlsys.errors import FitError
from mlsys.pipeline.combiner import fit_combiner
from mlsys.pipeline.composites import MemberRows, PartialRows, details_of
from mlsys.pipeline.encoders import Native
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.inner_folds import inner_folds
from mlsys.pipeline.models import vote
from mlsys.pipeline.parameter_checks import fold_problems, parameter_problems
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.stacking import Stack, stack
from mlsys.pipeline.storable import untrusted_parts
from mlsys.runs.logistic import logit, sigmoid

# Rows that a member has not seen


def weekly_rows(weeks=20, accounts=30, horizon=30):
    """Rows of the same accounts at every week, a third of which convert."""
    as_of = pd.Series(np.repeat(pd.date_range("2020-01-06", periods=weeks, freq="7D"), accounts))
    group = np.tile(np.arange(accounts), weeks)
    details = pd.DataFrame({"as_of": as_of, "known_at": as_of + pd.Timedelta(days=horizon), "group": group})
    return MemberRows(
        pd.DataFrame({"row": np.arange(len(as_of), dtype=float)}), (group % 3 == 0).astype(np.int8), details
    )


class Remembering:
    """A fitted member that records how late the labels are that it has seen, and how early the rows that it scores."""

    def __init__(self, rows, seen):
        self.rows, self.seen, self.known = rows, seen, set(rows.inputs["row"])

    def predict_proba(self, inputs):
        assert self.known.isdisjoint(inputs["row"])
        self.seen.append((self.rows.details["known_at"].max(), inputs["row"].min()))
        half = np.full(len(inputs), 0.3) + 0.01 * (inputs["row"].to_numpy() % 3)
        return np.column_stack([1 - half, half])


@pytest.mark.parametrize("horizon", [1, 30, 60])
def test_members_score_only_rows_from_after_the_labels_that_they_have_seen(horizon):
    rows, seen = weekly_rows(horizon=horizon), []
    members = [("a", DummyClassifier()), ("b", DummyClassifier())]
    fitted, _ = Stack(members, min_converters=4).fit_members(lambda _, part: (Remembering(part, seen), 0.3), rows)
    assert len(seen) >= 6
    for last_known, first_scored in seen:
        assert last_known <= rows.details["as_of"][first_scored]
    assert [len(part.pipeline.known) for part in fitted.fitted_members()] == [len(rows.labels)] * 2


def test_members_of_when_see_of_later_rows_what_was_known_when_the_scored_rows_begin():
    rows, seen = weekly_rows(), []
    details = rows.details.assign(days_to_outcome=10.0, days_known=1_000.0)
    rows = rows._replace(details=details, partial=PartialRows(rows.inputs.iloc[:0], details.iloc[:0]))
    members, folds = [("a", DummyClassifier()), ("b", DummyClassifier())], inner_folds(rows, 5, 4, seed=0)

    def fit_member(_, part):
        seen.append(part)
        return Remembering(part, []), 0.3

    Stack(members, folds=5, min_converters=4).fit_members(fit_member, rows)
    assert len(seen) == 2 * len(folds) + 2  # and both members on all rows
    for fold, part in zip(folds, seen[::2], strict=False):
        assert fold.start == rows.details["as_of"][fold.scored].min()
        young = part.partial.details
        age = (fold.start - young["as_of"]).dt.days
        assert set(age) == {7, 14, 21, 28}
        assert (young["days_known"] == age).all()
        assert (young["days_to_outcome"].notna() == (age >= 10)).all()
        assert set(part.partial.inputs["row"]).isdisjoint(part.inputs["row"])


def test_blocks_are_contiguous_and_the_latest_rows_are_in_the_last_one():
    rows = weekly_rows(horizon=7)
    folds = inner_folds(rows, 4, 2, seed=0)
    times = [rows.details["as_of"][fold.scored] for fold in folds]
    assert len(folds) == 4
    assert all(before.max() < after.min() for before, after in pairwise(times))
    assert times[-1].max() == rows.details["as_of"].max()


def test_without_times_a_group_is_in_one_fold_and_converters_are_spread_evenly():
    rows = weekly_rows(weeks=3)
    rows = rows._replace(details=rows.details.assign(as_of=pd.NaT, known_at=pd.NaT))
    folds = inner_folds(rows, 5, 2, seed=0)
    assert sum(fold.scored.astype(int) for fold in folds).tolist() == [1] * 90
    for fold in folds:
        known, scored = (set(rows.details["group"][mask]) for mask in (fold.known, fold.scored))
        assert known.isdisjoint(scored)
        assert sum(group % 3 == 0 for group in scored) == 2


def test_blocks_before_which_too_few_have_converted_are_not_scored():
    rows = weekly_rows(weeks=12, horizon=7)
    late = (rows.details["as_of"] >= "2020-02-10").to_numpy()
    folds = inner_folds(rows._replace(labels=(rows.labels * late).astype(np.int8)), 5, 4, seed=0)
    assert [rows.details["as_of"][fold.scored].min() for fold in folds] == [
        pd.Timestamp("2020-02-17"),
        pd.Timestamp("2020-03-02"),
        pd.Timestamp("2020-03-16"),
    ]


# Weights


def scored_rows(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    strong, noise = 2 * rng.normal(size=count), rng.normal(size=count)
    return np.column_stack([strong, noise]), (rng.random(count) < sigmoid(strong)).astype(np.int8)


def test_the_weights_are_those_of_the_likelihood_and_none_is_negative():
    log_odds, labels = scored_rows()
    opposite = -log_odds[:, 0] + np.random.default_rng(1).normal(size=len(labels))
    log_odds = np.column_stack([log_odds, opposite])
    found = fit_combiner(log_odds, labels, converters=int(labels.sum()), shrinkage=0)
    free = LogisticRegression(C=np.inf).fit(log_odds[:, :1], labels)
    assert found.weights[0] == pytest.approx(free.coef_[0, 0], abs=0.02)
    assert found.weights[1:].tolist() == pytest.approx([0, 0], abs=0.05)
    assert (found.weights >= 0).all()


def test_shrinkage_pulls_the_weights_towards_equal_ones():
    log_odds, labels = scored_rows(300)
    weights = [
        fit_combiner(log_odds, labels, converters=int(labels.sum()), shrinkage=each).weights[0] for each in (0, 30, 1e7)
    ]
    assert weights[0] > weights[1] > weights[2]
    assert weights[2] == pytest.approx(0.5, abs=0.01)


def test_a_converter_counts_once_in_however_many_rows_it_is_positive():
    log_odds, labels = scored_rows(300)
    once = fit_combiner(log_odds, labels, converters=150, shrinkage=30)
    four_times = fit_combiner(np.tile(log_odds, (4, 1)), np.tile(labels, 4), converters=150, shrinkage=30)
    np.testing.assert_allclose(once.weights, four_times.weights, atol=1e-4)


def test_a_useless_member_gets_little_weight(spec, table, later):
    class Random(GaussianNB):
        def predict_proba(self, X):
            positive = np.random.default_rng(len(X)).uniform(0.05, 0.95, len(X))
            return np.column_stack([1 - positive, positive])

    both = fit(spec(stack({"good": LogisticRegression(), "bad": Random()})), Training(table.inputs, table.labels))
    good, bad = both.pipeline[-1].coef_
    assert bad < 0.2 < 0.6 < good


@pytest.mark.parametrize("min_converters", [20, 1000])
def test_with_too_few_converters_the_score_is_the_mean_of_the_log_odds(min_converters, spec, table, later, caplog):
    few = table.only(12 if min_converters == 20 else 40)
    members = {"a": LogisticRegression(max_iter=1000), "b": GaussianNB()}
    rows = Training(few.inputs, few.labels)
    with caplog.at_level(logging.INFO, logger="mlsys"):
        together = fit(spec(stack(members, min_converters=min_converters)), rows)
    alone = [logit(fit(spec(each), rows).scores(later.inputs), margin=1e-6) for each in members.values()]
    np.testing.assert_allclose(together.scores(later.inputs), sigmoid(np.mean(alone, axis=0)), rtol=1e-9)
    assert "equal weights for a and b" in caplog.text
    assert f"fewer than model.min_converters={min_converters}" in caplog.text


def test_the_log_says_the_weights_and_what_they_come_from(spec, table, caplog):
    members = {"a": LogisticRegression(max_iter=1000), "b": GaussianNB()}
    with caplog.at_level(logging.INFO, logger="mlsys"):
        both = fit(spec(stack(members)), Training(table.inputs, table.labels))
    a, b = both.pipeline[-1].coef_
    assert f"weights from {table.labels.sum()} converters: a {a:.2f} and b {b:.2f}" in caplog.text


# Members


def test_members_are_encoded_and_fitted_independently(component, spec, table):
    names = ("xgboost", "catboost", "logistic")
    together = fit(
        spec(stack({name: component("model", name) for name in names})), Training(table.inputs, table.labels)
    )
    for name, part in zip(names, together.pipeline[-1].fitted_members(), strict=True):
        alone = fit(spec(name), Training(table.inputs, table.labels)).pipeline
        np.testing.assert_array_equal(part.pipeline.predict_proba(table.inputs), alone.predict_proba(table.inputs))


@pytest.mark.parametrize("sampler", ["none", "random_over"])
def test_what_samplers_and_class_weights_add_is_taken_off(sampler, spec, table):
    members = {"a": LogisticRegression(class_weight="balanced", max_iter=1000), "b": LogisticRegression(max_iter=1000)}
    both = fit(spec(stack(members), sampler=sampler), Training(table.inputs, table.labels))
    assert both.calibration.kind == "none"
    assert both.scores(table.inputs).mean() == pytest.approx(table.labels.mean(), rel=0.1)


def test_composites_within_composites_get_the_columns_that_they_need(spec, table):
    inner = stack({"a": LogisticRegression(max_iter=1000), "b": GaussianNB()})
    assert details_of(vote({"inner": inner, "c": GaussianNB()})) == ("as_of", "known_at", "group")
    outer = stack({"inner": vote({"a": LogisticRegression(max_iter=1000), "b": GaussianNB()}), "c": GaussianNB()})
    for each in (vote({"inner": inner}), outer):
        assert np.isfinite(fit(spec(each), Training(table.inputs, table.labels)).scores(table.inputs)).all()


def test_a_stack_is_a_classifier_of_its_own():
    rows, labels = np.random.default_rng(0).normal(size=(200, 2)), np.tile([0, 1], 100)
    alone = Stack([("a", LogisticRegression()), ("b", GaussianNB())])
    fitted = clone(alone).fit(rows, labels)
    assert fitted.predict_proba(rows).sum(axis=1) == pytest.approx(np.ones(200))
    assert set(fitted.predict(rows)) <= {0, 1}
    assert fitted.n_features_in_ == 2
    with pytest.raises(ValueError, match="both classes, with the labels 0 and 1"):
        clone(alone).fit(rows, np.ones(200))


def test_a_members_parameter_can_be_overridden_by_name():
    assert stack({"logistic": LogisticRegression()}).set_params(logistic__C=3).get_params()["logistic__C"] == 3


def test_a_saved_stack_has_only_trusted_types():
    assert untrusted_parts(Native(), stack({"a": LogisticRegression(), "b": GaussianNB()})) == ((), ())


def test_members_that_are_null_are_left_out_and_one_must_remain(spec, table):
    assert [name for name, _ in stack({"a": LogisticRegression(), "b": None}).estimators] == ["a"]
    (problem,) = parameter_problems({"model": stack({"a": None})})
    assert (problem.where, problem.got) == ("model.members", "no member that is not null")
    with pytest.raises(FitError, match=r"^model\.members: got no member that is not null"):
        fit(spec(stack({"a": None})), Training(table.inputs, table.labels))


def test_there_are_at_most_as_many_folds_as_converters():
    rows = pd.DataFrame({"label": [1, 1, 1, 0], "group": ["a", "a", "b", "c"]})
    assert fold_problems(stack({"a": GaussianNB()}, folds=2), rows) == []
    assert fold_problems(vote({"a": GaussianNB()}), rows) == []
    (problem,) = fold_problems(stack({"a": GaussianNB()}, folds=3), rows)
    assert (problem.where, problem.got) == ("model.folds", "3")
    assert problem.allowed.startswith("at most 2, the number of converters")


def test_a_calibration_is_fitted_on_scores_that_are_combined_as_the_final_ones(spec, caplog):
    rng, weeks, accounts = np.random.default_rng(0), 30, 60
    as_of = pd.Series(np.repeat(pd.date_range("2020-01-06", periods=weeks, freq="7D"), accounts))
    columns = {name: rng.normal(size=len(as_of)) for name in ("users", "other")}
    labels = (columns["users"] + columns["other"] + rng.normal(size=len(as_of)) > 3).astype(np.int8)
    group = np.tile(np.arange(accounts), weeks)
    details = pd.DataFrame({"as_of": as_of, "known_at": as_of + pd.Timedelta(days=1), "group": group})
    validation = (as_of >= as_of.iloc[-1] - pd.Timedelta(days=40)).to_numpy()
    rows = Training(pd.DataFrame(columns), labels, validation, ~validation, details)
    members = {"a": LogisticRegression(C=0.001), "b": LogisticRegression(C=0.002)}  # far too even: weights correct it
    both = spec(stack(members, shrinkage=0.01, min_converters=27), calibration="sigmoid")
    both = replace(both, numbers=["users", "other"], categories=[])
    with caplog.at_level(logging.INFO, "mlsys.pipeline.stacking"):
        fitted = fit(both, rows)
    assert fitted.pipeline[-1].coef_.sum() > 3
    assert "equal weights" not in caplog.text  # those of the earlier rows alone would have been
    assert 0.4 < fitted.calibration.to_dict()["slope"] < 2.5  # without these weights: about ten
    assert not [name for name in fitted.pipeline[-1].__getstate__() if name in ("_given", "_combiner")]
