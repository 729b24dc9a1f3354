"""Every model: the scikit-learn API, extreme class balance, and our own two estimators."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.errors import FitError, OneClassError
from mlsys.pipeline.composites import composite_of
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import ActivityRanking, vote
from mlsys.pipeline.parameter_checks import parameter_problems
from mlsys.pipeline.pipeline_spec import Training

# Checks that every model passes


def test_a_model_can_be_cloned(any_model, component):
    model = component("model", any_model)
    copied = clone(model)
    assert str(copied.get_params()) == str(model.get_params())


def test_a_model_uses_the_configured_seed(any_model, component):
    model = component("model", any_model)
    composite = composite_of(model)
    for member in [model] if composite is None else composite.unfitted_members().values():
        parameters = member.get_params()
        seeds = [parameters[name] for name in ("random_state", "random_seed") if name in parameters]
        assert seeds == ([] if any_model == "activity" else [0])


def test_one_positive_is_enough(any_model, spec, table):
    few = table.only(1)
    scores = fit(spec(any_model), few.training()).scores(few.inputs)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_an_error(any_model, label, spec, table):
    kind = "positive" if label else "negative"
    with pytest.raises(OneClassError, match=rf"All 300 training rows are {kind}, but a model needs both classes\.$"):
        fit(spec(any_model), replace(table, labels=np.full(300, label, dtype=np.int8)).training())


def test_two_rows_are_enough(any_model, spec, table):
    two = replace(table, inputs=table.inputs.iloc[[0, -1]], labels=np.array([0, 1], dtype=np.int8))
    scores = fit(spec(any_model), two.training()).scores(table.inputs)
    assert np.isfinite(scores).all()


def test_the_order_of_columns_does_not_matter(any_model, fitted, later):
    both = fitted("native", any_model)
    assert np.array_equal(both.scores(later.inputs[later.inputs.columns[::-1]]), both.scores(later.inputs))


# Ranking by one column


@parametrize_with_checks([ActivityRanking(feature=0)])  # the checks use arrays, whose columns have no names
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def ranked(values, labels, later=None):
    model = ActivityRanking("n").fit(pd.DataFrame({"n": np.array(values, dtype=float)}), np.array(labels))
    return model.predict_proba(pd.DataFrame({"n": np.array(values if later is None else later, dtype=float)}))[:, 1]


def test_activity_ranks_by_its_column_and_a_mean_row_has_the_prior():
    probability = ranked([0, 1, 2, 5], [0, 0, 1, 0])
    assert (np.diff(probability) > 0).all()
    assert probability[2] == pytest.approx(0.25)


def test_without_activity_every_row_gets_the_prior():
    assert ranked([0, 0, 0, 0], [0, 0, 1, 0]).tolist() == [0.25] * 4
    later = ranked([0, 0, 0, 0], [0, 0, 1, 0], later=[0, 7, 1e9])
    assert (np.diff(later) > 0).all()
    assert later.max() <= 1


def test_activity_accepts_negative_and_missing_values():
    probability = ranked([-4, -1, np.nan, 3], [0, 0, 1, 0], later=[-9, -4, -1, np.nan, 3])
    assert (probability > 0).all()
    assert probability[0] == probability[1]  # below the training minimum
    assert (np.diff(probability[1:]) > 0).all()


def test_activity_predicts_the_likelier_class():
    rows = pd.DataFrame({"n": [0.0, 0.0, 0.0, 8.0]})
    assert ActivityRanking("n").fit(rows, np.array([0, 0, 1, 1])).predict(rows).tolist() == [0, 0, 0, 1]


def test_activity_accepts_any_two_labels():
    rows = pd.DataFrame({"n": [0.0, 0.0, 0.0, 8.0]})
    model = ActivityRanking("n").fit(rows, ["no", "no", "yes", "yes"])
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.predict(rows).tolist() == ["no", "no", "no", "yes"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [([1, 1], "y contains only one class"), ([0, 1, 2], "Only binary"), ([0.1, 0.2], "continuous")],
)
def test_activity_rejects_labels_that_are_not_binary(labels, message):
    with pytest.raises(ValueError, match=message):
        ActivityRanking("n").fit(pd.DataFrame({"n": np.arange(len(labels))}), labels)


def test_activity_rejects_rows_without_its_column():
    model = ActivityRanking("n").fit(pd.DataFrame({"n": [1.0, 2.0]}), [0, 1])
    for act in (model.predict, lambda rows: clone(model).fit(rows, [0, 1])):
        with pytest.raises(ValueError, match=r"ActivityRanking needs columns that X does not have: \['n'\]"):
            act(pd.DataFrame({"m": [1.0, 2.0]}))


# Votes


def test_a_vote_is_the_weighted_mean_probability():
    X, y = np.random.default_rng(0).normal(size=(50, 2)), np.tile([0, 1], 25)
    members = {"logistic": LogisticRegression(), "constant": DummyClassifier(strategy="prior")}
    logistic = LogisticRegression().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(vote(members).fit(X, y).predict_proba(X), logistic / 2 + 0.25)
    np.testing.assert_allclose(vote(members, [3, 1]).fit(X, y).predict_proba(X), logistic * 0.75 + 0.125)


def test_a_members_parameter_can_be_overridden_by_name():
    assert vote({"logistic": LogisticRegression()}).set_params(logistic__C=3).get_params()["logistic__C"] == 3


def test_a_member_that_is_null_is_left_out():
    assert vote({"a": LogisticRegression(), "b": None, "c": DummyClassifier()}, [2, 1]).weights == [2, 1]
    assert [name for name, _ in vote({"a": LogisticRegression(), "b": None}).estimators] == ["a"]


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ({"a": None}, None, r"^model\.members: got no member that is not null"),
        (
            {"a": DummyClassifier(), "b": None},
            [1, 2],
            r"^model\.weights: got \[1, 2\], allowed: null, or one number for",
        ),
        ({"a": DummyClassifier(), "b": "x"}, None, r"^model\.members\.b: got 'x', allowed: a classifier"),
    ],
)
def test_a_vote_needs_members_and_a_weight_for_each(members, weights, message, spec, table):
    with pytest.raises(FitError, match=message):
        fit(spec(vote(members, weights)), Training(table.inputs, table.labels))


def test_members_are_encoded_and_fitted_independently(component, spec, table, later):
    names, weights = ("xgboost", "catboost", "logistic"), [1, 2, 5]
    together = vote({name: component("model", name) for name in names}, weights)
    both = fit(spec(together), Training(table.inputs, table.labels))
    alone = [fit(spec(name), Training(table.inputs, table.labels)).scores(later.inputs) for name in names]
    np.testing.assert_allclose(both.scores(later.inputs), np.average(alone, axis=0, weights=weights), rtol=1e-12)


def test_members_are_resampled(spec, table, later):
    made = spec(vote({"a": LogisticRegression(max_iter=1000)}), sampler="random_over")
    alone = spec(LogisticRegression(max_iter=1000), sampler="random_over")
    both, one = (fit(each, Training(table.inputs, table.labels)) for each in (made, alone))
    assert both.calibration == one.calibration
    np.testing.assert_allclose(both.scores(later.inputs), one.scores(later.inputs), rtol=1e-12)


@pytest.mark.parametrize("weights", [[float("nan"), 1], [float("inf"), 1], [-1, 2], [0, 0], ["a", 1]])
def test_weights_of_a_vote_are_finite_and_not_all_0(weights):
    members = {"first": DummyClassifier(), "second": DummyClassifier()}
    (problem,) = parameter_problems({"model": vote(members, weights)})
    assert problem.where == "model.weights"
    assert problem.allowed.endswith("finite, at least 0, and one above 0")
    assert parameter_problems({"model": vote(members, [0, 1])}) == []
