"""Class weights: lists and maps mean the same for every library, and are what calibration corrects for."""

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier

from mlsys.pipeline.class_weights import set_class_weights
from mlsys.pipeline.fitting import Training, fit
from mlsys.pipeline.requirements import learned_prior
from mlsys.runs.model_io import model_bytes

WEIGHTED = {
    "catboost": "class_weights", "lightgbm": "class_weight", "logistic": "class_weight",
    "hist_gradient_boosting": "class_weight", "random_forest": "class_weight",
}  # fmt: skip
EARLY, LATEST = np.arange(300) < 180, np.arange(300) >= 200


def weighted(component, model, weights, **parameters):
    estimator = component("model", model, **{WEIGHTED[model]: weights}, **parameters)
    assert set_class_weights(estimator, "model") == []
    return estimator


@pytest.mark.parametrize("model", WEIGHTED)
def test_lists_and_maps_are_the_same_fit(model, component, spec, table):
    # A map in another order would swap the classes of CatBoost; a config that was saved has its keys as texts.
    forms = ([1, 10], (1, 10), {0: 1, 1: 10}, {1: 10, 0: 1}, {"0": 1, "1": 10}, {1: 10})
    made = [fit(spec(weighted(component, model, form)), Training(table.inputs, table.labels)) for form in forms]
    assert len({model_bytes(each.pipeline) for each in made}) == 1
    assert (
        made[0].scores(table.inputs).mean()
        > 1.5 * fit(spec(model), Training(table.inputs, table.labels)).scores(table.inputs).mean()
    )


@pytest.mark.parametrize("model", WEIGHTED)
def test_calibration_knows_the_prior_that_is_learned(model, component, table):
    odds = 10 * table.labels.mean() / (1 - table.labels.mean())
    estimator = weighted(component, model, {1: 10})
    assert learned_prior(estimator, table.labels) == pytest.approx(odds / (1 + odds))


@pytest.mark.parametrize("sampler", ["smotenc", "random_under"])
def test_catboosts_weights_work_with_samplers_and_early_stopping(sampler, component, spec, table):
    estimator = weighted(component, "catboost", [1, 4], iterations=40)
    made = spec(estimator, sampler=sampler, stop_after=3)
    both = fit(made, Training(table.inputs, table.labels, LATEST, EARLY))
    assert both.iterations is not None
    scores = both.scores(table.inputs)
    assert scores[table.labels == 1].mean() > scores[table.labels == 0].mean() + 0.05


def test_weights_of_an_estimator_inside_another_survive_its_copies(component, table):
    inner = weighted(component, "catboost", [1, 10])
    X = table.inputs[table.numbers].fillna(0.0)
    assert BaggingClassifier(inner, n_estimators=2).fit(X, table.labels).predict_proba(X)[:, 1].mean() > 0.3


@pytest.mark.parametrize(
    "weights", [[1, 2, 3], [1], [1, -1], [0, 0], [1, "x"], [1, True], {"yes": 3}, {2: 1}, {}, [float("nan"), 1]]
)
@pytest.mark.parametrize("model", ["catboost", "logistic"])
def test_other_weights_are_a_problem(model, weights, component):
    (problem,) = set_class_weights(component("model", model, **{WEIGHTED[model]: weights}), "model")
    assert (problem.where, problem.got) == (f"model.{WEIGHTED[model]}", repr(weights))
    assert "[NEGATIVE, POSITIVE] or {0: NEGATIVE, 1: POSITIVE}" in problem.allowed


def test_words_are_left_to_the_library(component):
    estimator = component("model", "random_forest", class_weight="balanced_subsample")
    assert set_class_weights(estimator, "model") == []
    assert estimator.class_weight == "balanced_subsample"
