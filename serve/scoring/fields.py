"""A run's inputs as its schema.json describes them: what a record must hold, and what is odd about it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import nan
from operator import ge, itemgetter, le
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import closest
from mlsys.runs.input_column import LARGEST, InputColumn, is_text
from serve.scoring.problems import LISTED, InputProblem, InvalidInput, problem, quoted
from serve.scoring.text_columns import TextColumn

Numbers: TypeAlias = tuple[float, ...]  # NaN where null
Categories: TypeAlias = tuple[str | None, ...]

COMPARED = 20  # names whose nearest is looked for, which takes a while: nobody shall keep the service busy with them
LONGEST = 200  # characters of a name that are looked at
NUMBER_TYPES = frozenset({float, int})


@dataclass(frozen=True)
class Block:
    """Checked values of several records.

    Attributes
    ----------
    numbers : ndarray of float64, shape (n_rows, n_numbers)
        In the schema's order, NaN where null.
    categories : list of TextColumn, each of length n_rows
        A column for each category, in the schema's order.
    """

    numbers: NDArray[np.float64]
    categories: list[TextColumn]

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of(cls, records: Sequence[tuple[Numbers, Categories]]) -> Block:
        """Return checked records as a block."""
        numbers = np.array([record[0] for record in records], dtype=np.float64).reshape(len(records), -1)
        return cls(numbers, _columns([record[1] for record in records]))

    def values(self, row: int) -> tuple[Numbers, Categories]:
        """Return one row."""
        return tuple(self.numbers[row].tolist()), tuple(column[row] for column in self.categories)

    def part(self, start: int, rows: int) -> Block:
        """Return ``rows`` rows from ``start`` on, or as many as there are."""
        return Block(self.numbers[start : start + rows], [column.part(start, rows) for column in self.categories])


class _SlowCheckNeeded(Exception):  # noqa: N818 - no error yet
    """Not all of a record is as it should be."""


class Inputs:
    """Checks records against the fields, fast where nothing is wrong; `check` belongs to one thread.

    Parameters
    ----------
    fields : sequence of InputColumn
    """

    def __init__(self, fields: Sequence[InputColumn]) -> None:
        self.fields = tuple(fields)
        self.by_name = {field.name: field for field in fields}
        self.numbers = [field for field in fields if field.number]
        self.categories = [field for field in fields if not field.number]
        self._numbers_of = _getter([field.name for field in self.numbers])
        self._categories_of = _getter([field.name for field in self.categories])
        self._lows = [field.low if field.low > -LARGEST else nan for field in self.numbers]
        self._highs = [field.high if field.high < LARGEST else nan for field in self.numbers]
        self._low = np.array([field.low for field in self.numbers], dtype=np.float32)  # rounding keeps the order
        self._high = np.array([field.high for field in self.numbers], dtype=np.float32)
        self._known = [field.categories for field in self.categories]
        self._width = len(fields)
        self._required_of = _getter([field.name for field in self.numbers if not field.nullable])
        self._texts = [(field.nullable, field.categories) for field in self.categories]
        self._values = np.empty(len(self.numbers), dtype=np.float32)  # these two are why `check` belongs to one thread
        self._flags = np.empty(len(self.numbers), dtype=bool)
        self._pack = struct.Struct(f"{len(self.numbers)}f").pack_into  # it refuses what is beyond float32

    def check(self, record: object) -> tuple[Numbers, Categories, tuple[str, ...]]:
        """Return a record's values, and warnings.

        Raises
        ------
        InvalidInput
            If fields are missing, unknown or of another type; names all of them.
        """
        try:
            numbers, categories, odd = self._plain(record)  # type: ignore[arg-type]
        except (KeyError, TypeError, OverflowError, struct.error, _SlowCheckNeeded):
            numbers, categories = self._checked(record, None)
            odd = True
        return numbers, categories, self._warnings(numbers, categories) if odd else ()

    def _plain(self, record: Mapping[str, Any]) -> tuple[Numbers, Categories, bool]:
        """Return a record's values, and whether some are odd; raise something if not all is as it should be."""
        numbers, categories = self._numbers_of(record), self._categories_of(record)
        kinds = set(map(type, numbers))
        # As nearly all are: numbers in the range that training saw, which lies within float32.
        if kinds <= NUMBER_TYPES and all(map(le, self._lows, numbers)) and all(map(ge, self._highs, numbers)):
            return numbers, categories, self._odd_texts(record, categories)
        nulls = 0
        if type(None) in kinds:
            kinds.remove(type(None))
            nulls = numbers.count(None)
            if None in self._required_of(record):
                raise _SlowCheckNeeded
            numbers = tuple([nan if value is None else value for value in numbers])
        if not kinds <= NUMBER_TYPES:
            raise _SlowCheckNeeded
        values, flags = self._values, self._flags
        self._pack(values.data, 0, *numbers)
        if np.count_nonzero(np.isfinite(values, flags)) + nulls != len(numbers):
            raise _SlowCheckNeeded
        odd = np.count_nonzero(np.less(values, self._low, flags)) + np.count_nonzero(
            np.greater(values, self._high, flags)
        )
        return numbers, categories, self._odd_texts(record, categories) or bool(odd)

    def _odd_texts(self, record: Mapping[str, Any], categories: Categories) -> bool:
        """Return whether training did not see one of the categories; raise something if one is none."""
        if len(record) != self._width:
            raise _SlowCheckNeeded
        odd = False
        for text, (nullable, known) in zip(categories, self._texts, strict=True):
            if type(text) is not str:
                if text is not None or not nullable:
                    raise _SlowCheckNeeded
            elif known is None or text not in known:
                if not is_text(text):
                    raise _SlowCheckNeeded
                odd |= known is not None
        return odd

    def block(self, records: Sequence[object], first_row: int = 0) -> tuple[Block, dict[int, tuple[str, ...]]]:
        """Return the values of several records, and warnings by row.

        Parameters
        ----------
        records : sequence
        first_row : int
            The number of the first one, for what is said about rows.
        """
        try:
            block = self._plain_block(records)  # type: ignore[arg-type]
        except (KeyError, TypeError, OverflowError, struct.error, _SlowCheckNeeded):
            block = self._slow_block(records, first_row)
        return block, self.warnings(block, first_row)

    def joined(self, blocks: Sequence[Block]) -> Block:
        """Return the rows of several blocks as one."""
        numbers = [np.empty((0, len(self.numbers))), *(block.numbers for block in blocks)]
        columns = range(len(self.categories))
        categories = [TextColumn.joined([block.categories[column] for block in blocks]) for column in columns]
        return Block(np.concatenate(numbers), categories)

    def warnings(self, block: Block, first_row: int = 0) -> dict[int, tuple[str, ...]]:
        """Return what is odd about the rows of a block, by row."""
        odd: set[int] = set()
        numbers = block.numbers.astype(np.float32)
        outside = (numbers < self._low) | (numbers > self._high)
        if outside.any():
            odd.update(np.flatnonzero(outside.any(axis=1)).tolist())
        for column, known in zip(block.categories, self._known, strict=True):
            if known is not None:
                odd.update(column.rows(partial(_is_unseen, known)))
        return {
            first_row + row: self._warnings(
                block.numbers[row].tolist(), tuple(column[row] for column in block.categories)
            )
            for row in sorted(odd)
        }

    def _plain_block(self, records: Sequence[Mapping[str, Any]]) -> Block:
        """Return the values of several records; raise something if not all is as it should be."""
        rows = [self._numbers_of(record) for record in records]
        texts = [self._categories_of(record) for record in records]
        if set(map(len, records)) != {self._width}:
            raise _SlowCheckNeeded
        kinds, nulls = set(map(type, chain.from_iterable(rows))), 0
        if type(None) in kinds:
            kinds.remove(type(None))
            nulls = sum(row.count(None) for row in rows)
            if any(None in self._required_of(record) for record in records):
                raise _SlowCheckNeeded
        if not kinds <= NUMBER_TYPES:
            raise _SlowCheckNeeded
        numbers = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.numbers))
        if np.count_nonzero(np.abs(numbers) <= LARGEST) + nulls != numbers.size:
            raise _SlowCheckNeeded
        categories = _columns(texts)
        for column, (nullable, known) in zip(categories, self._texts, strict=True):
            if not set(map(type, column.values)) <= ({str, type(None)} if nullable else {str}):
                raise _SlowCheckNeeded
            if not all(map(is_text, set(column.values) - (known or set()) - {None})):
                raise _SlowCheckNeeded
        return Block(numbers, categories)

    def _slow_block(self, records: Sequence[object], first_row: int) -> Block:
        """Return the values of several records, looking at each; name all that is wrong."""
        problems: list[InputProblem] = []
        more = False
        rows, texts = [], []
        for row, record in enumerate(records, start=first_row):
            try:
                numbers, categories = self._checked(record, row)
            except InvalidInput as error:
                problems += error.problems
                more = error.more
                if more or len(problems) > LISTED:
                    break
            else:
                rows.append(numbers)
                texts.append(categories)
        if problems:
            raise InvalidInput(problems, more=more)
        array = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.numbers))
        return Block(array, _columns(texts))

    def _checked(self, record: object, row: int | None) -> tuple[Numbers, Categories]:
        """Return a record's values, looking at each."""
        if not isinstance(record, Mapping):
            raise InvalidInput([problem(row, "", record, "an object of the model's inputs", None, _no_object(record))])
        problems = self._names(record, row)
        values: dict[bool, list[Any]] = {True: [], False: []}
        for field in self.fields:
            if field.name not in record:
                continue
            value = record[field.name]
            if field.accepts(value):
                values[field.number].append(nan if value is None and field.number else value)
            else:
                problems.append(problem(row, field.name, value, field.expected, None))
        if problems:
            raise InvalidInput(problems)
        return tuple(float(value) for value in values[True]), tuple(values[False])

    def _names(self, record: Mapping[Any, object], row: int | None) -> list[InputProblem]:
        extra = [name for name in record if name not in self.by_name]
        missing = [field for field in self.fields if field.name not in record]
        return name_problems(missing, extra, self.by_name, row)

    def _warnings(self, numbers: Iterable[float], categories: Categories) -> tuple[str, ...]:
        said = [
            f"{field.name}: {value:g} is outside of what training saw ({field.low:g} to {field.high:g})."
            for field, value in zip(self.numbers, numbers, strict=True)
            if value < field.low or value > field.high
        ]
        said += [
            f"{field.name}: {quoted(text)} did not occur in training; it is scored as unknown."
            for field, text in zip(self.categories, categories, strict=True)
            if text is not None and field.categories is not None and text not in field.categories
        ]
        return tuple(said)


