"""What identifies a row in a request and in the prediction log: the entity's id, and the as-of of its inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time

from mlsys.runs.input_column import is_text
from serve.errors import RequestError
from serve.scoring.problems import problem, shown

MAX_ID_LENGTH = 200  # characters; a UUID has 36
LARGEST = 2**63 - 1  # of the integers that tables and databases hold
ID = f"a string of at most {MAX_ID_LENGTH} characters or an integer of at most 64 bits"
DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00:00)?)?")
EARLIEST = date(1990, 1, 1)  # as in mlsys.data.rules, which HTTP workers do not import: it loads Ibis
AS_OF = f"a day from {EARLIEST} on, such as 2020-02-24"


def check_ids(name: str, values: Sequence[object]) -> None:
    """Check the ids of entities.

    Parameters
    ----------
    name : str
        Name of the ids in the request, for the message.
    values : sequence
        Strings, integers or None, unless the request is wrong.

    Raises
    ------
    RequestError
        422 for the first one that is something else or too long.

    Examples
    --------
    >>> check_ids("ids", ["A-7", 7])
    >>> check_ids("ids", ["A-7", True])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    serve.errors.RequestError: ids: row 1 is true; expected a string of at most 200 characters or an integer of at ...
    """
    for row, value in enumerate(values):
        check_id(name, value, row)


def check_id(name: str, value: object, row: int | None = None) -> None:
    """Check one id, as `check_ids` does.

    Examples
    --------
    >>> check_id("id", 2**64)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    serve.errors.RequestError: id is 18446744073709551616; expected a string of at most 200 characters or an ...
    """
    if not _is_id(value):
        message = f"{name}{'' if row is None else f': row {row}'} is {shown(value)}; expected {ID}."
        problems = [problem(row, name, value, ID, None, message)]
        raise RequestError(422, "invalid_input", message, problems=problems)


def _is_id(value: object) -> bool:
    if type(value) is str:
        return len(value) <= MAX_ID_LENGTH and is_text(value)
    return value is None or (type(value) is int and abs(value) <= LARGEST)


def read_as_of(value: object) -> date | None:
    """Return an as-of as a date, or None if it is not one; as-ofs are days, so a time must be midnight in UTC.

    Examples
    --------
    >>> read_as_of("2020-02-24"), read_as_of("2020-02-24 00:00:00"), read_as_of("24.2.2020"), read_as_of("1970-01-01")
    (datetime.date(2020, 2, 24), datetime.date(2020, 2, 24), None, None)
    """
    day = _day(value)
    return day if day is not None and day >= EARLIEST else None


def _day(value: object) -> date | None:
    if isinstance(value, datetime):
        offset = value.utcoffset()
        return value.date() if value.time() == time() and not offset else None
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or (found := DAY.fullmatch(value)) is None:
        return None
    try:
        return date.fromisoformat(found[1])
    except ValueError:  # such as February 30
        return None


def parse_as_of(value: object) -> str:
    """Return an as-of as an ISO date.

    Raises
    ------
    RequestError
        422 if the value is not a day.
    """
    day = read_as_of(value)
    if day is None:
        raise RequestError(422, "invalid_input", f"as_of is {str(value)[:40]!r}; expected {AS_OF}.")
    return day.isoformat()
