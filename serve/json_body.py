"""JSON request bodies: parsed fast, and checked again only where they need it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mlsys.runs.json_format import Json
from serve.errors import RequestError

_decode = msgspec.json.Decoder().decode


def parse_json(body: bytes) -> Json:
    """Parse a JSON body. NaN and infinities are accepted here, so that the scorer can report their fields.

    Raises
    ------
    RequestError
        400 if the body is not valid JSON.

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
        return _parse_leniently(body, error)


def parse_record(body: bytes) -> Json:
    """Parse a JSON body that should be one flat record.

    Raises
    ------
    RequestError
        400 if the body is not valid JSON, 422 if it has a duplicate field.
    """
    record = parse_json(body)
    if type(record) is dict and body.count(b":") != len(record):  # one colon per field; more may be inside strings
        check_duplicate_fields(body, (record,), 0)
    return record


def check_duplicate_fields(body: bytes, records: Iterable[Any], other_colons: int) -> None:
    """Reject a body with a duplicate field in an object: parsers silently keep one of the values.

    Parameters
    ----------
    body : bytes
        JSON text.
    records : iterable
        Values parsed from the body; those that are not objects are ignored.
    other_colons : int
        Number of colons in the body outside the records.
    """
    objects = [record for record in records if type(record) is dict]
    surplus = body.count(b":") - other_colons - sum(map(len, objects))  # one colon per field; others in strings
    if surplus and surplus != sum(map(_count_colons, objects)):
        _raise_for_duplicate_field(body)


def _count_colons(record: dict[str, Json]) -> int:
    """Return the number of colons inside the field names and strings of a record."""
    in_values = sum(value.count(":") for value in record.values() if type(value) is str)
    return in_values + sum(name.count(":") for name in record if ":" in name)


def _raise_for_duplicate_field(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_require_unique_fields)
    except (RecursionError, ValueError) as error:  # limits of this parser that the first one does not have
        message = "The body is nested too deeply or has a number with too many digits."
        raise RequestError(400, "malformed_json", message) from error


def _require_unique_fields(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        message = f"Duplicate field {name}; send each field once."
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
    return record


def _parse_leniently(body: bytes, error: Exception) -> Json:
    """Parse with the standard library, which accepts NaN, infinities and integers of any size."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        reason = str(error).removeprefix("JSON is malformed: ")
        raise RequestError(400, "malformed_json", f"The body is not valid JSON: {reason}.") from error
