"""The problems in a request, field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

from mlsys.errors import MlsysError
from mlsys.text import counted

MAX_LISTED = 1_000  # problems; a batch may be wrong in every cell, and more would only cost memory
MAX_SHOWN = 80  # characters of a received value


class InputProblem(TypedDict):
    """One problem.

    Attributes
    ----------
    row : int or None
        Position in the batch, from 0; None for a single record.
    field : str
        Name of the field; empty if the record as a whole is wrong.
    got : str
        The received value as JSON, shortened.
    expected : str
        What would have been accepted.
    nearest : str or None
        The closest match, if a name is wrong.
    message : str
        The problem as one sentence.
    """

    row: int | None
    field: str
    got: str
    expected: str
    nearest: str | None
    message: str


class InvalidInput(MlsysError):  # noqa: N818 - the client's error, not ours
    """Raised for records that cannot be scored as they are.

    Parameters
    ----------
    problems : sequence of InputProblem
        The problems; only the first `MAX_LISTED` are kept.
    more : bool
        Whether there are more problems than listed.

    Examples
    --------
    >>> print(InvalidInput([problem(2, "users", True, "a number", None)]))
    1 problem: row 2: users is true; expected a number.
    """

    def __init__(self, problems: Sequence[InputProblem], *, more: bool = False) -> None:
        self.problems = list(problems[:MAX_LISTED])
        self.more = more or len(problems) > MAX_LISTED
        count = ("more than " if self.more else "") + counted(len(self.problems), "problem")
        messages = " ".join(_with_row(each) for each in self.problems[:10])
        rest = " …" if len(self.problems) > 10 else ""
        super().__init__(f"{count}: {messages}{rest}")


def problem(
    row: int | None, field: str, got: object, expected: str, nearest: str | None, message: str | None = None
) -> InputProblem:
    """Describe a problem; ``message`` defaults to the received value and what was expected."""
    value = shown(got)
    return {
        "row": row,
        "field": _encodable(field),
        "got": value,
        "expected": expected,
        "nearest": nearest,
        "message": _encodable(message or f"{field} is {value}; expected {expected}."),
    }


def shown(value: object) -> str:
    """Return a value as JSON, short enough for a sentence.

    Examples
    --------
    >>> shown("12.5"), shown(True), shown(float("nan"))
    ('"12.5"', 'true', 'NaN')
    """
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 1_000:
        return "a number of more than 300 digits"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = _encodable(text)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def quoted(value: str) -> str:
    """Return text in quotes, shortened.

    Examples
    --------
    >>> quoted("Farm"), len(quoted("x" * 1_000))
    ("'Farm'", 80)
    """
    text = repr(value[: MAX_SHOWN + 1])
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def _encodable(text: str) -> str:
    """Return text with lone surrogates escaped: JSON may contain them, but UTF-8 cannot encode them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _with_row(each: InputProblem) -> str:
    return each["message"] if each["row"] is None else f"row {each['row']}: {each['message']}"
