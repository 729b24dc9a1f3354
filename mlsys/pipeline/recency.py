"""Weights of training rows by age, so that a model follows a process that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

WEIGHT = "weight"  # the detail of a row that holds its weight; see `mlsys.pipeline.composites.MemberRows`


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
