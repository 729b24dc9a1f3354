"""Records with the columns of the training table: converts them to model inputs, once per distinct cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple, TypeAlias

from mlsys.runs.input_column import is_text
from serve.scoring.allowed_values import refusal
from serve.scoring.problems import InputProblem, problem
from serve.scoring.raw_columns import MAX_BITS, MAX_PARSED, TrainingColumn, TrainingTable, date_kind, invalid_cells

CACHED = 50_000  # cells whose inputs are kept, of all columns together
PLAIN = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
WHOLE = re.compile(r"-?[0-9]{1,15}")
MAX_CACHED_TEXT = 200  # characters; longer text rarely occurs twice

Key: TypeAlias = tuple[type, Any, Any]


class Converted(NamedTuple):
    """The inputs made from one cell: None where missing; ``valid`` is False if the cell does not parse."""

    inputs: tuple[float | str | None, ...]
    valid: bool


class Translated(NamedTuple):
    """A record as model inputs.

    Attributes
    ----------
    record : dict
        The inputs by name, and names that are neither inputs nor columns.
    problems : list of InputProblem
    reported : set of str
        Inputs that the problems are about.
    warnings : tuple of str
    """

    record: dict[Any, Any]
    problems: list[InputProblem]
    reported: set[str]
    warnings: tuple[str, ...]


class RawRecords:
    """Converts records to model inputs; may be used by several threads.

    Parameters
    ----------
    raw : TrainingTable
    """

    def __init__(self, raw: TrainingTable) -> None:
        self._raw = raw
        self._cells: dict[str, dict[Key, Converted]] = {column.name: {} for column in raw.columns}
        self._times: dict[tuple[type, Any] | None, bool] = {}
        self._max_cached = CACHED // len(raw.columns)

    def translate(self, records: Sequence[Mapping[Any, Any]], first_row: int | None) -> list[Translated]:
        """Convert records to model inputs.

        Parameters
        ----------
        records : sequence of mapping
            Parsed JSON objects.
        first_row : int or None
            Row number of the first record, for problems; None for a single record.

        Returns
        -------
        list of Translated
            What is wrong with inputs that were sent as such is left to the check of inputs.
        """
        has_time = self._have_time(records)
        cells = [self._converted(column, records, has_time) for column in self._raw.columns]
        return [
            self._translated(record, cells, has_time[offset], None if first_row is None else first_row + offset)
            for offset, record in enumerate(records)
        ]

    def _translated(
        self, record: Mapping[Any, Any], cells: Sequence[Mapping[Key, Converted]], has_time: bool, row: int | None
    ) -> Translated:
        problems, reported = self._raw.name_problems(record, row)
        inputs = {name: value for name, value in record.items() if name not in self._raw.known}
        warnings = []
        for column, converted in zip(self._raw.columns, cells, strict=True):
            name = self._raw.name_of(column, record)
            if name is None or not reported.isdisjoint(column.outputs):
                continue
            value = record[name]
            inputs.pop(name, None)
            if not column.needs_conversion(value):
                inputs[column.outputs[0]] = value
                continue
            if column.needs_time and not has_time:
                problems.append(self._time_problem(record, row))
                reported.update(self._raw.aged)
                continue
            cell = converted[self._key(column, record, value)] if column.accepts(value) else None
            refused = cell is not None and column.refuses(cell.inputs, valid=cell.valid)
            if cell is None or refused or (None in cell.inputs and not column.nullable):
                expected = problem(row, column.name, value, column.expected, None)
                problems.append(refusal(row, column.inputs[0], column.name, value) if refused else expected)
                reported.update(column.outputs)
                continue
            inputs.update(zip(column.outputs, cell.inputs, strict=True))
            if not cell.valid:
                warnings.append(column.warning(value))
        return Translated(inputs, problems, reported, tuple(warnings))

    def _time_problem(self, record: Mapping[Any, Any], row: int | None) -> InputProblem:
        time = self._raw.time
        return problem(row, time, record[time], date_kind(self._raw.time_format), None)

    def _key(self, column: TrainingColumn, record: Mapping[Any, Any], value: Any) -> Key:  # noqa: ANN401 - any JSON value
        """Return what the inputs of a cell depend on; 1, 1.0 and True are equal, but different cells."""
        return type(value), value, record.get(self._raw.time) if column.needs_time else None

    def _converted(
        self, column: TrainingColumn, records: Sequence[Mapping[Any, Any]], has_time: Sequence[bool]
    ) -> dict[Key, Converted]:
        """Return the inputs of all cells of a column that need conversion."""
        cache = self._cells[column.name]
        found: dict[Key, Converted] = {}
        new: dict[Key, None] = {}
        for record, is_timed in zip(records, has_time, strict=True):
            name = self._raw.name_of(column, record)
            if name is None or not column.needs_conversion(record[name]) or not column.accepts(record[name]):
                continue
            if column.needs_time and not is_timed:
                continue  # reported with the record's other problems
            key = self._key(column, record, record[name])
            cached = cache.get(key) or _plain_number(column, record[name])
            if cached is None:
                new[key] = None
            else:
                found[key] = cached
        if new:
            converted = dict(zip(new, self._convert(column, list(new)), strict=True))
            found |= converted
            if len(cache) + len(converted) > self._max_cached:
                cache.clear()
            cache.update((key, cell) for key, cell in converted.items() if _is_short(key))
        return found

    def _have_time(self, records: Sequence[Mapping[Any, Any]]) -> list[bool]:
        """Return which records have a valid time of their own; False where no date is counted from it."""
        aged = [column.name for column in self._raw.columns if column.needs_time]
        times = [record.get(self._raw.time) if any(name in record for name in aged) else None for record in records]
        keys = [(type(time), time) if _is_readable_time(time) else None for time in times]
        if len(self._times) > CACHED:
            self._times = {}
        cache = self._times  # another thread may replace it
        known = {None: False} | {key: cache[key] for key in set(keys) & cache.keys()}
        if new := list(set(keys) - known.keys()):
            import pandas as pd

            valid = self._raw.has_time(pd.Series([key[1] for key in new if key], dtype=object)).tolist()
            known |= dict(zip(new, valid, strict=True))
            cache.update((key, known[key]) for key in new)
        return [known[key] for key in keys]

    def _convert(self, column: TrainingColumn, keys: Sequence[Key]) -> list[Converted]:
        import pandas as pd

        data = {column.name: pd.Series([value for _, value, _ in keys], dtype=object)}
        if column.needs_time:
            data[self._raw.time] = pd.Series([time for _, _, time in keys], dtype=object)
        frame = pd.DataFrame(data)
        inputs = self._raw.inputs_of(frame, column)
        invalid = invalid_cells(frame[column.name], inputs[column.outputs[0]])
        rows = zip(*(inputs[name].tolist() for name in column.outputs), strict=True)
        return [
            Converted(tuple(None if _is_nan(value) else value for value in row), position not in invalid)
            for position, row in enumerate(rows)
        ]


def _plain_number(column: TrainingColumn, cell: object) -> Converted | None:
    """Return the number in a cell that every notation reads alike; None if the slower code of training is needed."""
    if column.kind != "number" or not column.is_value or not isinstance(cell, str):
        return None
    is_plain = PLAIN.fullmatch(cell) if column.decimal == "." else WHOLE.fullmatch(cell)
    return Converted((float(cell),), valid=True) if is_plain else None


def _is_readable_time(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_PARSED and is_text(value)
    return isinstance(value, int) and value.bit_length() <= MAX_BITS


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and isnan(value)


def _is_short(key: Key) -> bool:
    return not any(isinstance(part, str) and len(part) > MAX_CACHED_TEXT for part in key[1:])
