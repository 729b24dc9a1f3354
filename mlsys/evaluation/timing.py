"""When the outcome comes: predicted and observed outcomes by day, of models that predict both."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.runs.hazards import by_day_name, days_of

DAYS_TO_OUTCOME = "days_to_outcome"


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
    ...                      "days_to_outcome": [None, 9.0]})
    >>> outcomes_by_day(rows)["by_day"][1]
    {'days': 30, 'expected': 1.1, 'observed': 1}
    """
    if not (days := days_of(predictions.columns)):
        return {}
    rows = predictions[predictions["label_complete"].to_numpy(dtype=bool)]
    weight = rows.get(SAMPLING_WEIGHT)
    entries = [
        {
            "days": day,
            "expected": float((rows[by_day_name(day)] if weight is None else weight * rows[by_day_name(day)]).sum()),
            "observed": int((rows[DAYS_TO_OUTCOME] <= day).sum()),
        }
        for day in days
    ]
    return {"by_day": entries}
