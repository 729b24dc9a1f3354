"""Discrete-time hazards: from the probability of each interval to the probability by each day.

The hazard of an interval is the probability that the outcome falls in it, given that it has not come before. Shared by
training and serving.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Inputs that a hazard model gets beside those of schema.json: the interval's first day and its length, in days.
INTERVAL_INPUTS = ("interval_start", "interval_days")
MARGIN = 1e-15  # hazards are clipped to [MARGIN, 1 - MARGIN], so that their logarithms are finite


def intervals_of(ends: Sequence[int]) -> list[tuple[float, float]]:
    """Return the `INTERVAL_INPUTS` of each interval, from the days at which intervals end.

    Examples
    --------
    >>> intervals_of([7, 30])
    [(0.0, 7.0), (7.0, 23.0)]
    """
    return [(float(start), float(end - start)) for start, end in zip([0, *ends], ends, strict=False)]


def by_day_name(day: int | str) -> str:
    """Return the name of the column of probabilities by a day.

    Examples
    --------
    >>> by_day_name(7)
    'by_7d'
    """
    return f"by_{day}d"


def days_of(columns: Iterable[str]) -> list[int]:
    """Return the days of all columns that `by_day_name` named, in their order.

    Examples
    --------
    >>> days_of(["id", "by_7d", "by_14d"])
    [7, 14]
    """
    return [int(match[1]) for name in columns if (match := re.fullmatch(r"by_(\d+)d", name))]


def cumulative_hazard(hazards: Floats) -> Floats:
    """Return the sum of -log(1 - hazard) over all intervals up to each.

    Parameters
    ----------
    hazards : ndarray of float64, shape (n_rows, n_intervals)
    """
    return np.cumsum(-np.log1p(-np.clip(hazards, MARGIN, 1 - MARGIN)), axis=1)


def probability_by(cumulative: Floats) -> Floats:
    """Return the probability of the outcome by the time of each cumulative hazard: 1 - exp(-cumulative).

    Examples
    --------
    >>> probability_by(cumulative_hazard(np.array([[0.5, 0.5]])))
    array([[0.5 , 0.75]])
    """
    return -np.expm1(-cumulative)


def calibrated_by_day(by_day: Floats, probability: Floats) -> Floats:
    """Return the probabilities by the end of each interval, scaled so that the last one is the calibrated probability.

    Calibration changes the probability by the horizon. The share of it that falls within each interval stays the same.

    Parameters
    ----------
    by_day : ndarray of float64, shape (n_rows, n_intervals)
        Before calibration, rising along each row.
    probability : ndarray of float64, shape (n_rows,)
        By the horizon, after calibration.

    Examples
    --------
    >>> calibrated_by_day(np.array([[0.25, 0.5]]), np.array([0.1]))
    array([[0.05, 0.1 ]])
    """
    return np.asarray(by_day / by_day[:, -1:] * probability[:, None])
