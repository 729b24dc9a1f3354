"""Early stopping: how each library is told which rows decide, and how many trees it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.pipeline.needs import learned_prior, library

TREES = {"xgboost": "n_estimators", "lightgbm": "n_estimators", "catboost": "iterations"}


class Watch(Protocol):
    """Follows a boosted model tree by tree, on the rows that decide.

    Attributes
    ----------
    tree_names : mapping of str to str
        What each library calls the metric that is followed.
    """

    tree_names: Mapping[str, str]

    def __call__(self, tree: int, value: float) -> bool:
        """Take the metric after a tree (counted from 0); return whether to stop, which some libraries do not raise."""
        ...

    def raise_if_stopped(self) -> None:
        """Raise what made it stop, if anything did."""
        ...


class Judges(NamedTuple):
    """The rows that decide.

    Attributes
    ----------
    inputs : DataFrame or ndarray of shape (n_rows, n_columns)
        Encoded.
    labels : ndarray of int8, shape (n_rows,)
    weights : ndarray of float64, shape (n_rows,), or None
        See `judges_weights`.
    """

    inputs: Any
    labels: NDArray[np.int8]
    weights: NDArray[np.float64] | None


def judges_weights(
    estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
    labels: NDArray[np.int8],
    *,
    before: NDArray[np.int8],
    after: NDArray[np.int8],
) -> NDArray[np.float64] | None:
    """Weigh the rows that decide as resampling and class weights weigh the training rows.

    Otherwise a model that is made to believe in more converters than there are looks the better the further more trees
    push everyone down, and never stops.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Its class weights count.
    labels : ndarray of int8, shape (n_rows,)
        Of the rows that decide.
    before, after : ndarray of int8
        Labels of the training rows before and after resampling.

    Returns
    -------
    ndarray of float64, shape (n_rows,), or None
        None where neither is at work.

    Examples
    --------
    >>> from xgboost import XGBClassifier
    >>> before, judges = np.array([0, 0, 0, 1], dtype=np.int8), np.array([0, 1], dtype=np.int8)
    >>> judges_weights(XGBClassifier(scale_pos_weight=3), judges, before=before, after=before)
    array([1., 3.])
    """
    # CatBoost applies its class weights to these rows by itself.
    believed = float(after.mean()) if library(estimator) == "catboost" else learned_prior(estimator, after)
    true = float(before.mean())
    if np.isclose(believed, true, rtol=1e-9):
        return None
    return np.where(labels == 1, believed / (1 - believed) * (1 - true) / true, 1.0)


def stopping_options(
    estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
    rounds: int,
    judges: Judges,
    categories: list[str],
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Return the arguments of ``fit`` that make a boosted model stop; each library spells it its own way.

    Parameters
    ----------
    estimator : XGBClassifier, LGBMClassifier or CatBoostClassifier
        XGBoost's takes some of it as parameters, which are set.
    rounds : int
        Trees without a better log loss until it stops.
    judges : Judges
    categories : list of str
        Columns that CatBoost takes as categories.
    watch : Watch, optional
        Takes the metric that it names after every tree.
    """
    inputs, labels, weights = judges
    watched = None if watch is None else watch.tree_names[library(estimator)]
    if library(estimator) == "xgboost":
        # The last metric decides when to stop. A list of one would not survive being saved.
        metrics: Any = "logloss" if watched is None else [watched, "logloss"]
        estimator.set_params(early_stopping_rounds=rounds, eval_metric=metrics)
        if watch is not None:
            estimator.set_params(callbacks=[xgboost_watch(watch, str(watched))])
        weighed = {} if weights is None else {"sample_weight_eval_set": [weights]}
        return {"eval_set": [(inputs, labels)], "verbose": False, **weighed}
    if library(estimator) == "catboost":
        from catboost import Pool

        pool = Pool(inputs, labels, cat_features=categories, weight=weights)
        options = {"eval_set": pool, "early_stopping_rounds": rounds, "use_best_model": True}
        if watch is None:
            return options
        estimator.set_params(custom_metric=[watched])
        return options | {"callbacks": [CatBoostWatch(watch, str(watched))]}
    from lightgbm import early_stopping

    weighed = {} if weights is None else {"eval_sample_weight": [weights]}
    # The first metric decides when to stop.
    callbacks: list[Any] = [early_stopping(rounds, first_metric_only=True, verbose=False)]
    callbacks += [] if watch is None else [lightgbm_watch(watch, str(watched))]
    metrics = ["binary_logloss", *filter(None, [watched])]
    return {"eval_X": inputs, "eval_y": labels, "eval_metric": metrics, "callbacks": callbacks, **weighed}


def xgboost_watch(watch: Watch, metric: str) -> Any:  # noqa: ANN401 - a class that needs XGBoost
    """Return XGBoost's callback that calls ``watch``."""
    from xgboost.callback import TrainingCallback

    class XgboostWatch(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401, ARG002
            return watch(epoch, float(evals_log["validation_0"][metric][-1]))

    return XgboostWatch()


def lightgbm_watch(watch: Watch, metric: str) -> Any:  # noqa: ANN401
    """Return LightGBM's callback that calls ``watch``."""
    from lightgbm.callback import EarlyStopException

    def follow(environment: Any) -> None:  # noqa: ANN401
        found = [entry for entry in environment.evaluation_result_list if entry[1] == metric]
        if watch(environment.iteration, float(found[0][2])):
            raise EarlyStopException(environment.iteration, environment.evaluation_result_list)

    return follow


@dataclass(frozen=True)
class CatBoostWatch:
    """CatBoost's callback that calls ``watch``."""

    watch: Watch
    metric: str

    def after_iteration(self, info: Any) -> bool:  # noqa: ANN401
        """Return whether to go on."""
        return not self.watch(info.iteration - 1, float(info.metrics["validation"][self.metric][-1]))


def best_trees(estimator: Any) -> int:  # noqa: ANN401
    """Return how many trees a fitted model that stopped early kept, at least one."""
    if library(estimator) == "xgboost":
        return int(estimator.best_iteration) + 1
    kept = estimator.tree_count_ if library(estimator) == "catboost" else estimator.best_iteration_
    return max(int(kept), 1)
