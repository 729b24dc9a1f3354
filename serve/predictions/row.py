"""One logged prediction, as the service gives it and as a database takes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from serve.predictions.errors import RowRefusedError


class Row(NamedTuple):
    """One prediction.

    Attributes
    ----------
    time : float
        When it was made: seconds since 1970, UTC, as of `time.time()`.
    probability : float
    model, version : str
        What made it.
    request_id : str
        As in the answer and in the service's own log.
    id : str, int or None
        The entity, where the request named it.
    as_of : date, str or None
        The moment of which the inputs speak; text is an ISO date.
    shadow : bool
        Whether it was only made to be logged: a challenger's, whose answer nobody saw.
    features : mapping, str or None
        The model's inputs, by name or as JSON text.
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
    """A row in plain types, in the order of the table's columns."""

    id: str | None
    as_of: str | None
    time: float
    model: str
    version: str
    probability: float
    request_id: str
    shadow: bool
    features: str | None


def to_cells(row: Row, *, features: bool) -> Cells:
    """Return a row in plain types.

    Raises
    ------
    RowRefusedError
        Where a value cannot be logged, such as an as-of that is no date or a probability that is no number.

    Examples
    --------
    >>> cells = to_cells(Row(0.0, 0.25, "conversion", "1.0.0", "r1", 7, "2020-02-24"), features=False)
    >>> cells.id, cells.as_of, cells.shadow
    ('7', '2020-02-24', False)
    """
    try:
        return Cells(
            None if row.id is None else str(row.id),
            None if row.as_of is None else _day(row.as_of),
            _finite(row.time),
            row.model,
            row.version,
            _finite(row.probability),
            row.request_id,
            bool(row.shadow),
            as_json(row.features) if features and row.features is not None else None,
        )
    except (TypeError, ValueError) as error:
        raise RowRefusedError(f"the prediction of request {row.request_id}: {error}") from error


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is no finite number")
    return float(number)


def _day(as_of: date | str) -> str:
    if isinstance(as_of, str):
        as_of = date.fromisoformat(as_of[:10])
    return (as_of.date() if isinstance(as_of, datetime) else as_of).isoformat()


def as_json(features: Mapping[str, Any] | str) -> str:
    """Return a model's inputs as JSON text; NaN is null.

    Examples
    --------
    >>> as_json({"users": float("nan"), "plan": "pro"})
    '{"users":null,"plan":"pro"}'
    """
    if isinstance(features, str):
        return features
    try:
        return json.dumps(features, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a missing number may come as NaN, which JSON does not have
        known = {name: None if value != value else value for name, value in features.items()}
        return json.dumps(known, allow_nan=False, separators=(",", ":"))
