"""A logged prediction, as the service produces it and as a database stores it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from serve.predictions.errors import RowRejectedError


class PredictionRow(NamedTuple):
    """A prediction to log.

    Attributes
    ----------
    time : float
        Time of the prediction in seconds since 1970 (UTC), from `time.time()`.
    probability : float
    model, version : str
        Name and version of the model.
    request_id : str
        Id of the request, as in the response and in the service's log.
    id : str, int or None
        Entity id, if the request had one.
    as_of : date, str or None
        As-of date of the inputs; a string is an ISO date.
    shadow : bool
        Whether the shadow model predicted it; such predictions are logged but not returned.
    features : mapping, str or None
        Model inputs by name, or as JSON text.
    """

    time: float
    probability: float
    model: str
    version: str
    request_id: str
    id: str | int | None = None
    as_of: date | str | None = None
    shadow: bool = False
    features: Mapping[str, Any] | str | None = None


class Cells(NamedTuple):
    """A row as plain types, in the order of the table's columns."""

    id: str | None
    as_of: str | None
    time: float
    model: str
    version: str
    probability: float
    request_id: str
    shadow: bool
    features: str | None


def to_cells(row: PredictionRow, *, features: bool) -> Cells:
    """Convert a row to plain types.

    Raises
    ------
    RowRejectedError
        If a value cannot be logged, such as an invalid as-of or a NaN probability.

    Examples
    --------
    >>> cells = to_cells(PredictionRow(0.0, 0.25, "conversion", "1.0.0", "r1", 7, "2020-02-24"), features=False)
    >>> cells.id, cells.as_of, cells.shadow
    ('7', '2020-02-24', False)
    """
    try:
        return Cells(
            None if row.id is None else str(row.id),
            None if row.as_of is None else _iso_date(row.as_of),
            _finite(row.time),
            row.model,
            row.version,
            _finite(row.probability),
            row.request_id,
            bool(row.shadow),
            as_json(row.features) if features and row.features is not None else None,
        )
    except (TypeError, ValueError) as error:
        raise RowRejectedError(f"cannot log the prediction of request {row.request_id}: {error}") from error


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not finite")
    return float(number)


def _iso_date(as_of: date | str) -> str:
    if isinstance(as_of, str):
        as_of = date.fromisoformat(as_of[:10])
    return (as_of.date() if isinstance(as_of, datetime) else as_of).isoformat()


def as_json(features: Mapping[str, Any] | str) -> str:
    """Return model inputs as JSON text; NaN becomes null.

    Examples
    --------
    >>> as_json({"users": float("nan"), "plan": "pro"})
    '{"users":null,"plan":"pro"}'
    """
    if isinstance(features, str):
        return features
    try:
        return json.dumps(features, allow_nan=False, separators=(",", ":"))
    except ValueError:  # missing numbers may be NaN, which JSON lacks
        finite = {name: None if value != value else value for name, value in features.items()}
        return json.dumps(finite, allow_nan=False, separators=(",", ":"))
