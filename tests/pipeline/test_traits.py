"""Traits of estimators and samplers: from the tables of libraries, from the classes themselves, and defaults."""

import numpy as np
import pytest
from catboost import CatBoostClassifier
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import ADASYN, SMOTENC, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import NearMiss, RandomUnderSampler
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from mlsys.errors import FitError
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import ActivityRanking
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.requirements import InputRequirements, learned_prior, requirements_of
from mlsys.pipeline.smote import SmoteMixed
from mlsys.pipeline.stopping import ITERATION_METRICS
from mlsys.pipeline.traits import SamplerTraits, Traits, coefficients_or_importances, sampler_traits_of, traits_of

BOOSTED = [XGBClassifier(), LGBMClassifier(), CatBoostClassifier()]


class Ours(ClassifierMixin, BaseEstimator):
    """A user-defined classifier that predicts the fraction of positives, and declares traits."""

    mlsys_traits = Traits(
        takes_missing=True,
        takes_categories=True,
        takes_missing_categories=True,
        needs_scaling=False,
        iterations="rounds",
        fit_parameters={"verbose": False},
        categories_argument="levels",
        importances=lambda model: np.array(model.gains_),
        class_weights=lambda model, positives, negatives: (model.weight, 1.0),
    )

    def __init__(self, rounds=3, weight=1.0, verbose=True):
        self.rounds = rounds
        self.weight = weight
        self.verbose = verbose

    def fit(self, X, y, levels=()):
        self.classes_, self.seen_, self.levels_ = np.array([0, 1]), X, list(levels)
        self.prior_, self.gains_ = float(np.mean(y)), [1.0] * X.shape[1]
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.prior_, self.prior_], (len(X), 1))


def test_a_user_defined_class_is_fitted_by_its_traits(spec, table):
    fitted = fit(spec(Ours(weight=3.0)), Training(table.inputs, table.labels)).pipeline[-1]
    assert fitted.verbose is False
    assert fitted.levels_ == list(fitted.seen_.columns[-len(table.categories) :])
    assert fitted.seen_.isna().any().any()
    assert traits_of(fitted).importances(fitted).tolist() == [1.0] * fitted.seen_.shape[1]


def test_a_user_defined_class_declares_its_input_and_class_weights():
    assert requirements_of(Ours(), None) == InputRequirements(True, True, True, False)
    assert learned_prior(Ours(weight=3.0), np.array([0, 0, 0, 1], dtype=np.int8)) == 0.5


def test_a_subclass_inherits_the_traits_of_its_library_unless_it_declares_its_own():
    class Plain(XGBClassifier):
        pass

    class Other(XGBClassifier):
        mlsys_traits = Traits(needs_scaling=True)

    assert traits_of(Plain()) == traits_of(XGBClassifier())
    assert traits_of(Other()).early_stopping is None


def test_an_object_that_is_not_traits_is_an_error():
    class Wrong(GaussianNB):
        mlsys_traits = SamplerTraits()

    with pytest.raises(
        FitError, match=r"Wrong\.mlsys_traits has the type SamplerTraits; expected mlsys\.pipeline\.traits\.Traits"
    ):
        traits_of(Wrong())


def test_early_stopping_needs_the_name_of_the_iterations_parameter():
    with pytest.raises(ValueError, match="also need iterations"):
        Traits(early_stopping=traits_of(XGBClassifier()).early_stopping)


@pytest.mark.parametrize(
    ("estimator", "takes"),
    [
        (DecisionTreeClassifier(), True),
        (ExtraTreesClassifier(), True),
        (HistGradientBoostingClassifier(), True),
        (BaggingClassifier(DecisionTreeClassifier()), True),
        (BaggingClassifier(LogisticRegression()), False),
        (GaussianNB(), False),
        (object(), False),
    ],
)
def test_the_tag_of_scikit_learn_says_whether_missing_numbers_are_accepted(estimator, takes):
    assert traits_of(estimator).takes_missing is takes


@pytest.mark.parametrize("estimator", BOOSTED, ids=lambda estimator: type(estimator).__name__)
def test_every_parameter_in_the_table_exists(estimator):
    traits = traits_of(estimator)
    parameters = {traits.iterations: 7, traits.threads: 1, **traits.fit_parameters}
    changed = type(estimator)(**parameters).get_params()
    assert {name: changed[name] for name in parameters} == parameters
    assert set(traits.early_stopping.metrics) == set(ITERATION_METRICS)


def test_coefficients_take_precedence_over_importances():
    X, y = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]), [0, 0, 1, 1]
    linear = LogisticRegression().fit(X, y)
    assert np.array_equal(coefficients_or_importances(linear), np.abs(linear.coef_[0]))
    tree = DecisionTreeClassifier().fit(X, y)
    assert coefficients_or_importances(tree).tolist() == [1.0, 0.0]
    assert coefficients_or_importances(GaussianNB().fit(X, y)) is None


def test_importances_of_a_linear_xgboost_model_are_its_coefficients():
    X, y = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]), [0, 0, 1, 1]
    model = XGBClassifier(booster="gblinear", n_estimators=20).fit(X, y)
    assert np.array_equal(traits_of(model).importances(model), np.abs(model.coef_).ravel())


@pytest.mark.parametrize(
    ("sampler", "traits"),
    [
        (RandomOverSampler(), SamplerTraits(only_selects_rows=True, bytes_per_value=8)),
        (RandomUnderSampler(), SamplerTraits(only_selects_rows=True, bytes_per_value=0)),
        (SMOTENC([0]), SamplerTraits(neighbours="k_neighbors")),
        (BorderlineSMOTE(), SamplerTraits(neighbours="k_neighbors")),
        (ADASYN(), SamplerTraits(neighbours="n_neighbors")),
        (SMOTEENN(), SamplerTraits(neighbours="smote")),
        (NearMiss(), SamplerTraits()),
        (SmoteMixed(), SamplerTraits(takes_categories=True, neighbours="k_neighbors")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_samplers(sampler, traits):
    assert sampler_traits_of(sampler) == traits


def test_the_column_parameter_of_the_activity_ranking_is_its_feature():
    assert ActivityRanking("users").get_params()[traits_of(ActivityRanking()).column] == "users"
