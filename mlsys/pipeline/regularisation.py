"""Regularisation that fits the number of converters: parameters that may be ``auto``.

A rule gives the start: the more converters, or the less rare they are, the weaker. The validation rows then move it,
by the one-standard-error rule (Breiman et al. 1984, section 3.4.3; Hastie et al. 2009, section 7.10): among the values
whose log loss is within one standard error of the best one's, the one nearest to the rule's is taken. With few
converters among the validation rows, the standard error is uncertain too, so more of them are required: with eight
converters the rule decides, with thousands the validation rows do. In boosted models, whose trees the validation rows
already count, and in forests, the rule decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.pipeline.weights import Weights

AUTO = "auto"
UNCERTAIN = 20  # converters among the validation rows with which twice the standard error is required

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class AutoParameter:
    """A parameter that sets how strongly a model is regularised, and may be ``auto``.

    Attributes
    ----------
    name : str
        Name of the parameter.
    values : sequence of float or int
        The values that ``auto`` chooses from, from the strongest regularisation to the weakest.
    rule : callable
        Function of a value that returns the number of converters from which on it is weak enough to start with.
    rate : callable, optional
        Function of a value that returns the converters per row which it needs besides their number.
    compared : bool
        Whether the validation rows may move it; else the rule decides.

    Examples
    --------
    >>> strength = AutoParameter("C", (0.01, 0.1, 1.0), rule=lambda C: 5000 * C)
    >>> [strength.values[strength.start(converters, rows=10**6)] for converters in (40, 800, 100_000)]
    [0.01, 0.1, 1.0]
    """

    name: str
    values: Sequence[float]
    rule: Callable[[float], float]
    rate: Callable[[float], float] | None = None
    compared: bool = False

    def called(self, name: str) -> AutoParameter:
        """Return the same parameter under the name that another library gives it."""
        return replace(self, name=name)

    def is_auto(self, estimator: Any) -> bool:  # noqa: ANN401 - any scikit-learn estimator
        """Return whether an estimator leaves the parameter to be chosen."""
        value = estimator.get_params(deep=False).get(self.name)
        return isinstance(value, str) and value == AUTO

    def start(self, converters: int, rows: int) -> int:
        """Return the position of the rule's value: the weakest one for these converters among so many rows."""

        def is_weak_enough(value: float) -> bool:
            enough = self.rate is None or self.rate(value) * rows <= converters
            return enough and self.rule(value) <= converters

        return max((i for i, value in enumerate(self.values) if is_weak_enough(value)), default=0)


def converters(labels: NDArray[np.int8], groups: NDArray[Any] | None = None) -> int:
    """Return how many entities the rarer class has: a converter in rows of several as-ofs counts once.

    Weights do not count: rows that were left out tell nothing.

    Parameters
    ----------
    labels : ndarray of int8, shape (n_rows,)
        Labels, 0 or 1.
    groups : ndarray of shape (n_rows,), optional
        Entity of each row; by default, each row is its own.

    Examples
    --------
    >>> converters(np.array([1, 1, 0, 0, 0], dtype=np.int8), np.array(["a", "a", "b", "c", "d"]))
    1
    """
    entities = np.arange(len(labels)) if groups is None else groups
    return min(len(np.unique(entities[labels == label])) for label in (0, 1))


def tolerance(validation_converters: int) -> float:
    """Return how many standard errors the loss may exceed the best one: 1 with many converters, more with few.

    Examples
    --------
    >>> [tolerance(count) for count in (8, 20, 2000)]
    [3.5, 2.0, 1.01]
    """
    return 1.0 + UNCERTAIN / validation_converters


def choose(start: int, count: int, losses: Callable[[int], Losses], groups: NDArray[Any], errors: float = 1.0) -> int:
    """Choose a position on a path of values by the one-standard-error rule.

    From the start, it goes towards weaker regularisation as long as the loss falls, else towards stronger, so that few
    values are tried.

    Parameters
    ----------
    start : int
        Position of the rule's value.
    count : int
        Number of values.
    losses : callable
        Function of a position that returns the loss of each validation row, shape (n_rows,); called once per position.
    groups : ndarray of shape (n_rows,)
        Entity of each validation row: the standard error is that of independent entities, not of rows.
    errors : float
        How many standard errors the loss may exceed the best one; see `tolerance`.

    Examples
    --------
    >>> falling = lambda position: np.full(100, 10.0 - position)
    >>> choose(1, 4, falling, np.arange(100))
    3
    >>> noisy = lambda position: np.where(np.arange(100) % 2, -1.0, 0.99) * position
    >>> choose(1, 4, noisy, np.arange(100))
    1
    """
    tried = {start: losses(start)}
    for step in (1, -1):
        position = start
        while 0 <= position + step < count:
            position += step
            tried[position] = losses(position)
            if tried[position].sum() >= tried[position - step].sum():
                break
        if min(tried, key=lambda each: tried[each].sum()) != start:
            break
    best = min(tried, key=lambda each: tried[each].sum())
    _, entities = np.unique(groups, return_inverse=True)

    def is_as_good(position: int) -> bool:
        differences = np.bincount(entities, weights=tried[position] - tried[best])
        error = np.sqrt(len(differences)) * differences.std()
        return bool(differences.sum() <= errors * error)

    return min((each for each in tried if is_as_good(each)), key=lambda each: (abs(each - start), each))


def log_losses(probabilities: NDArray[np.float64], labels: NDArray[np.int8], weights: Weights = None) -> Losses:
    """Return the log loss of each row, times its weight, shape (n_rows,).

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n_rows,)
        Probabilities of the positive class.
    labels : ndarray of int8, shape (n_rows,)
    weights : ndarray of float64, shape (n_rows,), optional

    Examples
    --------
    >>> log_losses(np.array([0.5, 0.9]), np.array([0, 1], dtype=np.int8)).round(2)
    array([0.69, 0.11])
    """
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    losses: Losses = -np.log(np.clip(right, np.finfo(np.float64).eps, 1.0))
    return losses if weights is None else losses * weights
