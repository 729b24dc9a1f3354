"""Traits: what mlsys needs to know about estimators and samplers beyond their API, in one table per library.

A class of your own declares its traits in a class attribute, ``mlsys_traits``; see docs/extending.md.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from mlsys.errors import FitError
from mlsys.pipeline import column_parameters, devices
from mlsys.pipeline.column_parameters import ColumnParameter
from mlsys.pipeline.devices import Device
from mlsys.pipeline.ebm import EBM_RULES, Curve, EBMStopper, column_importances, curves
from mlsys.pipeline.library_keywords import lightgbm_keywords, xgboost_keywords
from mlsys.pipeline.parameter_rules import VOTES, Members, ParameterRule
from mlsys.pipeline.regularisation import AutoParameter
from mlsys.pipeline.stopping import CatBoostStopper, EarlyStopper, HistStopper, LightGBMStopper, XGBoostStopper

T = TypeVar("T")

# The numbers of converters are from comparisons on tables of different shapes; see docs/choosing-defaults.md.
INVERSE_PENALTY = AutoParameter(
    "C", (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30), rule=lambda C: 1000 * C ** (2 / 3), compared=True
)
LEAF_CONVERTERS: dict[float, float] = {100: 0, 50: 1, 20: 16, 10: 125, 5: 1000, 2: 2000}
LEAF_SIZE = AutoParameter(
    "min_samples_leaf", tuple(LEAF_CONVERTERS), rule=LEAF_CONVERTERS.__getitem__, rate=lambda rows: 0.05 / rows
)
DEPTH = AutoParameter("max_depth", (6, 12, 24), rule=lambda depth: depth**3 / 12)
PENALTY = AutoParameter("reg_lambda", (10, 3, 1), rule=lambda penalty: 300 / penalty)
LEAVES = AutoParameter("num_leaves", (7, 15), rule=lambda leaves: 20 * leaves)


def coefficients_or_importances(estimator: Any) -> NDArray[np.float64] | None:  # noqa: ANN401 - a fitted estimator
    """Return the absolute ``coef_``, or else ``feature_importances_``, shape (n_columns,); None if it has neither."""
    if hasattr(estimator, "coef_"):
        return np.abs(np.asarray(estimator.coef_, dtype=np.float64)).ravel()
    importances = getattr(estimator, "feature_importances_", None)
    return None if importances is None else np.asarray(importances, dtype=np.float64)


def weights_by_parameters(estimator: Any, positives: float, negatives: float) -> tuple[float, float]:  # noqa: ANN401
    """Return the weights of a positive and of a negative row, from the usual parameter names.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Estimator with any of the parameters ``scale_pos_weight``, ``class_weight``, ``class_weights``,
        ``auto_class_weights`` and ``is_unbalance``.
    positives, negatives : float
        Number of rows of each class, after resampling.

    Returns
    -------
    positive, negative : float
        Weight of a row of each class.
    """
    parameters = estimator.get_params(deep=False)
    ratio = negatives / positives if positives else 1.0
    weight = parameters.get("class_weight") or parameters.get("class_weights")
    automatic = parameters.get("auto_class_weights")
    scale = parameters.get("scale_pos_weight")
    positive = 1.0 if scale is None else float(scale)
    if weight in ("balanced", "balanced_subsample") or automatic == "Balanced" or parameters.get("is_unbalance"):
        return positive * ratio, 1.0
    if automatic == "SqrtBalanced":
        return positive * ratio**0.5, 1.0
    if isinstance(weight, Mapping):
        return positive * float(weight.get(1, 1.0)), float(weight.get(0, 1.0))
    if weight is not None:
        return positive * float(weight[1]), float(weight[0])
    return positive, 1.0


@dataclass(frozen=True)
class Traits:
    """What mlsys needs to know about a classifier; the defaults fit a plain scikit-learn classifier.

    Attributes
    ----------
    takes_missing : bool or None
        Whether it accepts NaN in number columns. None: use its scikit-learn tag ``input_tags.allow_nan``.
    takes_categories : bool
        Whether it accepts pandas category columns.
    takes_missing_categories : bool
        Whether it accepts missing values in category columns.
    needs_scaling : bool
        Whether numbers should be standardised.
    reads_panel : bool
        Whether it reads the panel's columns by name, without encoder and sampler.
    column : str or None
        Name of the parameter that names a panel column, if there is one.
    iterations : str or None
        Name of the parameter for the number of trees or boosting rounds; a config must set it to at least 1.
    early_stopping : EarlyStopper or None
        Adapter for early stopping, if it is supported; requires `iterations`.
    regularisation : tuple of AutoParameter
        Parameters that may be ``auto``, of which at most one is ``compared``.
    threads : str or None
        Name of the parameter for the number of threads; mlsys sets it for the fit, and to 1 for scoring.
    threads_fixed_by_fit : bool
        Whether the number of threads cannot be changed after the fit.
    device : Device or None
        How to fit on a GPU, if its library can.
    fit_parameters : mapping of str to object
        Parameters that are always set for the fit, and again after it.
    categories_argument : str or None
        Name of the argument of ``fit`` that lists the category columns, if it needs one.
    column_parameters : mapping of str to ColumnParameter
        Parameters that refer to columns, by name; see `ColumnParameter`.
    only_with : mapping of str to str
        Parameters that crash or do nothing without another one, each with the name of that one.
    keywords : callable or None
        Function that returns the keywords that the constructor takes beyond its named arguments, if it accepts any, so
        that a misspelled one would go unnoticed.
    objectives : mapping of str to tuple of str
        Parameters that set what is optimised, each with the values that give probabilities of two classes; a value may
        have options after a colon.
    importances : callable
        Function of a fitted estimator that returns the importance of each input column, shape (n_columns,), at least 0.
        If it returns None, permutation importance is used.
    class_weights : callable
        Function of an unfitted estimator and the numbers of positive and negative rows that returns the weights of a
        positive and a negative row; the calibration of probabilities relies on it.
    bytes_per_value : float
        Bytes that encoding and fitting hold at their peak for each row and feature, to estimate the memory of a run.
    fit_batches : callable or None
        Function of an unfitted estimator, `EncodedBatches`, their labels and the further arguments of ``fit`` that fits
        the estimator on rows that stay on disk, if its library can.
    rules : mapping of str to ParameterRule
        What its parameters may be, where neither its constructor nor scikit-learn's table of parameters says so.
    curves : callable or None
        Function of a fitted estimator that returns the curves of its input columns, for the report, if it is a sum of
        curves.

    Raises
    ------
    ValueError
        If `early_stopping` is set without `iterations`.

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
    regularisation: tuple[AutoParameter, ...] = ()
    threads: str | None = None
    threads_fixed_by_fit: bool = False
    device: Device | None = None
    fit_parameters: Mapping[str, Any] = field(default_factory=dict)
    categories_argument: str | None = None
    column_parameters: Mapping[str, ColumnParameter] = field(default_factory=dict)
    only_with: Mapping[str, str] = field(default_factory=dict)
    keywords: Callable[[], frozenset[str]] | None = None
    objectives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    importances: Callable[[Any], NDArray[np.float64] | None] = coefficients_or_importances
    class_weights: Callable[[Any, float, float], tuple[float, float]] = weights_by_parameters
    bytes_per_value: float = 45.0  # measured, with missing values, like those below
    fit_batches: Callable[..., None] | None = None
    rules: Mapping[str, ParameterRule] = field(default_factory=dict)
    curves: Callable[[Any], list[Curve]] | None = None

    def __post_init__(self) -> None:
        if self.early_stopping is not None and self.iterations is None:
            raise ValueError("Traits with early_stopping also need iterations, the name of the parameter that it sets.")


