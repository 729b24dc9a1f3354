"""Inputs that take only a few values, such as the two arms of a treatment: finds records that have another one."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from mlsys.errors import closest
from mlsys.runs.input_column import InputColumn
from serve.scoring.problems import MAX_LISTED, InputProblem, problem
from serve.scoring.text_columns import TextColumn

if TYPE_CHECKING:
    from numpy.typing import NDArray


class AllowedValues:
    """The inputs that take only a few values, by their positions among the numbers and among the categories.

    Parameters
    ----------
    numbers, categories : sequence of InputColumn
        All inputs of each kind.

    Examples
    --------
    >>> from mlsys.runs.input_column import AllowedValue
    >>> arms = (AllowedValue("0", 0.0), AllowedValue("1", 1.0))
    >>> allowed = AllowedValues([InputColumn("mailed", number=True, nullable=True, allowed=arms)], [])
    >>> allowed.accept([1.0], []), allowed.accept([float("nan")], []), allowed.accept([0.5], [])
    (True, True, False)
    """

    def __init__(self, numbers: Sequence[InputColumn], categories: Sequence[InputColumn]) -> None:
        self._numbers = _restricted(numbers)
        self._categories = _restricted(categories)

    def accept(self, numbers: Sequence[float], categories: Sequence[str | None]) -> bool:
        """Return whether one record has only values that are allowed, or missing."""
        for position, _, accepted in self._numbers:
            number = numbers[position]
            if not isnan(number) and number not in accepted:
                return False
        return all(categories[position] in accepted for position, _, accepted in self._categories)

    def problems(
        self, numbers: NDArray[np.float64], categories: Sequence[TextColumn], first_row: int
    ) -> list[InputProblem]:
        """Return the cells of several records that have another value.

        Parameters
        ----------
        numbers : ndarray of float64, shape (n_rows, n_numbers)
        categories : sequence of TextColumn, each of length n_rows
        first_row : int
            Number of the first row, for the problems.
        """
        problems: list[InputProblem] = []
        for position, field, _ in self._numbers:
            column = numbers[:, position]
            wrong = ~np.isnan(column) & ~np.isin(column, list(field.allowed_values))
            rows = np.flatnonzero(wrong)[:MAX_LISTED].tolist()
            problems += [refusal(first_row + row, field, field.name, column[row].item()) for row in rows]
        for position, field, accepted in self._categories:
            texts = categories[position]
            rows = texts.rows(lambda text, accepted=accepted: text not in accepted)[:MAX_LISTED]  # type: ignore[misc]
            problems += [refusal(first_row + row, field, field.name, texts[row]) for row in rows]
        return problems


def _restricted(fields: Sequence[InputColumn]) -> list[tuple[int, InputColumn, frozenset[object]]]:
    """Return the position of each input that takes only a few values, the input, and what it accepts."""
    return [
        (position, field, frozenset({None, *field.allowed_values}))
        for position, field in enumerate(fields)
        if field.allowed
    ]


def refusal(row: int | None, field: InputColumn, name: str, got: object) -> InputProblem:
    """Describe a value that is not one of the few that an input takes.

    Parameters
    ----------
    row : int or None
    field : InputColumn
    name : str
        Under which name the value was sent.
    got : object

    Examples
    --------
    >>> from mlsys.runs.input_column import AllowedValue
    >>> arms = (AllowedValue("letter", "letter"), AllowedValue("none", "none"))
    >>> field = InputColumn("mail", number=False, nullable=True, allowed=arms)
    >>> print(refusal(None, field, "mail", "leter")["message"])
    mail is "leter"; expected 'letter' or 'none', or null; closest match: letter.
    """
    near = closest(got, [each.cell for each in field.allowed]) if isinstance(got, str) else None
    found = problem(row, name, got, field.expected, near)
    return {**found, "message": f"{found['message'].removesuffix('.')}; closest match: {near}."} if near else found
