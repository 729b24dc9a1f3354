"""Reads logged predictions, for impact and drift."""

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
    """Return logged predictions in the order in which they were written.

    Parameters
    ----------
    url : str or Path
        As given to the service, or the path of its SQLite file.
    since, until : datetime, optional
        Made from then on, before then; in UTC where they have no time zone.
    model, version : str, optional
        Of this model, of this version.
    shadow : bool or None
        Of a model that nobody saw (True), of the one that answered (False), of both (None).
    features : bool
        Add the column ``features``: the model's inputs by name, None where they were not logged.

    Returns
    -------
    DataFrame
        id (str, missing where the request named none), as_of (datetime64, NaT where it named none), time (datetime64,
        UTC), model, version, probability, request_id, shadow (bool).

    Raises
    ------
    LogError
        Where there is no prediction log, or one of a newer version.
    LogUnavailable
        Where its database cannot be read now.

    See Also
    --------
    serve.predictions.PredictionLog : has an example.
    """
    import pandas as pd

    wanted = PredictionFilter(_seconds(since), _seconds(until), model, version, shadow, features)
    rows = [row for portion in portions(url, wanted) for row in portion]
    frame = pd.DataFrame.from_records([row[:-1] for row in rows], columns=list(COLUMNS))
    frame["as_of"] = pd.to_datetime(frame["as_of"]).astype("datetime64[us]")
    frame["time"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    kinds = dict.fromkeys(("id", "model", "version", "request_id"), "str")
    frame = frame.astype(kinds | {"probability": "float64", "shadow": "bool"})
    if features:
        known = [None if row[-1] is None else json.loads(row[-1]) for row in rows]
        frame["features"] = pd.Series(known, dtype=object)
    return frame


def portions(url: str | Path, wanted: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows by portions, for logs that do not fit into memory; the columns are those of `Cells`."""
    yield from store_from_url(url).read(wanted)


def _seconds(moment: datetime | None) -> float | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
