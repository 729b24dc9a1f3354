"""Weights of training rows by age, so that a model follows a process that changes."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import Problem
from mlsys.text import counted

if TYPE_CHECKING:
    import pandas as pd

MAX_HALF_LIVES = 126  # boosted models keep weights in single precision, whose smallest normal number is 2^-126


def recency_weights(times: pd.Series[Any], newest: pd.Timestamp, half_life_days: float) -> NDArray[np.float64]:
    """Return weights that halve with each half-life: 1 at the newest time, 0.5 a half-life earlier.

    Parameters
    ----------
    times : Series of datetime64, shape (n_rows,)
        As-ofs of the rows, or their own times.
    newest : Timestamp
        Later rows, whose outcomes are known in part only, weigh more than 1.
    half_life_days : float
        More than 0.

    Returns
    -------
    ndarray of float64, shape (n_rows,)

    Examples
    --------
    >>> import pandas as pd
    >>> recency_weights(pd.Series(pd.to_datetime(["2020-01-01", "2020-01-31"])), pd.Timestamp("2020-01-31"), 30)
    array([0.5, 1. ])
    """
    age = (newest - times).dt.total_seconds().to_numpy(dtype=np.float64) / 86_400  # seconds of a day
    return np.asarray(0.5 ** (age / half_life_days), dtype=np.float64)


def half_life_problems(half_life_days: float, times: pd.Series[Any]) -> list[Problem]:
    """Find a half-life so short that the oldest rows would weigh nothing.

    Fits on the earlier rows alone, which choose trees and regularisation, would then have no rows at all.

    Parameters
    ----------
    half_life_days : float
        More than 0.
    times : Series of datetime64, shape (n_rows,)
        As-ofs of all rows, or their own times.

    Examples
    --------
    >>> import pandas as pd
    >>> print(*half_life_problems(0.1, pd.Series(pd.to_datetime(["2020-01-01", "2020-12-31"]))))
      fit.half_life_days
          got:     0.1, but the rows span 365 days: the oldest would weigh 2^-3650 of the newest, which is nothing
          allowed: null, or at least 3 days
    """
    days = (times.max() - times.min()).total_seconds() / 86_400  # seconds of a day
    if days <= MAX_HALF_LIVES * half_life_days:
        return []
    span, least = counted(ceil(days), "day"), counted(ceil(days / MAX_HALF_LIVES), "day")
    got = f"{half_life_days:g}, but the rows span {span}: the oldest would weigh 2^-{days / half_life_days:.4g}"
    return [Problem("fit.half_life_days", f"{got} of the newest, which is nothing", f"null, or at least {least}")]
