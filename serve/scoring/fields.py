"""A run's inputs from its schema.json: checks records, and warns of values that training did not see."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import nan
from operator import ge, itemgetter, le
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import closest, closest_pairs
from mlsys.runs.input_column import LARGEST, InputColumn, is_text
from serve.scoring.allowed_values import AllowedValues, refusal
from serve.scoring.problems import MAX_LISTED, InputProblem, InvalidInput, problem, quoted
from serve.scoring.raw_columns import TrainingTable
from serve.scoring.raw_records import RawRecords, Translated
from serve.scoring.text_columns import TextColumn

Numbers: TypeAlias = tuple[float, ...]  # NaN where null
Categories: TypeAlias = tuple[str | None, ...]

MAX_COMPARED = 20  # names to find the closest match for; it is slow, and nobody should keep the service busy with it
MAX_NAME = 200  # characters of a name to read
NUMBER_TYPES = frozenset({float, int})


@dataclass(frozen=True)
class RecordBlock:
    """Checked values of several records.

    Attributes
    ----------
    numbers : ndarray of float64, shape (n_rows, n_numbers)
        In the schema's order, NaN where null.
    categories : list of TextColumn, each of length n_rows
        One column for each category field, in the schema's order.
    """

    numbers: NDArray[np.float64]
    categories: list[TextColumn]

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of(cls, records: Sequence[tuple[Numbers, Categories]]) -> RecordBlock:
        """Return checked records as a block."""
        numbers = np.array([record[0] for record in records], dtype=np.float64).reshape(len(records), -1)
        return cls(numbers, _columns([record[1] for record in records]))

    def values(self, row: int) -> tuple[Numbers, Categories]:
        """Return one row."""
        return tuple(self.numbers[row].tolist()), tuple(column[row] for column in self.categories)

    def part(self, start: int, rows: int) -> RecordBlock:
        """Return up to ``rows`` rows from ``start`` on."""
        return RecordBlock(self.numbers[start : start + rows], [column.part(start, rows) for column in self.categories])


class _SlowCheckNeeded(Exception):  # noqa: N818 - not an error
    """Raised if the fast check cannot accept a record; the slow check then accepts it or names its problems."""


class NotLoadedError(Exception):
    """Raised if a record has to be converted, but what converts it is not imported yet."""


class Inputs:
    """Checks records against the fields, quickly if nothing is wrong. Only one thread may call `check`.

    Parameters
    ----------
    fields : sequence of InputColumn
    raw : TrainingTable, optional
        Columns of the table that the run was trained on; records may have them instead of the inputs.
    """

    def __init__(self, fields: Sequence[InputColumn], raw: TrainingTable | None = None) -> None:
        self.fields = tuple(fields)
        self.raw = raw
        self._raw_records = None if raw is None else RawRecords(raw)
        self.by_name = {field.name: field for field in fields}
        self.numbers = [field for field in fields if field.number]
        self.categories = [field for field in fields if not field.number]
        self.allowed = AllowedValues(self.numbers, self.categories)
        self._numbers_of = _getter([field.name for field in self.numbers])
        self._categories_of = _getter([field.name for field in self.categories])
        self._lows = [field.low if field.low > -LARGEST else nan for field in self.numbers]
        self._highs = [field.high if field.high < LARGEST else nan for field in self.numbers]
        self._low = np.array([field.low for field in self.numbers], dtype=np.float32)  # rounding is monotone
        self._high = np.array([field.high for field in self.numbers], dtype=np.float32)
        self._known_categories = [field.categories for field in self.categories]
        self._width = len(fields)
        self._required_of = _getter([field.name for field in self.numbers if not field.nullable])
        # A category that training did not see gets a warning, or is first converted as training converted it.
        self._category_rules = [
            (field.nullable, field.categories, field.categories is not None or raw is not None)
            for field in self.categories
        ]
        self._values = np.empty(len(self.numbers), dtype=np.float32)  # `check` reuses these two buffers
        self._flags = np.empty(len(self.numbers), dtype=bool)
        self._pack = struct.Struct(f"{len(self.numbers)}f").pack_into  # raises for numbers beyond float32

    def check(self, record: object, *, may_load: bool = True) -> tuple[Numbers, Categories, tuple[str, ...]]:
        """Return a record's values and warnings.

        Parameters
        ----------
        record : object
        may_load : bool
            Whether to import what converts the columns of the training table, which takes half a second.

        Raises
        ------
        InvalidInput
            If fields are missing, unknown or of the wrong type; lists all of them.
        NotLoadedError
            If it is needed and not loaded, and may not be.
        """
        notes: tuple[str, ...] = ()
        try:
            numbers, categories, unusual = self._fast_check(record)  # type: ignore[arg-type]
            is_checked = not unusual or self.raw is None or not self._have_unseen([[text] for text in categories])
            is_checked = is_checked and self.allowed.accept(numbers, categories)
        except (KeyError, TypeError, OverflowError, struct.error, _SlowCheckNeeded):
            unusual, is_checked = True, False
        if not is_checked:
            if not may_load and self.raw is not None and not self.raw.loaded:
                raise NotLoadedError
            [(numbers, categories, notes)] = self._slow_checks([record], None)
        return numbers, categories, (*notes, *self._warnings(numbers, categories)) if unusual else ()

    def _fast_check(self, record: Mapping[str, Any]) -> tuple[Numbers, Categories, bool]:
        """Return a record's values, and whether any is unusual; raise one of several errors if any is invalid."""
        numbers, categories = self._numbers_of(record), self._categories_of(record)
        kinds = set(map(type, numbers))
        # Nearly all records have only numbers in the range seen in training, which lies within float32.
        if kinds <= NUMBER_TYPES and all(map(le, self._lows, numbers)) and all(map(ge, self._highs, numbers)):
            return numbers, categories, self._has_unseen_category(record, categories)
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
        out_of_range = np.count_nonzero(np.less(values, self._low, flags)) + np.count_nonzero(
            np.greater(values, self._high, flags)
        )
        return numbers, categories, self._has_unseen_category(record, categories) or bool(out_of_range)

    def _has_unseen_category(self, record: Mapping[str, Any], categories: Categories) -> bool:
        """Return whether training did not see one of the categories; raise one of several errors if any is invalid."""
        if len(record) != self._width:
            raise _SlowCheckNeeded
        unseen = False
        for text, (nullable, known, is_reported) in zip(categories, self._category_rules, strict=True):
            if type(text) is not str:
                if text is not None or not nullable:
                    raise _SlowCheckNeeded
            elif known is None or text not in known:
                if not is_text(text):
                    raise _SlowCheckNeeded
                unseen |= is_reported
        return unseen

    def block(self, records: Sequence[object], first_row: int = 0) -> tuple[RecordBlock, dict[int, tuple[str, ...]]]:
        """Return the values of several records, and the warnings by row.

        Parameters
        ----------
        records : sequence
        first_row : int
            Row number of the first record, for problems and warnings.
        """
        try:
            block = self._fast_block(records)  # type: ignore[arg-type]
            is_checked = self.raw is None or not self._have_unseen(column.values for column in block.categories)
            is_checked = is_checked and not self.allowed.problems(block.numbers, block.categories, first_row)
        except (KeyError, TypeError, OverflowError, struct.error, _SlowCheckNeeded):
            is_checked = False
        if is_checked:
            return block, self.warnings(block, first_row)
        checked = self._slow_checks(records, first_row)
        block = RecordBlock.of([(numbers, categories) for numbers, categories, _ in checked])
        notes = {row: each for row, (_, _, each) in enumerate(checked, start=first_row) if each}
        return block, with_notes(notes, self.warnings(block, first_row))

    def joined(self, blocks: Sequence[RecordBlock]) -> RecordBlock:
        """Return several blocks concatenated."""
        numbers = [np.empty((0, len(self.numbers))), *(block.numbers for block in blocks)]
        columns = range(len(self.categories))
        categories = [TextColumn.joined([block.categories[column] for block in blocks]) for column in columns]
        return RecordBlock(np.concatenate(numbers), categories)

    def warnings(self, block: RecordBlock, first_row: int = 0) -> dict[int, tuple[str, ...]]:
        """Return the warnings about a block's values, by row."""
        rows: set[int] = set()
        numbers = block.numbers.astype(np.float32)
        outside = (numbers < self._low) | (numbers > self._high)
        if outside.any():
            rows.update(np.flatnonzero(outside.any(axis=1)).tolist())
        for column, known in zip(block.categories, self._known_categories, strict=True):
            if known is not None:
                rows.update(column.rows(partial(_is_unseen, known)))
        return {
            first_row + row: self._warnings(
                block.numbers[row].tolist(), tuple(column[row] for column in block.categories)
            )
            for row in sorted(rows)
        }

    def _fast_block(self, records: Sequence[Mapping[str, Any]]) -> RecordBlock:
        """Return the values of several records; raise one of several errors if any is invalid."""
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
        for column, (nullable, known, _) in zip(categories, self._category_rules, strict=True):
            if not set(map(type, column.values)) <= ({str, type(None)} if nullable else {str}):
                raise _SlowCheckNeeded
            if not all(map(is_text, set(column.values) - (known or set()) - {None})):
                raise _SlowCheckNeeded
        return RecordBlock(numbers, categories)

    def _have_unseen(self, columns: Iterable[Iterable[str | None]]) -> bool:
        """Return whether columns of categories have one that training did not see."""
        return any(
            text is not None and text not in (known or ())
            for texts, (_, known, _) in zip(columns, self._category_rules, strict=True)
            for text in texts
        )

    def _slow_checks(
        self, records: Sequence[object], first_row: int | None
    ) -> list[tuple[Numbers, Categories, tuple[str, ...]]]:
        """Return the values of records, checked one by one, and notes on them; raise InvalidInput with all problems."""
        problems: list[InputProblem] = []
        checked = []
        for offset, (record, translated) in enumerate(self._translated(records, first_row)):
            row = None if first_row is None else first_row + offset
            found, values = self._slow_check(record, row, translated)
            problems += found
            if len(problems) > MAX_LISTED:
                break
            if not problems:
                checked.append((*values, translated.warnings if translated else ()))
        if problems:
            raise InvalidInput(problems)
        return checked

    def _translated(
        self, records: Sequence[object], first_row: int | None
    ) -> Iterator[tuple[object, Translated | None]]:
        """Yield each record as model inputs, with what was found while converting it."""
        if self._raw_records is None:
            yield from ((record, None) for record in records)
            return
        mappings = [record if isinstance(record, Mapping) else {} for record in records]
        for record, translated in zip(records, self._raw_records.translate(mappings, first_row), strict=True):
            yield (translated.record, translated) if isinstance(record, Mapping) else (record, None)

    def _slow_check(
        self, record: object, row: int | None, translated: Translated | None
    ) -> tuple[list[InputProblem], tuple[Numbers, Categories]]:
        """Return all problems of a record, and its values if there are none."""
        if not isinstance(record, Mapping):
            message = _not_an_object(record)
            return [problem(row, "", record, "an object with the model's inputs", None, message)], ((), ())
        problems = list(translated.problems) if translated else []
        fields = [each for each in self.fields if not (translated and each.name in translated.reported)]
        problems += self._name_problems(record, fields, row)
        values: dict[bool, list[Any]] = {True: [], False: []}
        for field in fields:
            if field.name not in record:
                continue
            value = record[field.name]
            if field.accepts(value):
                values[field.number].append(nan if value is None and field.number else value)
            else:
                problems.append(refusal(row, field, field.name, value))
        if problems:
            return problems, ((), ())
        return [], (tuple(float(value) for value in values[True]), tuple(values[False]))

    def _name_problems(
        self, record: Mapping[Any, object], fields: Sequence[InputColumn], row: int | None
    ) -> list[InputProblem]:
        extra = [name for name in record if name not in self.by_name]
        missing = [field for field in fields if field.name not in record]
        return name_problems(missing, extra, self.known_names, row)

    @property
    def known_names(self) -> Collection[str]:
        """All names that a record may have."""
        return [*self.by_name, *(self.raw.by_name if self.raw else ())]

    def _warnings(self, numbers: Iterable[float], categories: Categories) -> tuple[str, ...]:
        messages = [
            f"{field.name}: {value:g} is outside the training range ({field.low:g} to {field.high:g})."
            for field, value in zip(self.numbers, numbers, strict=True)
            if value < field.low or value > field.high
        ]
        messages += [
            f"{field.name}: {quoted(text)} did not occur in training and is scored as unknown."
            for field, text in zip(self.categories, categories, strict=True)
            if text is not None and field.categories is not None and text not in field.categories
        ]
        return tuple(messages)


