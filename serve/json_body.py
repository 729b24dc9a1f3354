"""JSON request bodies: parsed fast, and checked for duplicate fields, of which parsers silently keep one value."""

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
        400 if the body is not valid JSON, 422 if an object has a duplicate field.

    Examples
    --------
    >>> parse_json(b'{"users": 3}'), parse_json(b'{"users": NaN}')
    ({'users': 3}, {'users': nan})
    """
    try:
        value = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if not body.strip():
            raise RequestError(400, "empty_body", "The body is empty; send a JSON object.") from error
        value = _parse_leniently(body, error)
    is_usual = type(value) is dict and body.count(b":") == len(value)  # as below; an object with plain fields
    if not is_usual and not _has_no_duplicate(body, value):
        _check_each_object(body)
    return value


def _has_no_duplicate(body: bytes, value: Json) -> bool:
    r"""Return whether no object has a duplicate field, as far as that can be told without parsing again.

    Each field has a colon, so an object with a duplicate leaves a colon more than the fields that were kept. The other
    colons are in strings. They count as well, unless the body has a backslash: it may hide a colon, as ``\u003a``.
    """
    surplus = body.count(b":")
    if type(value) is not dict:
        return surplus == 0
    surplus -= len(value)
    objects = [each for items in value.values() if type(items) is list for each in items if type(each) is dict]
    surplus -= sum(map(len, objects))
    return surplus == 0 or (b"\\" not in body and surplus == sum(map(_colons_in_strings, [value, *objects])))


def _colons_in_strings(record: dict[str, Json]) -> int:
    """Return the number of colons in the names and strings of an object, without the objects in it."""
    count = sum(name.count(":") for name in record if ":" in name)
    for value in record.values():
        if type(value) is str:
            count += value.count(":")
        elif type(value) is list:
            count += sum(each.count(":") for each in value if type(each) is str)
    return count


def _check_each_object(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_require_unique_fields)
    except (RecursionError, ValueError) as error:  # limits of this parser that the first one does not have
        message = "The body is nested too deeply or has a number with too many digits."
        raise RequestError(400, "malformed_json", message) from error


def _require_unique_fields(pairs: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    record: dict[str, Any] = {}
    for name, value in pairs:
        if name in record:
            raise _duplicate_field_error(name)
        record[name] = value
    return record


def _duplicate_field_error(name: str) -> RequestError:
    message = f"Duplicate field {name[:80]}; send each field once."
    problem = {
        "row": None,
        "field": name,
        "got": "several values",
        "expected": "one value",
        "nearest": None,
        "message": message,
    }
    return RequestError(422, "invalid_input", message, problems=[problem])


def _parse_leniently(body: bytes, error: Exception) -> Json:
    """Parse with the standard library, which accepts NaN, infinities and integers of any size."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        reason = str(error).removeprefix("JSON is malformed: ")
        raise RequestError(400, "malformed_json", f"The body is not valid JSON: {reason}.") from error