@dataclass(frozen=True)
class SamplerTraits:
    """What mlsys needs to know about a sampler; the defaults fit a sampler that measures distances between rows.

    Attributes
    ----------
    only_selects_rows : bool
        Whether it only repeats and drops rows, without reading their columns. All other samplers get scaled numbers
        without missing values.
    takes_categories : bool
        Whether it accepts pandas category columns.
    neighbours : str or None
        Name of the parameter for the number of neighbours to interpolate between, or for the SMOTE that does so; mlsys
        lowers it if there are too few positive rows.
    bytes_per_value : float
        Bytes that it holds at its peak for each row and feature, to estimate the memory of a run.
    """

    only_selects_rows: bool = False
    takes_categories: bool = False
    neighbours: str | None = None
    bytes_per_value: float = 90.0


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
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
        VotingClassifier,
    )
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    constrained = column_parameters.SCIKIT_LEARN_TREES
    forest = Traits(
        needs_scaling=False,
        iterations="n_estimators",
        regularisation=(DEPTH, LEAF_SIZE),
        threads="n_jobs",
        bytes_per_value=23,
        column_parameters=constrained,
    )
    return {
        DecisionTreeClassifier: Traits(needs_scaling=False, column_parameters=constrained),
        DummyClassifier: Traits(needs_scaling=False, takes_missing=True, bytes_per_value=16),  # it ignores all columns
        ExtraTreesClassifier: forest,
        HistGradientBoostingClassifier: Traits(
            takes_categories=True,
            takes_missing_categories=True,
            needs_scaling=False,
            iterations="max_iter",
            early_stopping=HistStopper(),
            regularisation=(LEAVES.called("max_leaf_nodes"), PENALTY.called("l2_regularization")),
            bytes_per_value=18,
            column_parameters=column_parameters.HIST_GRADIENT_BOOSTING,
        ),
        LogisticRegression: Traits(regularisation=(INVERSE_PENALTY,)),
        RandomForestClassifier: forest,
        VotingClassifier: Traits(rules={"estimators": Members(), "weights": VOTES}),
    }


