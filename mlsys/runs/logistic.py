"""The logistic function and its inverse, for arrays and for single numbers: training and serving share them."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = TypeVar("Float", np.float32, np.float64)

SMALLEST = 2.0**-53  # the distance from 1 to the next smaller number: 0 and 1 are never certain
LOWEST = -700.0  # a little lower, exp(-log_odds) overflows; here 1 + exp(-log_odds) equals exp(-log_odds) already


def sigmoid(log_odds: NDArray[Float]) -> NDArray[Float]:
    """Return the probability for each of many log odds.

    Parameters
    ----------
    log_odds : ndarray of float
        Of any shape and precision.

    Returns
    -------
    ndarray
        1 / (1 + exp(-log_odds)), in the shape and precision of `log_odds`.

    Examples
    --------
    >>> sigmoid(np.array([-800.0, 0.0]))
    array([0. , 0.5])
    """
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and the probability then 0
        return np.asarray(1 / (1 + np.exp(-log_odds)))


def logit(probability: ArrayLike, margin: float = SMALLEST) -> NDArray[np.float64]:
    """Return the log odds for each of many probabilities.

    Parameters
    ----------
    probability : array-like of float
        In [0, 1].
    margin : float, default 2**-53
        Probabilities closer than this to 0 or 1 are moved to this distance, so that the result is finite.

    Examples
    --------
    >>> logit([0.0, 0.5, 1.0]).round(2)
    array([-36.74,   0.  ,  36.74])
    """
    inside = np.clip(np.asarray(probability, dtype=np.float64), margin, 1 - margin)
    return np.asarray(np.log(inside / (1 - inside)))


def scalar_sigmoid(log_odds: float) -> float:
    """Return the probability for one number of log odds; much faster than an array of one.

    Examples
    --------
    >>> scalar_sigmoid(0.0), scalar_sigmoid(-800.0)
    (0.5, 0.0)
    """
    return 1 / (1 + math.exp(-log_odds)) if log_odds > LOWEST else math.exp(log_odds)


def scalar_logit(probability: float) -> float:
    """Return the log odds for one probability; much faster than an array of one.

    A probability closer than 2**-53 to 0 or 1 is moved to this distance, so that the result is finite.

    Examples
    --------
    >>> scalar_logit(0.5), round(scalar_logit(1.0), 2)
    (0.0, 36.74)
    """
    inside = clip_probability(probability)
    return math.log(inside / (1 - inside))


def clip_probability(probability: float) -> float:
    """Return a probability moved to at least 2**-53 from 0 and 1.

    Examples
    --------
    >>> clip_probability(0.3), clip_probability(1.0) < 1
    (0.3, True)
    """
    return min(max(probability, SMALLEST), 1 - SMALLEST)