def _is_unseen(known: frozenset[str], text: str | None) -> bool:
    return text is not None and text not in known


def _columns(records: Sequence[Categories]) -> list[TextColumn]:
    return [TextColumn.of(column) for column in zip(*records, strict=True)]


def name_problems(
    missing: Iterable[InputColumn], extra: Sequence[object], known: Mapping[str, InputColumn], row: int | None
) -> list[InputProblem]:
    """Describe fields that are missing, and names that no field has."""
    problems = []
    unknown = [str(name)[:LONGEST] for name in extra[: LISTED + 1]]
    candidates = unknown[:COMPARED]
    for place, field in enumerate(missing):
        near = closest(field.name, candidates) if place < COMPARED else None
        hint = f" ({near!r} came, which is spelled like it)" if near else ""
        message = f"{field.name} is missing{hint}; expected {field.expected}."
        problems.append(_nothing(problem(row, field.name, None, field.expected, near, message)))
    for place, name in enumerate(unknown):
        near = closest(name, known) if place < COMPARED else None
        hint = f"; the nearest is {near}" if near else ""
        expected = "only the model's inputs"
        problems.append(problem(row, name, name, expected, near, f"{quoted(name)} is no input of the model{hint}."))
    return problems


def _nothing(each: InputProblem) -> InputProblem:
    each["got"] = "nothing"
    return each


def _no_object(record: object) -> str:
    kind = {list: "a list", str: "text", bool: "true or false", type(None): "null"}.get(type(record), "a number")
    return f"The record is {kind}; expected an object of the model's inputs."


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return a function from a record to the values of ``names``, as a tuple of any length."""
    if len(names) > 1:
        return itemgetter(*names)
    if not names:
        return lambda record: ()  # noqa: ARG005
    name = names[0]
    return lambda record: (record[name],)
