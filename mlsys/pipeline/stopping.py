"""Early stopping: how each library is given a validation set, and how many iterations it found best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# The metrics that can be followed iteration by iteration; see `EarlyStopper.metrics`.
TREE_METRICS = ("log_loss", "roc_auc", "average_precision")


class IterationCallback(Protocol):
    """Follows a boosted model iteration by iteration, on the validation set.

    Attributes
    ----------
    metric : str
        One of `TREE_METRICS`.
    """

    metric: str

    def __call__(self, iteration: int, value: float) -> bool:
        """Take the metric after a tree (counted from 0); return whether to stop, which some libraries do not raise."""
        ...

    def raise_if_stopped(self) -> None:
        """Raise what made it stop, if anything did."""
        ...


class ValidationSet(NamedTuple):
    """The rows that decide how many iterations help.

    Attributes
    ----------
    inputs : DataFrame or ndarray of shape (n_rows, n_columns)
        Encoded.
    labels : ndarray of int8, shape (n_rows,)
    weights : ndarray of float64, shape (n_rows,), or None
        See `validation_weights`.
    """

    inputs: Any
    labels: NDArray[np.int8]
    weights: NDArray[np.float64] | None


class EarlyStopper(Protocol):
    """How a library stops early.

    Attributes
    ----------
    metrics : mapping of str to str
        The library's name of each of `TREE_METRICS`.
    applies_class_weights : bool
        Whether the library applies the model's class weights to the validation set by itself.
    """

    @property
    def metrics(self) -> Mapping[str, str]: ...  # noqa: D102 - see above

    @property
    def applies_class_weights(self) -> bool: ...  # noqa: D102

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401 - an unfitted estimator of the library
        rounds: int,
        validation: ValidationSet,
        categories: list[str],
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return the arguments of ``fit`` that make the estimator stop; it may also set parameters of it.

        Parameters
        ----------
        estimator : estimator
            Unfitted; a clone that may be changed.
        rounds : int
            Iterations without a better log loss until it stops.
        validation : ValidationSet
        categories : list of str
            The category columns.
        callback : IterationCallback, optional
            Is told the metric that it names after every iteration.
        """
        ...

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401 - the same, fitted
        """Return how many iterations a model that stopped early keeps, at least one."""
        ...


def validation_weights(labels: NDArray[np.int8], *, prior: float, learned_prior: float) -> NDArray[np.float64] | None:
    """Weigh the validation set as resampling and class weights weigh the training rows.

    Otherwise a model that is made to believe in more converters than there are looks the better the further more trees
    push everyone down, and never stops.

    Parameters
    ----------
    labels : ndarray of int8, shape (n_rows,)
        Of the validation set.
    prior, learned_prior : float
        Fraction of positives among the training rows as they were, and as the estimator learns it after resampling and
        class weights (without the class weights that the library applies to the validation set itself).

    Returns
    -------
    ndarray of float64, shape (n_rows,), or None
        None where both are the same.

    Examples
    --------
    >>> validation_weights(np.array([0, 1], dtype=np.int8), prior=0.25, learned_prior=0.5)
    array([1., 3.])
    """
    if np.isclose(learned_prior, prior, rtol=1e-9):
        return None
    return np.where(labels == 1, learned_prior / (1 - learned_prior) * (1 - prior) / prior, 1.0)


@dataclass(frozen=True)
class XGBoostStopper:
    """XGBoost's early stopping, which takes some of it as parameters."""

    metrics: ClassVar[Mapping[str, str]] = {"log_loss": "logloss", "roc_auc": "auc", "average_precision": "aucpr"}
    applies_class_weights: ClassVar[bool] = False

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401
        rounds: int,
        validation: ValidationSet,
        categories: list[str],  # noqa: ARG002 - it reads them from the dtypes
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return the validation set; set rounds, metrics and callback as parameters."""
        inputs, labels, weights = validation
        watched = None if callback is None else self.metrics[callback.metric]
        # The last metric decides when to stop. A list of one would not survive being saved.
        metrics: Any = "logloss" if watched is None else [watched, "logloss"]
        estimator.set_params(early_stopping_rounds=rounds, eval_metric=metrics)
        if callback is not None:
            estimator.set_params(callbacks=[_xgboost_callback(callback, str(watched))])
        weighed = {} if weights is None else {"sample_weight_eval_set": [weights]}
        return {"eval_set": [(inputs, labels)], "verbose": False, **weighed}

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return how many trees the best iteration has."""
        return int(estimator.best_iteration) + 1


