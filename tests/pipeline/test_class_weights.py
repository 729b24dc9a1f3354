"""Class weights: lists and maps mean the same for every library, and are what calibration corrects for."""

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier

from mlsys.pipeline.class_weights import class_weight_problems, class_weights_in_library_form
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.requirements import learned_prior
from mlsys.runs.model_io import model_bytes

WEIGHTED = {
    "catboost": "class_weights", "lightgbm": "class_weight", "logistic": "class_weight",
    "hist_gradient_boosting": "class_weight", "random_forest": "class_weight",
}  # fmt: skip
EARLY, LATEST = np.arange(300) < 180, np.arange(300) >= 200


def weighted(component, model, weights, **parameters):
    estimator = component("model", model, **{WEIGHTED[model]: weights}, **parameters)
    assert class_weight_problems(estimator, "model") == []
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
def test_calibration_knows_the_prior_that_is_learned(model, component, spec, table):
    odds = 10 * table.labels.mean() / (1 - table.labels.mean())
    made = fit(spec(weighted(component, model, {1: 10})), Training(table.inputs, table.labels))
    assert learned_prior(made.pipeline[-1], table.labels) == pytest.approx(odds / (1 + odds))


@pytest.mark.parametrize("sampler", ["smotenc", "random_under"])
def test_catboosts_weights_work_with_samplers_and_early_stopping(sampler, component, spec, table):
    estimator = weighted(component, "catboost", [1, 4], iterations=40)
    made = spec(estimator, sampler=sampler, stop_after=3)
    both = fit(made, Training(table.inputs, table.labels, LATEST, EARLY))
    assert both.iterations is not None
    scores = both.scores(table.inputs)
    assert scores[table.labels == 1].mean() > scores[table.labels == 0].mean() + 0.05


@pytest.mark.parametrize("weights", [[1, 10], {1: 10}])
def test_weights_of_an_estimator_inside_another_survive_its_copies(weights, component, spec, table):
    outer = BaggingClassifier(weighted(component, "catboost", weights), n_estimators=2, random_state=0)
    made = fit(spec(outer, "onehot"), Training(table.inputs, table.labels))
    assert made.scores(table.inputs).mean() > 1.5 * table.labels.mean()
    assert outer.estimator.get_params()["class_weights"] == weights


@pytest.mark.parametrize(
    "weights",
    [
        *([1, 2, 3], [1], [1, -1], [0, 0], [0, 1], [1, "x"], [1, True], {"yes": 3}, {2: 1}, {}, {1: 0}),
        *([float("nan"), 1], [1, float("inf")], [1, 10**400]),
    ],
)
@pytest.mark.parametrize("model", ["catboost", "logistic"])
def test_other_weights_are_a_problem(model, weights, component):
    (problem,) = class_weight_problems(component("model", model, **{WEIGHTED[model]: weights}), "model")
    assert (problem.where, problem.got) == (f"model.{WEIGHTED[model]}", repr(weights))
    assert "[NEGATIVE, POSITIVE] or {0: NEGATIVE, 1: POSITIVE}" in problem.allowed


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "big", True])
@pytest.mark.parametrize("model", ["catboost", "lightgbm", "xgboost"])
def test_a_weight_of_the_positive_class_is_a_number_above_0(model, scale, component):
    (problem,) = class_weight_problems(component("model", model, scale_pos_weight=scale), "model")
    assert (problem.where, problem.got) == ("model.scale_pos_weight", repr(scale))
    assert problem.allowed == "a finite number greater than 0"


def test_words_are_left_to_the_library(component):
    estimator = component("model", "random_forest", class_weight="balanced_subsample")
    assert class_weight_problems(estimator, "model") == []
    assert class_weights_in_library_form(estimator) == {}