def with_notes(
    notes: Mapping[int, tuple[str, ...]], warnings: Mapping[int, tuple[str, ...]]
) -> dict[int, tuple[str, ...]]:
    """Return the notes on converted cells and the warnings about values, by row.

    Examples
    --------
    >>> with_notes({1: ("a",)}, {0: ("b",), 1: ("c",)})
    {0: ('b',), 1: ('a', 'c')}
    """
    return {row: notes.get(row, ()) + warnings.get(row, ()) for row in sorted(notes.keys() | warnings.keys())}


def _is_unseen(known: frozenset[str], text: str | None) -> bool:
    return text is not None and text not in known


def _columns(records: Sequence[Categories]) -> list[TextColumn]:
    return [TextColumn.of(column) for column in zip(*records, strict=True)]


def name_problems(
    missing: Iterable[InputColumn], extra: Sequence[object], known: Collection[str], row: int | None
) -> list[InputProblem]:
    """Describe the fields that are missing and the names that match no field."""
    problems: list[InputProblem] = []
    missing = list(missing)
    unknown = [str(name)[:MAX_NAME] for name in extra[: MAX_LISTED + 1]]
    near_missing = closest_pairs([field.name for field in missing[:MAX_COMPARED]], unknown[:MAX_COMPARED])
    near_unknown = {name: field for field, name in near_missing.items()}
    for field in missing:
        near = near_missing.get(field.name)
        hint = f" (closest match: {near!r})" if near else ""
        message = f"{field.name} is missing{hint}; expected {field.expected}."
        problems.append({**problem(row, field.name, None, field.expected, near, message), "got": "nothing"})
    others = [name for name in known if name not in near_missing]
    for number, name in enumerate(unknown):
        near = near_unknown.get(name) or (closest(name, others) if number < MAX_COMPARED else None)
        hint = f"; closest match: {near}" if near else ""
        expected = "only the model's inputs"
        problems.append(problem(row, name, name, expected, near, f"{quoted(name)} is not an input of the model{hint}."))
    return problems


def _not_an_object(record: object) -> str:
    kind = {list: "a list", str: "text", bool: "true or false", type(None): "null"}.get(type(record), "a number")
    return f"The record is {kind}; expected an object with the model's inputs."


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return a function that returns a record's values of ``names``, always as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    if not names:
        return lambda record: ()  # noqa: ARG005
    name = names[0]
    return lambda record: (record[name],)
