"""The rows to contact first, for the report and for trackers."""

from __future__ import annotations

import pandas as pd


def top_leads(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the top-ranked rows of the latest fold: by uplift if the model has it, else by probability.

    Parameters
    ----------
    predictions : DataFrame
        Content of predictions.parquet.
    count : int
        Number of rows.

    Returns
    -------
    DataFrame
        Columns id, as_of, probability, uplift (if the model has it) and label, the highest first.

    Examples
    --------
    >>> rows = pd.DataFrame({"fold": 0, "id": [7, 8], "as_of": pd.NaT, "probability": [0.9, 0.1], "label": [1, 0]})
    >>> top_leads(rows, 1)["id"].tolist(), top_leads(rows.assign(uplift=[0.0, 0.1]), 1)["id"].tolist()
    ([7], [8])
    """
    latest = predictions[predictions["fold"] == predictions["fold"].max()]
    columns = [name for name in ("id", "as_of", "probability", "uplift", "label") if name in latest]
    by = "uplift" if "uplift" in latest else "probability"
    best = latest.sort_values(by, ascending=False, kind="stable").head(count)
    return pd.DataFrame(best[columns]).reset_index(drop=True)
