"""Early stopping: how to pass each library a validation set, and how to read its best number of iterations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.pipeline.weights import Weights

# The metrics that the libraries can report after each iteration; see `EarlyStopper.metrics`.
ITERATION_METRICS = ("log_loss", "roc_auc", "average_precision")


# Trees of a boosted model where early stopping cannot choose: with few converters, 200 are about as good as any number.
ITERATIONS_WITHOUT_VALIDATION = 200


class IterationCallback(Protocol):
    """Called after each iteration of a boosted model, with a metric on the validation set.

    Attributes
    ----------
    metric : str
        Name of the metric to report, one of `ITERATION_METRICS`.
    """

    metric: str

    def __call__(self, iteration: int, value: float) -> bool:
        """Receive the metric after an iteration, counted from 0; return whether to stop training.

        It must not raise, because not every library passes exceptions of callbacks on.
        """
        ...

    def raise_if_stopped(self) -> None:
        """Raise the error for which training was stopped, if it was."""
        ...


class EncodedRows(NamedTuple):
    """Training rows as the estimator gets them.

    Attributes
    ----------
    inputs : DataFrame or ndarray of shape (n_rows, n_columns)
        Encoded rows.
    labels : ndarray of int8, shape (n_rows,)
        Labels, 0 or 1.
    weights : ndarray of float64, shape (n_rows,), or None
        Row weights.
    """

    inputs: Any
    labels: NDArray[np.int8]
    weights: Weights = None


class ValidationSet(NamedTuple):
    """Held-out training rows that determine the number of iterations.

    Attributes
    ----------
    inputs : DataFrame or ndarray of shape (n_rows, n_columns)
        Encoded rows.
    labels : ndarray of int8, shape (n_rows,)
        Labels, 0 or 1.
    weights : ndarray of float64, shape (n_rows,), or None
        Row weights; see `validation_weights`.
    """

    inputs: Any
    labels: NDArray[np.int8]
    weights: NDArray[np.float64] | None


class EarlyStopper(Protocol):
    """Adapter for the early stopping of one library.

    Attributes
    ----------
    metrics : mapping of str to str
        The library's names of those `ITERATION_METRICS` that it can report after each iteration.
    applies_class_weights : bool
        Whether the library applies the model's class weights to the validation set itself.
    """

    @property
    def metrics(self) -> Mapping[str, str]: ...  # noqa: D102 - see above

    @property
    def applies_class_weights(self) -> bool: ...  # noqa: D102

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401 - an unfitted estimator of the library
        rounds: int,
        training: EncodedRows,
        validation: ValidationSet,
        categories: list[str],
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return arguments for ``fit`` that enable early stopping; may also set parameters of the estimator.

        Parameters
        ----------
        estimator : estimator
            Unfitted clone, which may be modified.
        rounds : int
            Number of iterations without a better log loss after which to stop.
        training : EncodedRows
            The rows that are fitted; the arguments may replace them.
        validation : ValidationSet
            Held-out training rows.
        categories : list of str
            Names of the category columns.
        callback : IterationCallback, optional
            Called with its metric after every iteration.
        """
        ...

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401 - the same, fitted
        """Return the best number of iterations of a model that stopped early, at least 1."""
        ...


def validation_weights(
    labels: NDArray[np.int8], *, prior: float, learned_prior: float, weights: Weights = None
) -> Weights:
    """Return row weights that give the validation set the class balance that the estimator learns.

    Without them, a model that learns a higher prior than the true one would keep improving its validation loss just by
    lowering all scores, iteration after iteration, and would stop far too late.

    Parameters
    ----------
    labels : ndarray of int8, shape (n_rows,)
        Labels of the validation set.
    prior : float
        Fraction of positives in the original training rows.
    learned_prior : float
        Fraction of positives that the estimator learns after resampling and class weights, except for class weights
        that the library applies to the validation set itself.
    weights : ndarray of float64, shape (n_rows,), optional
        Rows that each row stands for.

    Returns
    -------
    ndarray of float64, shape (n_rows,), or None
        None, or the given weights, if the two priors are equal.

    Examples
    --------
    >>> validation_weights(np.array([0, 1], dtype=np.int8), prior=0.25, learned_prior=0.5)
    array([1., 3.])
    """
    if np.isclose(learned_prior, prior, rtol=1e-9):
        return weights
    balance = np.where(labels == 1, learned_prior / (1 - learned_prior) * (1 - prior) / prior, 1.0)
    return balance if weights is None else balance * weights


@dataclass(frozen=True)
class XGBoostStopper:
    """Early stopping of XGBoost, which takes rounds, metrics and callbacks as parameters of the estimator."""

    metrics: ClassVar[Mapping[str, str]] = {"log_loss": "logloss", "roc_auc": "auc", "average_precision": "aucpr"}
    applies_class_weights: ClassVar[bool] = False

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401
        rounds: int,
        training: EncodedRows,  # noqa: ARG002 - arguments of fit already
        validation: ValidationSet,
        categories: list[str],  # noqa: ARG002 - it reads them from the dtypes
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return the validation set; set rounds, metrics and callback as parameters."""
        inputs, labels, weights = validation
        reported = None if callback is None else self.metrics[callback.metric]
        # XGBoost stops by the last metric. A one-element list would not survive saving and loading.
        metrics: Any = "logloss" if reported is None else [reported, "logloss"]
        estimator.set_params(early_stopping_rounds=rounds, eval_metric=metrics)
        if callback is not None:
            estimator.set_params(callbacks=[_xgboost_callback(callback, str(reported))])
        weighting = {} if weights is None else {"sample_weight_eval_set": [weights]}
        return {"eval_set": [(inputs, labels)], "verbose": False, **weighting}

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return the best number of iterations; XGBoost counts iterations from 0."""
        return int(estimator.best_iteration) + 1


