"""Early stopping: how each library is told which rows decide, and how many trees it found."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlsys.pipeline.needs import learned_prior, library

TREES = {"xgboost": "n_estimators", "lightgbm": "n_estimators", "catboost": "iterations"}


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


def stopping_options(estimator: Any, rounds: int, judges: Judges, categories: list[str]) -> dict[str, Any]:  # noqa: ANN401
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
    """
    inputs, labels, weights = judges
    if library(estimator) == "xgboost":
        estimator.set_params(early_stopping_rounds=rounds, eval_metric="logloss")
        weighed = {} if weights is None else {"sample_weight_eval_set": [weights]}
        return {"eval_set": [(inputs, labels)], "verbose": False, **weighed}
    if library(estimator) == "catboost":
        from catboost import Pool

        pool = Pool(inputs, labels, cat_features=categories, weight=weights)
        return {"eval_set": pool, "early_stopping_rounds": rounds, "use_best_model": True}
    from lightgbm import early_stopping

    weighed = {} if weights is None else {"eval_sample_weight": [weights]}
    callback = early_stopping(rounds, first_metric_only=True, verbose=False)
    return {"eval_X": inputs, "eval_y": labels, "eval_metric": "binary_logloss", "callbacks": [callback], **weighed}


def best_trees(estimator: Any) -> int:  # noqa: ANN401
    """Return how many trees a fitted model that stopped early kept, at least one."""
    if library(estimator) == "xgboost":
        return int(estimator.best_iteration) + 1
    kept = estimator.tree_count_ if library(estimator) == "catboost" else estimator.best_iteration_
    return max(int(kept), 1)