def _fit_xgboost_batches(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of `fit_xgboost`
    from mlsys.pipeline.external_fit import fit_xgboost  # models that are only scored do without it

    fit_xgboost(*arguments, **options)


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
        regularisation=(PENALTY,),
        threads="n_jobs",
        device=devices.XGBOOST,
        # Early stopping sets its own metrics. XGBoost would pass a list of metrics on as one text once it is fitted.
        fit_parameters={"enable_categorical": True, "eval_metric": None},
        column_parameters=column_parameters.XGBOOST,
        keywords=xgboost_keywords,
        objectives={"objective": ("binary:logistic", "reg:logistic")},
        importances=_total_gain,
        bytes_per_value=14,
        fit_batches=_fit_xgboost_batches,
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
        regularisation=(LEAVES, PENALTY),
        threads="n_jobs",
        column_parameters=column_parameters.LIGHTGBM,
        only_with=dict.fromkeys(
            ("monotone_constraints_method", "monotone_constraining_method", "mc_method"), "monotone_constraints"
        ),
        keywords=lightgbm_keywords,
        # cross_entropy would be the same, but ignores scale_pos_weight.
        objectives=dict.fromkeys(("objective", "objective_type", "app", "application", "loss"), ("binary",)),
        importances=_gain,
        bytes_per_value=12,
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
        device=devices.CATBOOST,
        categories_argument="cat_features",
        column_parameters=column_parameters.CATBOOST,
        objectives=dict.fromkeys(("loss_function", "objective"), ("Logloss", "CrossEntropy", "Focal")),
        bytes_per_value=7,
    )
    return {CatBoost: boosted}


@cache
def _interpret() -> EstimatorTable:
    from interpret.glassbox import ExplainableBoostingClassifier

    logging.getLogger("interpret").setLevel(logging.WARNING)  # it logs each step of a fit
    # Its own plots leave out missing values, and terms of three columns.
    warnings.filterwarnings("ignore", "Missing values detected|Interactions with 3 or more terms", UserWarning)
    boosted = Traits(
        takes_missing=True,
        takes_categories=True,
        takes_missing_categories=True,
        needs_scaling=False,
        iterations="max_rounds",
        early_stopping=EBMStopper(),
        threads="n_jobs",
        column_parameters=column_parameters.EBM,
        objectives={"objective": ("log_loss",)},
        rules=EBM_RULES,
        importances=column_importances,
        curves=curves,
    )
    return {ExplainableBoostingClassifier: boosted}


