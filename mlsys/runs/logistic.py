"""Logistic function and its inverse, for arrays and scalars; shared by training and serving."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = TypeVar("Float", np.float32, np.float64)

SMALLEST = 2.0**-53  # distance from 1 to the next smaller float; keeps probabilities away from 0 and 1
COMBINED_MARGIN = 1e-6  # clips scores of which log odds are combined: none may outvote all others by being 0 or 1
LOWEST = -700.0  # below, exp(-log_odds) overflows soon; 1 + exp(-log_odds) already rounds to exp(-log_odds)


def sigmoid(log_odds: NDArray[Float]) -> NDArray[Float]:
    """Return the probabilities for an array of log odds.

    Parameters
    ----------
    log_odds : ndarray of float
        Any shape, float32 or float64.

    Returns
    -------
    ndarray
        1 / (1 + exp(-log_odds)), with the shape and dtype of `log_odds`.

    Examples
    --------
    >>> sigmoid(np.array([-800.0, 0.0]))
    array([0. , 0.5])
    """
    with np.errstate(over="ignore"):  # where exp overflows, the probability is 0
        return np.asarray(1 / (1 + np.exp(-log_odds)))


def logit(probability: ArrayLike, margin: float = SMALLEST) -> NDArray[np.float64]:
    """Return the log odds for an array of probabilities.

    Parameters
    ----------
    probability : array-like of float
        In [0, 1].
    margin : float, default 2**-53
        Probabilities are clipped to [margin, 1 - margin] so that the result is finite.

    Examples
    --------
    >>> logit([0.0, 0.5, 1.0]).round(2)
    array([-36.74,   0.  ,  36.74])
    """
    inside = np.clip(np.asarray(probability, dtype=np.float64), margin, 1 - margin)
    return np.asarray(np.log(inside / (1 - inside)))


def scalar_sigmoid(log_odds: float) -> float:
    """Return the probability for scalar log odds; much faster than a one-element array.

    Examples
    --------
    >>> scalar_sigmoid(0.0), scalar_sigmoid(-800.0)
    (0.5, 0.0)
    """
    return 1 / (1 + math.exp(-log_odds)) if log_odds > LOWEST else math.exp(log_odds)


def scalar_logit(probability: float, margin: float = SMALLEST) -> float:
    """Return the log odds for a scalar probability; much faster than a one-element array.

    The probability is clipped to [margin, 1 - margin] so that the result is finite.

    Examples
    --------
    >>> scalar_logit(0.5), round(scalar_logit(1.0), 2)
    (0.0, 36.74)
    """
    inside = clip_probability(probability, margin)
    return math.log(inside / (1 - inside))


def clip_probability(probability: float, margin: float = SMALLEST) -> float:
    """Clip a probability to [margin, 1 - margin], by default as little as makes its log odds finite.

    Examples
    --------
    >>> clip_probability(0.3), clip_probability(1.0) < 1
    (0.3, True)
    """
    return min(max(probability, margin), 1 - margin)
