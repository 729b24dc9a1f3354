"""Weights of rows: sums and means that count each row as often as its weight says.

A row's weight is the number of rows that it stands for, where ``data.negatives`` has left some out, times its weight by
age with ``fit.half_life_days``. None stands for no weights, and gives exactly what the same functions give without
them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.ranges import take_values

Weights: TypeAlias = NDArray[np.float64] | None


def taken(weights: Weights, chosen: NDArray[Any]) -> Weights:
    """Return the weights of the rows at a mask or at positions: without a copy where they are a range."""
    return None if weights is None else take_values(weights, chosen)


def mean(values: NDArray[Any], weights: Weights) -> float:
    """Return the mean over rows.

    Examples
    --------
    >>> mean(np.array([0, 1]), None), mean(np.array([0, 1]), np.array([3.0, 1.0]))
    (0.5, 0.25)
    """
    return float(values.mean() if weights is None else np.average(values, weights=weights))


def class_totals(labels: NDArray[np.int8], weights: Weights) -> tuple[float, float]:
    """Return how many positive and how many negative rows the rows stand for.

    Examples
    --------
    >>> class_totals(np.array([0, 1, 0], dtype=np.int8), np.array([10.0, 1.0, 10.0]))
    (1.0, 20.0)
    """
    if weights is None:
        positives = float(np.count_nonzero(labels == 1))
        return positives, float(len(labels) - positives)
    return float(weights[labels == 1].sum()), float(weights[labels != 1].sum())


def within_classes(labels: NDArray[np.int8], weights: NDArray[np.float64]) -> Weights:
    """Return the weights relative to the mean of their class; None if they are all alike.

    Examples
    --------
    >>> within_classes(np.array([0, 1, 0], dtype=np.int8), np.array([10.0, 1.0, 30.0]))
    array([0.5, 1. , 1.5])
    """
    relative = np.ones(len(labels))
    for label in (0, 1):
        of_class = labels == label
        if of_class.any():
            relative[of_class] = weights[of_class] / weights[of_class].mean()
    return None if np.allclose(relative, 1.0) else relative
