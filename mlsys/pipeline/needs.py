"""What an estimator can be given, and how its class weights change the prior it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Needs:
    """How columns must look for an estimator and a sampler.

    Attributes
    ----------
    categories : bool
        Takes pandas category columns as they are.
    missing : bool
        Takes NaN in number columns.
    missing_categories : bool
        Takes a missing value in category columns.
    scaled : bool
        Learns best from standardised numbers.
    """

    categories: bool
    missing: bool
    missing_categories: bool
    scaled: bool


def library(estimator: object) -> str:
    """Return the name of the library that an estimator comes from, such as ``xgboost``."""
    return type(estimator).__module__.split(".")[0]


def needs_of(estimator: object, sampler: object | None) -> Needs:
    """Return what an estimator behind a sampler can be given.

    Samplers that interpolate take neither missing numbers nor, but for SMOTENC, categories.
    """
    name = type(estimator).__name__
    boosted = library(estimator) in ("xgboost", "lightgbm", "catboost") or name.startswith("HistGradientBoosting")
    trees = boosted or name in ("RandomForestClassifier", "ExtraTreesClassifier", "DecisionTreeClassifier")
    indifferent = trees or name in ("ActivityRanking", "DummyClassifier")
    untouched = sampler is None or type(sampler).__name__.startswith("Random")
    return Needs(
        categories=boosted and (untouched or type(sampler).__name__ == "SmoteMixed"),
        missing=indifferent and untouched,
        missing_categories=boosted and library(estimator) != "catboost" and untouched,
        scaled=not (indifferent and untouched),
    )


def learned_prior(estimator: Any, labels: NDArray[np.int8]) -> float:  # noqa: ANN401 - any scikit-learn estimator
    """Return the share of positive rows that an estimator believes in, after its class weights.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Its weights are read from ``scale_pos_weight``, ``class_weight``, ``class_weights``, ``auto_class_weights`` or
        ``is_unbalance``.
    labels : ndarray of int8, shape (n_rows,)
        What it was fitted on, after resampling.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> learned_prior(LogisticRegression(class_weight="balanced"), np.array([0, 0, 0, 1], dtype=np.int8))
    0.5
    """
    positives = float(np.count_nonzero(labels == 1))
    negatives = float(len(labels) - positives)
    up, down = _class_weights(estimator.get_params(deep=False), positives, negatives)
    return positives * up / (positives * up + negatives * down)


def _class_weights(parameters: Mapping[str, Any], positives: float, negatives: float) -> tuple[float, float]:
    """Return the weight of a positive and of a negative row."""
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
