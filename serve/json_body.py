"""JSON bodies: parsed fast, and looked at again only where something about them is odd."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mlsys.runs.json_format import Json
from serve.errors import RequestError

_decode = msgspec.json.Decoder().decode


def parse_json(body: bytes) -> Json:
    """Return what a JSON body holds; NaN and infinities are kept, for the scorer to name.

    Raises
    ------
    RequestError
        400 if it is no JSON.

    Examples
    --------
    >>> parse_json(b'{"users": 3}'), parse_json(b'{"users": NaN}')
    ({'users': 3}, {'users': nan})
    """
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if not body.strip():
            raise RequestError(400, "empty_body", "The body is empty; send a JSON object.") from error
        return _with_odd_numbers(body, error)


def parse_record(body: bytes) -> Json:
    """Return the flat record that a JSON body holds.

    Raises
    ------
    RequestError
        400 if it is no JSON, 422 if a name comes twice.
    """
    record = parse_json(body)
    if type(record) is dict and body.count(b":") != len(record):  # each pair has a colon; more of them are in texts
        check_names(body, (record,), 0)
    return record


def check_names(body: bytes, records: Iterable[Any], others: int) -> None:
    """Refuse a body in which an object has a name twice: parsers keep one of the values, in silence.

    Parameters
    ----------
    body : bytes
        The JSON text.
    records : iterable
        The objects that it was parsed into; what is no object is passed over.
    others : int
        How many pairs of names and values are around them.
    """
    found = [record for record in records if type(record) is dict]
    surplus = body.count(b":") - others - sum(map(len, found))  # each pair has a colon; others are in names and texts
    if surplus and surplus != sum(map(_colons, found)):
        _refuse_repeated(body)


def _colons(record: dict[str, Json]) -> int:
    """Return how many colons are in names and texts of a record."""
    texts = sum(value.count(":") for value in record.values() if type(value) is str)
    return texts + sum(name.count(":") for name in record if ":" in name)


def _refuse_repeated(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_unique)
    except (RecursionError, ValueError) as error:  # what this parser does not take though the other one did
        raise RequestError(400, "malformed_json", "The body is nested too deeply, or has an endless number.") from error


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        message = f"{name} comes more than once in an object; send each field once."
        raise RequestError(
            422,
            "invalid_input",
            message,
            problems=[
                {
                    "row": None,
                    "field": name,
                    "got": "several values",
                    "expected": "one value",
                    "nearest": None,
                    "message": message,
                }
            ],
        )
    return found


def _with_odd_numbers(body: bytes, error: Exception) -> Json:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        reason = str(error).removeprefix("JSON is malformed: ")
        raise RequestError(400, "malformed_json", f"The body is no valid JSON: {reason}.") from error