@dataclass(frozen=True)
class LightGBMStopper:
    """LightGBM's early stopping, by callbacks."""

    metrics: ClassVar[Mapping[str, str]] = {
        "log_loss": "binary_logloss",
        "roc_auc": "auc",
        "average_precision": "average_precision",
    }
    applies_class_weights: ClassVar[bool] = False

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401, ARG002 - all are arguments of fit
        rounds: int,
        validation: ValidationSet,
        categories: list[str],  # noqa: ARG002 - it reads them from the dtypes
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return the validation set, metrics and callbacks."""
        from lightgbm import early_stopping

        inputs, labels, weights = validation
        watched = None if callback is None else self.metrics[callback.metric]
        weighed = {} if weights is None else {"eval_sample_weight": [weights]}
        # The first metric decides when to stop.
        callbacks: list[Any] = [early_stopping(rounds, first_metric_only=True, verbose=False)]
        callbacks += [] if callback is None else [_lightgbm_callback(callback, str(watched))]
        metrics = ["binary_logloss", *filter(None, [watched])]
        return {"eval_X": inputs, "eval_y": labels, "eval_metric": metrics, "callbacks": callbacks, **weighed}

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return the best iteration, which LightGBM counts from 1."""
        return max(int(estimator.best_iteration_), 1)


@dataclass(frozen=True)
class CatBoostStopper:
    """CatBoost's early stopping; it cuts the model back to the best iteration."""

    metrics: ClassVar[Mapping[str, str]] = {"log_loss": "Logloss", "roc_auc": "AUC", "average_precision": "PRAUC"}
    applies_class_weights: ClassVar[bool] = True

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401
        rounds: int,
        validation: ValidationSet,
        categories: list[str],
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return the validation set, rounds and callback; set the metric to follow as a parameter."""
        from catboost import Pool

        inputs, labels, weights = validation
        pool = Pool(inputs, labels, cat_features=categories, weight=weights)
        options = {"eval_set": pool, "early_stopping_rounds": rounds, "use_best_model": True}
        if callback is None:
            return options
        watched = self.metrics[callback.metric]
        estimator.set_params(custom_metric=[watched])
        return options | {"callbacks": [_CatBoostCallback(callback, watched)]}

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return how many trees the model was cut back to."""
        return max(int(estimator.tree_count_), 1)


def _xgboost_callback(callback: IterationCallback, metric: str) -> Any:  # noqa: ANN401 - a class that needs XGBoost
    """Return XGBoost's callback that calls ours."""
    from xgboost.callback import TrainingCallback

    class XGBoostCallback(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401, ARG002
            return callback(epoch, float(evals_log["validation_0"][metric][-1]))

    return XGBoostCallback()


def _lightgbm_callback(callback: IterationCallback, metric: str) -> Any:  # noqa: ANN401
    """Return LightGBM's callback that calls ours."""
    from lightgbm.callback import EarlyStopException

    def follow(environment: Any) -> None:  # noqa: ANN401
        found = [entry for entry in environment.evaluation_result_list if entry[1] == metric]
        if callback(environment.iteration, float(found[0][2])):
            raise EarlyStopException(environment.iteration, environment.evaluation_result_list)

    return follow


@dataclass(frozen=True)
class _CatBoostCallback:
    """CatBoost's callback that calls ours."""

    callback: IterationCallback
    metric: str

    def after_iteration(self, info: Any) -> bool:  # noqa: ANN401
        """Return whether to continue."""
        return not self.callback(info.iteration - 1, float(info.metrics["validation"][self.metric][-1]))
