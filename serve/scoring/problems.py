"""What is wrong with a request, field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

from mlsys.errors import MlsysError

LISTED = 1_000  # a batch may be wrong in every cell; this many say enough, and cost little memory
SHOWN = 80  # characters of a value that came


class InputProblem(TypedDict):
    """One thing that is wrong.

    Attributes
    ----------
    row : int or None
        Position in the batch, from 0; None for a single record.
    field : str
        Which field; empty where the record as a whole is wrong.
    got : str
        What came, as JSON, shortened.
    expected : str
        What would have been accepted.
    nearest : str or None
        The nearest known name, where a name is wrong.
    message : str
        The same as one sentence.
    """

    row: int | None
    field: str
    got: str
    expected: str
    nearest: str | None
    message: str


class InvalidInput(MlsysError):  # noqa: N818 - it is the client that errs
    """Records that cannot be scored as they are.

    Parameters
    ----------
    problems : sequence of InputProblem
        What was found, at most the first `LISTED`.
    more : bool
        Whether there is more than is listed.

    Examples
    --------
    >>> print(InvalidInput([problem(2, "users", True, "a number", None)]))
    1 problem: row 2: users is true; expected a number.
    """

    def __init__(self, problems: Sequence[InputProblem], *, more: bool = False) -> None:
        self.problems = list(problems[:LISTED])
        self.more = more or len(problems) > LISTED
        count = f"{'more than ' if self.more else ''}{len(self.problems)} problem{'s' * (len(self.problems) != 1)}"
        shown = " ".join(_placed(each) for each in self.problems[:10])
        rest = " …" if len(self.problems) > 10 else ""
        super().__init__(f"{count}: {shown}{rest}")


def problem(
    row: int | None, field: str, got: object, expected: str, nearest: str | None, message: str | None = None
) -> InputProblem:
    """Describe something that is wrong; ``message`` defaults to what came and what was expected."""
    came = shown(got)
    said = _whole(message or f"{field} is {came}; expected {expected}.")
    return {"row": row, "field": _whole(field), "got": came, "expected": expected, "nearest": nearest, "message": said}


def shown(value: object) -> str:
    """Return a value as JSON that fits into a sentence.

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
    text = _whole(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def quoted(text: str) -> str:
    """Return text in quotes, shortened.

    Examples
    --------
    >>> quoted("Farm"), len(quoted("x" * 1_000))
    ("'Farm'", 80)
    """
    whole = repr(text[: SHOWN + 1])
    return whole if len(whole) <= SHOWN else f"{whole[: SHOWN - 1]}…"


def _whole(text: str) -> str:
    """Return text with halves of characters, which JSON can escape, spelled out: they could not be sent."""
    return text.encode("utf-8", "backslashreplace").decode()


def _placed(each: InputProblem) -> str:
    return each["message"] if each["row"] is None else f"row {each['row']}: {each['message']}"
