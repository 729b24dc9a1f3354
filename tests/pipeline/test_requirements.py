"""Input requirements of estimators and samplers, and the effect of class weights on the learned prior."""

import numpy as np
import pytest
from catboost import CatBoostClassifier
from imblearn.over_sampling import SMOTE, RandomOverSampler
from lightgbm import LGBMClassifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from xgboost import XGBClassifier

from mlsys.pipeline.requirements import InputRequirements, learned_prior, requirements_of
from mlsys.pipeline.smote import SmoteMixed

LABELS = (np.arange(100) < 4).astype(np.int8)
BALANCED = 0.5


def trees(**weights):
    return [XGBClassifier(**weights), LGBMClassifier(**weights), CatBoostClassifier(**weights)]


@pytest.mark.parametrize("estimator", [XGBClassifier(), LGBMClassifier(), HistGradientBoostingClassifier()])
def test_boosted_trees_accept_everything_unless_rows_are_interpolated(estimator):
    everything = InputRequirements(categories=True, missing=True, missing_categories=True, scaled=False)
    assert requirements_of(estimator, None) == everything
    assert requirements_of(estimator, RandomOverSampler()) == everything
    assert requirements_of(estimator, SmoteMixed()) == InputRequirements(True, False, False, True)
    assert requirements_of(estimator, SMOTE()) == InputRequirements(False, False, False, True)


def test_catboost_does_not_accept_missing_categories():
    assert requirements_of(CatBoostClassifier(), None) == InputRequirements(True, True, False, False)


@pytest.mark.parametrize("estimator", [LogisticRegression(), KNeighborsClassifier()])
def test_other_models_get_scaled_numbers_without_missing_values(estimator):
    assert requirements_of(estimator, None) == InputRequirements(False, False, False, True)


@pytest.mark.parametrize("estimator", [RandomForestClassifier(), DummyClassifier()])
def test_models_that_accept_missing_unscaled_numbers(estimator):
    assert requirements_of(estimator, None) == InputRequirements(False, True, False, False)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        DummyClassifier(),
        KNeighborsClassifier(weights="uniform"),
        *trees(),
    ],
)
def test_without_weights_the_prior_is_the_fraction_of_positives(estimator):
    assert learned_prior(estimator, LABELS) == 0.04


@pytest.mark.parametrize(
    ("estimator", "prior"),
    [
        *[(model, 24 / (24 + 96)) for model in trees(scale_pos_weight=6)],
        (LogisticRegression(class_weight="balanced"), BALANCED),
        (RandomForestClassifier(class_weight="balanced_subsample"), BALANCED),
        (HistGradientBoostingClassifier(class_weight="balanced"), BALANCED),
        (LGBMClassifier(class_weight="balanced"), BALANCED),
        (LGBMClassifier(is_unbalance=True), BALANCED),
        (LGBMClassifier(class_weight={0: 1, 1: 3}, scale_pos_weight=2), 24 / (24 + 96)),
        (LogisticRegression(class_weight={0: 1, 1: 24}), BALANCED),
        (LogisticRegression(class_weight={0: 0.5}), 4 / (4 + 48)),
        (CatBoostClassifier(auto_class_weights="Balanced"), BALANCED),
        (CatBoostClassifier(auto_class_weights="SqrtBalanced"), 4 * 24**0.5 / (4 * 24**0.5 + 96)),
        (CatBoostClassifier(class_weights=[1, 24]), BALANCED),
        (CatBoostClassifier(class_weights={0: 1, 1: 24}), BALANCED),
    ],
)
def test_weights_move_the_prior(estimator, prior):
    assert learned_prior(estimator, LABELS) == pytest.approx(prior)


@pytest.mark.parametrize("weights", ["balanced", {0: 1, 1: 5}])
def test_an_estimator_learns_the_prior_that_follows_from_its_weights(weights):
    # Its intercept is not penalised, so the weighted mean of its probabilities is the weighted prior.
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = LogisticRegression(class_weight=weights).fit(X, LABELS)
    weight = np.where(LABELS == 1, 24 if weights == "balanced" else 5, 1)
    mean = np.average(model.predict_proba(X)[:, 1], weights=weight)
    assert mean == pytest.approx(learned_prior(model, LABELS), abs=1e-4)
