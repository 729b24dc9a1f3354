"""What mlsys has to know about an estimator or a sampler beyond its API: one table per library.

A class of your own says it in a class attribute, ``mlsys_traits``; see docs/extending.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from mlsys.errors import FitError
from mlsys.pipeline.stopping import CatBoostStopper, EarlyStopper, LightGBMStopper, XGBoostStopper

T = TypeVar("T")


def coefficients_or_importances(estimator: Any) -> NDArray[np.float64] | None:  # noqa: ANN401 - a fitted estimator
    """Return the absolute ``coef_``, else ``feature_importances_``, shape (n_columns,); None without either."""
    if hasattr(estimator, "coef_"):
        return np.abs(np.asarray(estimator.coef_, dtype=np.float64)).ravel()
    importances = getattr(estimator, "feature_importances_", None)
    return None if importances is None else np.asarray(importances, dtype=np.float64)


def weights_by_parameters(estimator: Any, positives: float, negatives: float) -> tuple[float, float]:  # noqa: ANN401
    """Return the weight of a positive and of a negative row, from the parameters that the libraries name alike.

    Parameters
    ----------
    estimator : scikit-learn estimator
        ``scale_pos_weight``, ``class_weight``, ``class_weights``, ``auto_class_weights`` and ``is_unbalance`` are read.
    positives, negatives : float
        Rows of each class, after resampling.
    """
    parameters = estimator.get_params(deep=False)
    ratio = negatives / positives if positives else 1.0
    weight = parameters.get("class_weight") or parameters.get("class_weights")
    automatic = parameters.get("auto_class_weights")
    scale = parameters.get("scale_pos_weight")
    up, down = 1.0 if scale is None else float(scale), 1.0
    if weight in ("balanced", "balanced_subsample") or automatic == "Balanced" or parameters.get("is_unbalance"):
        return up * ratio, down
    if automatic == "SqrtBalanced":
        return up * ratio**0.5, down
    if isinstance(weight, Mapping):
        return up * float(weight.get(1, 1.0)), down * float(weight.get(0, 1.0))
    if weight is not None:
        return up * float(weight[1]), down * float(weight[0])
    return up, down


@dataclass(frozen=True)
class Traits:
    """What mlsys has to know about a classifier; the defaults suit a plain scikit-learn one.

    Attributes
    ----------
    takes_missing : bool or None
        Whether it takes NaN in number columns. None: what its scikit-learn tag ``input_tags.allow_nan`` says.
    takes_categories : bool
        Whether it takes pandas category columns.
    takes_missing_categories : bool
        Whether it takes a missing value in them.
    needs_scaling : bool
        Whether it learns better from standardised numbers.
    reads_panel : bool
        Whether it reads the panel's columns by name; neither encoder nor sampler then stands before it.
    column : str or None
        The parameter that names a column of the panel, if it has one.
    iterations : str or None
        The parameter that holds the number of trees or boosting rounds; a config must set it to at least 1.
    early_stopping : EarlyStopper or None
        How it stops adding iterations when they no longer help; needs `iterations`.
    threads : str or None
        The parameter that holds the number of threads: mlsys sets it for the fit, and to 1 for scoring.
    threads_fixed_by_fit : bool
        Whether a fitted one refuses another number of threads.
    fit_parameters : mapping of str to object
        Parameters that it is always fitted with.
    categories_argument : str or None
        The argument of ``fit`` that lists the category columns, where it has to be told.
    ignores_unknown_parameters : bool
        Whether its constructor accepts any keyword, so that a misspelt one would go unnoticed.
    importances : callable
        From a fitted one to what each of its input columns contributes, shape (n_columns,), at least 0; None where it
        does not know. Columns are then shuffled to find out.
    class_weights : callable
        From an unfitted one and the numbers of positive and negative rows to the weights of a positive and a negative
        row; the calibration of probabilities relies on it.

    Raises
    ------
    ValueError
        With `early_stopping` but without `iterations`.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> class Ours(GaussianNB):
    ...     mlsys_traits = Traits(needs_scaling=False)
    >>> traits_of(Ours()).needs_scaling, traits_of(GaussianNB()).needs_scaling
    (False, True)
    """

    takes_missing: bool | None = None
    takes_categories: bool = False
    takes_missing_categories: bool = False
    needs_scaling: bool = True
    reads_panel: bool = False
    column: str | None = None
    iterations: str | None = None
    early_stopping: EarlyStopper | None = None
    threads: str | None = None
    threads_fixed_by_fit: bool = False
    fit_parameters: Mapping[str, Any] = field(default_factory=dict)
    categories_argument: str | None = None
    ignores_unknown_parameters: bool = False
    importances: Callable[[Any], NDArray[np.float64] | None] = coefficients_or_importances
    class_weights: Callable[[Any, float, float], tuple[float, float]] = weights_by_parameters

    def __post_init__(self) -> None:
        if self.early_stopping is not None and self.iterations is None:
            raise ValueError("Traits with early_stopping need iterations, the parameter that it decides.")


@dataclass(frozen=True)
class SamplerTraits:
    """What mlsys has to know about a sampler; the defaults suit one that compares rows with each other.

    Attributes
    ----------
    only_selects_rows : bool
        Whether it repeats and drops rows whatever they hold; any other needs scaled numbers without gaps.
    takes_categories : bool
        Whether it takes pandas category columns.
    neighbours : str or None
        The parameter that holds between how many positive rows new ones are made, or the SMOTE that makes them; mlsys
        lowers it where there are fewer positive rows.
    """

    only_selects_rows: bool = False
    takes_categories: bool = False
    neighbours: str | None = None


def _total_gain(estimator: Any) -> NDArray[np.float64] | None:  # noqa: ANN401 - a fitted XGBModel
    if estimator.get_params()["booster"] == "gblinear":
        return coefficients_or_importances(estimator)
    gains = estimator.get_booster().get_score(importance_type="total_gain")
    return np.array([gains.get(f"f{column}", 0.0) for column in range(estimator.n_features_in_)])


def _gain(estimator: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a fitted LGBMModel
    return np.asarray(estimator.booster_.feature_importance("gain"), dtype=np.float64)


EstimatorTable: TypeAlias = Mapping[type, Traits]
SamplerTable: TypeAlias = Mapping[type, SamplerTraits]


@cache
def _scikit_learn() -> EstimatorTable:
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    forest = Traits(needs_scaling=False, iterations="n_estimators", threads="n_jobs")
    return {
        DecisionTreeClassifier: Traits(needs_scaling=False),
        DummyClassifier: Traits(needs_scaling=False, takes_missing=True),  # it reads no column
        ExtraTreesClassifier: forest,
        HistGradientBoostingClassifier: Traits(
            takes_categories=True, takes_missing_categories=True, needs_scaling=False, iterations="max_iter"
        ),
        RandomForestClassifier: forest,
    }


@cache
def _xgboost() -> EstimatorTable:
    from xgboost import XGBModel

    boosted = Traits(
        takes_missing=True,
        takes_categories=True,
        takes_missing_categories=True,
        needs_scaling=False,
        iterations="n_estimators",
        early_stopping=XGBoostStopper(),
        threads="n_jobs",
        fit_parameters={"enable_categorical": True},
        ignores_unknown_parameters=True,
        importances=_total_gain,
    )
    return {XGBModel: boosted}


@cache
def _lightgbm() -> EstimatorTable:
    from lightgbm import LGBMModel

    boosted = Traits(
        takes_missing=True,
        takes_categories=True,
        takes_missing_categories=True,
        needs_scaling=False,
        iterations="n_estimators",
        early_stopping=LightGBMStopper(),
        threads="n_jobs",
        ignores_unknown_parameters=True,
        importances=_gain,
    )
    return {LGBMModel: boosted}


@cache
def _catboost() -> EstimatorTable:
    from catboost import CatBoost

    boosted = Traits(
        takes_missing=True,
        takes_categories=True,
        needs_scaling=False,
        iterations="iterations",
        early_stopping=CatBoostStopper(),
        threads="thread_count",
        threads_fixed_by_fit=True,
        categories_argument="cat_features",
    )
    return {CatBoost: boosted}


@cache
def _imbalanced_learn() -> SamplerTable:
    from imblearn.combine import SMOTEENN, SMOTETomek
    from imblearn.over_sampling import ADASYN, SMOTE, SMOTEN, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE, RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    smotes = (SMOTE, SMOTEN, BorderlineSMOTE, SVMSMOTE, KMeansSMOTE)
    return {
        RandomOverSampler: SamplerTraits(only_selects_rows=True),
        RandomUnderSampler: SamplerTraits(only_selects_rows=True),
        ADASYN: SamplerTraits(neighbours="n_neighbors"),
        **dict.fromkeys(smotes, SamplerTraits(neighbours="k_neighbors")),
        **dict.fromkeys((SMOTEENN, SMOTETomek), SamplerTraits(neighbours="smote")),
    }


# A library that is not imported yet cannot have made the object in question, and stays so.
ESTIMATORS = {"sklearn": _scikit_learn, "xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}
SAMPLERS = {"imblearn": _imbalanced_learn}


def traits_of(estimator: object) -> Traits:
    """Return what is known about an estimator: its own ``mlsys_traits``, else its library's row, else the defaults.

    Parameters
    ----------
    estimator : object
        An estimator, fitted or not.

    Raises
    ------
    FitError
        Where ``mlsys_traits`` is no `Traits`.
    """
    traits = _own(estimator, Traits) or _row(estimator, ESTIMATORS.items()) or Traits()
    if traits.takes_missing is None:
        allowed = isinstance(estimator, BaseEstimator) and bool(get_tags(estimator).input_tags.allow_nan)
        return replace(traits, takes_missing=allowed)
    return traits


def sampler_traits_of(sampler: object) -> SamplerTraits:
    """Return what is known about a sampler: its own ``mlsys_traits``, else its library's row, else the defaults.

    Parameters
    ----------
    sampler : object
        With imbalanced-learn's ``fit_resample``.

    Raises
    ------
    FitError
        Where ``mlsys_traits`` is no `SamplerTraits`.
    """
    return _own(sampler, SamplerTraits) or _row(sampler, SAMPLERS.items()) or SamplerTraits()


def _own(component: object, wanted: type[T]) -> T | None:
    own = getattr(component, "mlsys_traits", None)
    if own is None or isinstance(own, wanted):
        return own
    kind = type(component).__qualname__
    raise FitError(
        f"{kind}.mlsys_traits is a {type(own).__qualname__}: make it a mlsys.pipeline.traits.{wanted.__qualname__}."
    )


def _row(component: object, tables: Iterable[tuple[str, Callable[[], Mapping[type, T]]]]) -> T | None:
    for library, table in tables:
        if library in sys.modules:
            for kind, traits in table().items():
                if isinstance(component, kind):
                    return traits
    return None