@dataclass(frozen=True)
class LightGBMStopper:
    """Early stopping of LightGBM, by callbacks."""

    metrics: ClassVar[Mapping[str, str]] = {
        "log_loss": "binary_logloss",
        "roc_auc": "auc",
        "average_precision": "average_precision",
    }
    applies_class_weights: ClassVar[bool] = False

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401, ARG002 - everything is an argument of fit
        rounds: int,
        training: EncodedRows,  # noqa: ARG002 - arguments of fit already
        validation: ValidationSet,
        categories: list[str],  # noqa: ARG002 - it reads them from the dtypes
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return the validation set, metrics and callbacks."""
        from lightgbm import early_stopping

        inputs, labels, weights = validation
        reported = None if callback is None else self.metrics[callback.metric]
        weighting = {} if weights is None else {"eval_sample_weight": [weights]}
        # With first_metric_only, the log loss determines when to stop.
        callbacks: list[Any] = [early_stopping(rounds, first_metric_only=True, verbose=False)]
        callbacks += [] if callback is None else [_lightgbm_callback(callback, str(reported))]
        metrics = ["binary_logloss", *filter(None, [reported])]
        return {"eval_X": inputs, "eval_y": labels, "eval_metric": metrics, "callbacks": callbacks, **weighting}

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return the best number of iterations; LightGBM counts iterations from 1."""
        return max(int(estimator.best_iteration_), 1)


@dataclass(frozen=True)
class CatBoostStopper:
    """Early stopping of CatBoost, which truncates the model at the best iteration."""

    metrics: ClassVar[Mapping[str, str]] = {"log_loss": "Logloss", "roc_auc": "AUC", "average_precision": "PRAUC"}
    applies_class_weights: ClassVar[bool] = True

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401
        rounds: int,
        training: EncodedRows,  # noqa: ARG002 - arguments of fit already
        validation: ValidationSet,
        categories: list[str],
        callback: IterationCallback | None = None,
    ) -> dict[str, Any]:
        """Return the validation set, rounds and callback; set the reported metric as a parameter."""
        from catboost import Pool

        inputs, labels, weights = validation
        pool = Pool(inputs, labels, cat_features=categories, weight=weights)
        options = {"eval_set": pool, "early_stopping_rounds": rounds, "use_best_model": True}
        if callback is None:
            return options
        reported = self.metrics[callback.metric]
        estimator.set_params(custom_metric=[reported])
        return options | {"callbacks": [_CatBoostCallback(callback, reported)]}

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return the best number of iterations, which is the size of the truncated model."""
        return max(int(estimator.tree_count_), 1)


@dataclass(frozen=True)
class HistStopper:
    """Early stopping of scikit-learn's histogram-based gradient boosting, which has no callbacks."""

    metrics: ClassVar[Mapping[str, str]] = {}
    applies_class_weights: ClassVar[bool] = False

    def fit_arguments(
        self,
        estimator: Any,  # noqa: ANN401
        rounds: int,
        training: EncodedRows,  # noqa: ARG002
        validation: ValidationSet,
        categories: list[str],  # noqa: ARG002 - it reads them from the dtypes
        callback: IterationCallback | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the validation set; set rounds as a parameter."""
        inputs, labels, weights = validation
        estimator.set_params(early_stopping=True, n_iter_no_change=rounds, scoring="loss", tol=0.0)
        return {"X_val": inputs, "y_val": labels, "sample_weight_val": weights}

    def best_iterations(self, estimator: Any) -> int:  # noqa: ANN401
        """Return the best number of iterations; the first score is that of none."""
        return max(int(np.argmax(estimator.validation_score_)), 1)


def _xgboost_callback(callback: IterationCallback, metric: str) -> Any:  # noqa: ANN401 - a class that needs XGBoost
    """Return an XGBoost callback that calls ours."""
    from xgboost.callback import TrainingCallback

    class XGBoostCallback(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401, ARG002
            return callback(epoch, float(evals_log["validation_0"][metric][-1]))

    return XGBoostCallback()


def _lightgbm_callback(callback: IterationCallback, metric: str) -> Any:  # noqa: ANN401
    """Return a LightGBM callback that calls ours."""
    from lightgbm.callback import EarlyStopException

    def after_iteration(environment: Any) -> None:  # noqa: ANN401
        values = [entry[2] for entry in environment.evaluation_result_list if entry[1] == metric]
        if callback(environment.iteration, float(values[0])):
            raise EarlyStopException(environment.iteration, environment.evaluation_result_list)

    return after_iteration


@dataclass(frozen=True)
class _CatBoostCallback:
    """CatBoost callback that calls ours."""

    callback: IterationCallback
    metric: str

    def after_iteration(self, info: Any) -> bool:  # noqa: ANN401
        """Return whether to continue."""
        return not self.callback(info.iteration - 1, float(info.metrics["validation"][self.metric][-1]))