@cache
def _imbalanced_learn() -> SamplerTable:
    from imblearn.combine import SMOTEENN, SMOTETomek
    from imblearn.over_sampling import ADASYN, SMOTE, SMOTEN, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE, RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    smotes = (SMOTE, SMOTEN, BorderlineSMOTE, SVMSMOTE, KMeansSMOTE)
    return {
        RandomOverSampler: SamplerTraits(only_selects_rows=True, bytes_per_value=8),
        RandomUnderSampler: SamplerTraits(only_selects_rows=True, bytes_per_value=0),
        ADASYN: SamplerTraits(neighbours="n_neighbors"),
        **dict.fromkeys(smotes, SamplerTraits(neighbours="k_neighbors")),
        **dict.fromkeys((SMOTEENN, SMOTETomek), SamplerTraits(neighbours="smote")),
    }


# Tables of libraries that are not imported are skipped: no object can come from them, and the import would be slow.
ESTIMATORS = {
    "sklearn": _scikit_learn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "interpret": _interpret,
}
SAMPLERS = {"imblearn": _imbalanced_learn}


def traits_of(estimator: object) -> Traits:
    """Return the traits of an estimator: its ``mlsys_traits``, or else those in the table of its library, or defaults.

    Parameters
    ----------
    estimator : object
        Estimator, fitted or not.

    Raises
    ------
    FitError
        If ``mlsys_traits`` is not a `Traits`.
    """
    traits = _own(estimator, Traits) or _row(estimator, ESTIMATORS.items()) or Traits()
    if traits.takes_missing is None:
        allowed = isinstance(estimator, BaseEstimator) and bool(get_tags(estimator).input_tags.allow_nan)
        return replace(traits, takes_missing=allowed)
    return traits


def has_own_traits(estimator: object) -> bool:
    """Return whether an estimator's class declares ``mlsys_traits``."""
    return hasattr(estimator, "mlsys_traits")


def check_importances(estimator: object, importances: object, n_columns: int) -> None:
    """Check what ``Traits.importances`` returned for a fitted estimator.

    Parameters
    ----------
    estimator : object
        Fitted estimator.
    importances : object
        Expected to be an ndarray of float64 of shape (n_columns,).
    n_columns : int
        Number of input columns of the estimator.

    Raises
    ------
    FitError
        If they have another shape.
    """
    shape = np.asarray(importances).shape
    if shape != (n_columns,):
        raise FitError(
            f"mlsys_traits.importances of {type(estimator).__name__} returned an array of shape {shape}; "
            f"expected one number per column, shape ({n_columns},), or None."
        )


def sampler_traits_of(sampler: object) -> SamplerTraits:
    """Return the traits of a sampler: its ``mlsys_traits``, or else those in the table of its library, or defaults.

    Parameters
    ----------
    sampler : object
        Sampler with imbalanced-learn's ``fit_resample``.

    Raises
    ------
    FitError
        If ``mlsys_traits`` is not a `SamplerTraits`.
    """
    return _own(sampler, SamplerTraits) or _row(sampler, SAMPLERS.items()) or SamplerTraits()


def _own(component: object, expected: type[T]) -> T | None:
    own = getattr(component, "mlsys_traits", None)
    if own is None or isinstance(own, expected):
        return own
    raise FitError(
        f"{type(component).__qualname__}.mlsys_traits has the type {type(own).__qualname__}; expected "
        f"mlsys.pipeline.traits.{expected.__qualname__}."
    )


def _row(component: object, tables: Iterable[tuple[str, Callable[[], Mapping[type, T]]]]) -> T | None:
    for library, table in tables:
        if library in sys.modules:
            for kind, traits in table().items():
                if isinstance(component, kind):
                    return traits
    return None
