"""When the outcome comes: predicted and observed outcomes by day, of models that predict both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.runs.hazards import by_day_name, days_of

DAYS_TO_OUTCOME = "days_to_outcome"


def by_day_columns(
    days: Sequence[int], by_day: NDArray[np.float64], days_to_outcome: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the columns that out-of-fold rows have in addition.

    Parameters
    ----------
    days : sequence of int
        Days after the as-of, rising.
    by_day : ndarray of float64, shape (n_rows, n_days)
        Calibrated probability of the outcome by each of them.
    days_to_outcome : ndarray of float64, shape (n_rows,)
        Observed days to the outcome, NaN without one.

    Returns
    -------
    dict
        ``by_7d`` and so on, and ``days_to_outcome``.
    """
    columns = {by_day_name(day): column for day, column in zip(days, by_day.T, strict=True)}
    return {**columns, DAYS_TO_OUTCOME: days_to_outcome}


def outcomes_by_day(predictions: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Compare the expected number of outcomes by each day with the observed number.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold rows. Only those with complete labels count.

    Returns
    -------
    dict
        ``by_day``: for each day its ``days``, and the ``expected`` and ``observed`` numbers. Empty for a model that
        does not predict when the outcome comes.

    Examples
    --------
    >>> rows = pd.DataFrame({"label_complete": True, "by_7d": [0.1, 0.5], "by_30d": [0.2, 0.9],
    ...                      "days_to_outcome": [np.nan, 9.0]})
    >>> outcomes_by_day(rows)["by_day"][1]
    {'days': 30, 'expected': 1.1, 'observed': 1}
    """
    if not (days := days_of(predictions.columns)):
        return {}
    rows = predictions[predictions["label_complete"].to_numpy(dtype=bool)]
    entries = [
        {
            "days": day,
            "expected": float(rows[by_day_name(day)].sum()),
            "observed": int((rows[DAYS_TO_OUTCOME] <= day).sum()),
        }
        for day in days
    ]
    return {"by_day": entries}
