"""Read logged predictions, for impact and drift reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve.predictions.open_store import store_from_url
from serve.predictions.store import PredictionFilter

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("id", "as_of", "time", "model", "version", "probability", "request_id", "shadow")


def read_predictions(
    url: str | Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    model: str | None = None,
    version: str | None = None,
    shadow: bool | None = False,
    features: bool = False,
) -> pd.DataFrame:
    """Return logged predictions in the order of writing.

    Parameters
    ----------
    url : str or Path
        URL of the log as given to the service, or the path of its SQLite file.
    since, until : datetime, optional
        Earliest time (inclusive) and latest time (exclusive) of the predictions; UTC if they have no time zone.
    model, version : str, optional
        Name and version of the model that predicted.
    shadow : bool or None
        Predictions of the shadow (True), of the champion (False), or of both (None).
    features : bool
        Whether to add the column ``features``: the model's inputs by name, or None if they were not logged.

    Returns
    -------
    DataFrame
        id (str, missing if the request had none), as_of (datetime64, NaT if the request had none), time (datetime64,
        UTC), model, version, probability, request_id, shadow (bool).

    Raises
    ------
    LogError
        If there is no prediction log, or if its version is newer.
    LogUnavailableError
        If its database cannot be read at the time.

    See Also
    --------
    serve.predictions.PredictionLog : Example of writing and reading a log.
    """
    import pandas as pd

    where = PredictionFilter(_seconds(since), _seconds(until), model, version, shadow, features)
    rows = [row for batch in iter_batches(url, where) for row in batch]
    frame = pd.DataFrame.from_records([row[:-1] for row in rows], columns=list(COLUMNS))
    frame["as_of"] = pd.to_datetime(frame["as_of"]).astype("datetime64[us]")
    frame["time"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    kinds = dict.fromkeys(("id", "model", "version", "request_id"), "str")
    frame = frame.astype(kinds | {"probability": "float64", "shadow": "bool"})
    if features:
        features_by_row = [None if row[-1] is None else json.loads(row[-1]) for row in rows]
        frame["features"] = pd.Series(features_by_row, dtype=object)
    return frame


def iter_batches(url: str | Path, where: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
    """Yield batches of rows, for logs that do not fit into memory; the columns are those of `Cells`."""
    yield from store_from_url(url).read(where)


def _seconds(time: datetime | None) -> float | None:
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
