"""Tables with the columns of the training table: reads and checks them, and converts them to model inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import DataError
from mlsys.runs.input_column import LARGEST, InputColumn
from serve.scoring.allowed_values import refusal
from serve.scoring.fields import Inputs, RecordBlock, name_problems
from serve.scoring.problems import MAX_LISTED, InputProblem, InvalidInput, problem
from serve.scoring.raw_columns import TrainingColumn, TrainingTable, date_kind, invalid_cells
from serve.scoring.tables import check_intact, numbers_of, parse_csv
from serve.scoring.text_columns import TextColumn, text_column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SOURCE = Path("The CSV table")  # how messages name the body


class RawBlock(NamedTuple):
    """Rows as model inputs, the problems in their cells, and the notes on converted cells by row."""

    block: RecordBlock
    problems: list[InputProblem]
    notes: dict[int, tuple[str, ...]]


def read_raw_csv(data: bytes, inputs: Inputs, raw: TrainingTable) -> pa.Table:
    """Return the table in a CSV file, read as training reads one: any usual delimiter, quoting and encoding.

    Parameters
    ----------
    data : bytes
    inputs : Inputs
    raw : TrainingTable

    Returns
    -------
    pyarrow Table
        Columns of text, or of numbers where all cells are plain numbers.

    Raises
    ------
    InvalidInput
        If the data is not a table with a header.
    """
    import pyarrow as pa

    plain = _plain_csv(data, inputs, raw)
    if plain is not None:
        return plain
    from mlsys.data.table.delimited import read_delimited, unique_names

    try:
        frame = read_delimited(data, SOURCE)
        frame = frame.set_axis(unique_names(list(frame.columns), SOURCE), axis="columns")
    except DataError as error:
        raise InvalidInput([problem(None, "", "", "a CSV table with a header", None, str(error))]) from error
    return pa.Table.from_pandas(frame, preserve_index=False)


def _plain_csv(data: bytes, inputs: Inputs, raw: TrainingTable) -> pa.Table | None:
    """Return the table in a CSV file that training's reader reads alike, but slower; None if it may read another one.

    These are files with commas, without quotes, whose number columns are empty or have only plain numbers.
    """
    if b'"' in data:
        return None
    import pyarrow as pa

    types = dict.fromkeys(raw.known, pa.string()) | {
        field.name: pa.float64() if field.number else pa.string() for field in inputs.fields
    }
    for column in raw.columns:  # text in these is not read as a plain number is
        if column.is_number and (column.kind != "number" or column.decimal != "."):
            types |= dict.fromkeys((column.name, *column.outputs), pa.string())
    try:
        table = parse_csv(data, types)
    except ValueError:
        return None
    names = table.column_names
    is_known = all(raw.names_of(column, names) for column in raw.columns) and len(set(names)) == len(names)
    return table if is_known else None


def with_index_names(table: pa.Table) -> pa.Table:
    """Name the index that pandas wrote into a file as training names it, which reads it as a column.

    Examples
    --------
    >>> import pandas as pd
    >>> import pyarrow as pa
    >>> frame = pd.DataFrame({"size": [3, 4]}, index=[7, 9])
    >>> with_index_names(pa.Table.from_pandas(frame)).column_names
    ['size', 'index']
    """
    unnamed = [name for name in table.column_names if name.startswith("__index_level_")]
    if not unnamed:
        return table
    try:
        levels = list(json.loads((table.schema.metadata or {})[b"pandas"])["index_columns"])
    except (ValueError, KeyError, TypeError):  # not written by pandas; the column is unknown
        return table
    is_single = len(levels) == 1 and "index" not in table.column_names
    new = {name: "index" if is_single else f"level_{levels.index(name)}" for name in unnamed if name in levels}
    return table.rename_columns([new.get(name, name) for name in table.column_names])


def check_raw_columns(table: pa.Table, inputs: Inputs, raw: TrainingTable, allowed: Collection[str]) -> None:
    """Check the names and types of a table's columns.

    Parameters
    ----------
    table : pyarrow Table
    inputs : Inputs
    raw : TrainingTable
    allowed : collection of str
        Names of further columns to ignore.

    Raises
    ------
    InvalidInput
        If columns are missing, unknown, repeated, given twice or of the wrong type; lists all of them.
    """
    check_intact(table)
    names = table.column_names
    problems, reported = raw.name_problems(names, None)
    missing = [field for field in inputs.fields if field.name not in reported and not _is_given(field, raw, names)]
    extra = [name for name in names if name not in inputs.by_name and name not in raw.known and name not in allowed]
    problems += name_problems(missing, extra, inputs.known_names, None)
    for name in dict.fromkeys(_used(raw, names)):
        count = names.count(name)
        if count > 1:
            message = f"The column {name} appears {count} times; expected once."
            problems.append(problem(None, name, count, "one column of this name", None, message))
        elif not _is_readable(table.column(name), is_part=name in raw.parts):
            got = str(table.schema.field(name).type)
            expected = "numbers" if name in raw.parts else "text, numbers, dates or booleans"
            message = f"The column {name} has the type {got} or values outside its range; expected {expected}."
            problems.append(problem(None, name, got, expected, None, message))
    if problems:
        raise InvalidInput(problems)


def raw_block_of(table: pa.Table, inputs: Inputs, raw: TrainingTable, first_row: int) -> RawBlock:
    """Return the inputs of a table whose columns were checked.

    Columns that are inputs already, such as numbers and categories as in training, are taken without pandas.

    Parameters
    ----------
    table : pyarrow Table
        A slice of a few thousand rows.
    inputs : Inputs
    raw : TrainingTable
    first_row : int
        Number of its first row within the whole table.
    """
    reading = _Reading(table, raw, first_row)
    numbers = np.empty((table.num_rows, len(inputs.numbers)))
    for position, field in enumerate(inputs.numbers):
        numbers[:, position] = reading.numbers[field.name]
    usual = np.abs(numbers) <= LARGEST  # False for NaN
    for position in np.flatnonzero(~usual.all(axis=0)).tolist():
        reading.check_numbers(inputs.numbers[position], numbers[:, position])
    categories = [reading.texts[field.name] for field in inputs.categories]
    problems = sorted(reading.problems, key=lambda each: each["row"] or 0)
    return RawBlock(RecordBlock(numbers, categories), problems, reading.notes)


class _Reading:
    """Converts the columns of a table, and collects what is wrong with them.

    Attributes
    ----------
    numbers : dict of str to ndarray of float64
    texts : dict of str to TextColumn
        The model's inputs.
    problems : list of InputProblem
    notes : dict of int to tuple of str
    """

    def __init__(self, table: pa.Table, raw: TrainingTable, first_row: int) -> None:
        self.numbers: dict[str, NDArray[np.float64]] = {}
        self.texts: dict[str, TextColumn] = {}
        self.problems: list[InputProblem] = []
        self.notes: dict[int, tuple[str, ...]] = {}
        self._as_sent: dict[str, TrainingColumn] = {}
        self._table, self._raw, self._first_row = table, raw, first_row
        given = frozenset(table.column_names)
        names = [(column, raw.name_of(column, given)) for column in raw.columns]
        times_are_valid = self._check_times(any(name is not None and column.needs_time for column, name in names))
        for column, name in names:
            if name is None:
                for field in column.inputs:
                    self._read_part(field)
            elif column.needs_time and not times_are_valid:
                self.numbers |= {output: np.full(table.num_rows, np.nan) for output in column.outputs}
            elif column.is_number and _is_numeric((cells := table.column(name)).type):
                self.numbers[column.outputs[0]] = numbers_of(cells)
                self._as_sent[column.outputs[0]] = column
            elif column.is_value and not column.is_number and _is_text((cells := table.column(name)).type):
                self._read_texts(column, cells)
            else:
                self._convert(column, name)

    def check_numbers(self, field: InputColumn, values: NDArray[np.float64]) -> None:
        """Check the numbers of an input, of which some are missing, infinite or too large.

        Infinities that were sent as numbers become missing, as in training.
        """
        column = self._as_sent.get(field.name)
        if column is not None:
            received, infinite = values.copy(), np.isinf(values)
            values[infinite] = np.nan
            self._check(column, np.isnan(values), infinite, lambda row: _or_none(received[row].item()))
        for row in np.flatnonzero(np.abs(values) > LARGEST)[:MAX_LISTED].tolist():
            self.add(row, field.name, values[row].item(), field.expected)

    def add(self, row: int, field: str, got: object, expected: str) -> None:
        """Add a problem in a cell."""
        self.problems.append(problem(self._first_row + row, field, got, expected, None))

    def _check_times(self, is_needed: bool) -> bool:
        """Return whether all rows have a valid time of their own; add the problems of those that do not."""
        if not is_needed:
            return True
        cells = _series(self._table.column(self._raw.time))
        wrong = np.flatnonzero(~self._raw.has_time(cells))[:MAX_LISTED].tolist()
        for row in wrong:
            self.add(row, self._raw.time, _cell(cells, row), date_kind(self._raw.time_format))
        return not wrong

    def _read_texts(self, column: TrainingColumn, cells: pa.ChunkedArray) -> None:
        """Read a category; each distinct value is converted once, unless training knew it."""
        texts, known = text_column(cells), column.inputs[0].categories or frozenset()
        new = [text for text in texts.values if text is not None and text not in known]
        if new:
            import pandas as pd

            frame = pd.DataFrame({column.name: pd.Series(new, dtype=object)})
            converted = self._raw.inputs_of(frame, column)[column.outputs[0]]
            read: dict[str | None, str | None] = dict(zip(new, map(_or_none, converted.tolist()), strict=True))
            distinct = TextColumn.of([read.get(text, text) for text in texts.values])
            inputs = TextColumn(distinct.values, distinct.codes[texts.codes])
        else:
            inputs = texts
        self.texts[column.outputs[0]] = inputs
        if column.nullable:
            return
        missing = inputs.map(lambda text: text is None, bool)
        self._check(column, missing, np.zeros_like(missing), texts.__getitem__)

    def _convert(self, column: TrainingColumn, name: str) -> None:
        """Convert the cells of any column as training did."""
        import pandas as pd

        cells = _series(self._table.column(name))
        data = {column.name: cells}
        if column.needs_time:
            data[self._raw.time] = _series(self._table.column(self._raw.time))
        inputs = self._raw.inputs_of(pd.DataFrame(data), column)
        for field in column.inputs:
            if field.number:
                self.numbers[field.name] = inputs[field.name].to_numpy(dtype=np.float64)
            else:
                self.texts[field.name] = _text_column(inputs[field.name])
        first = inputs[column.outputs[0]]
        invalid = np.zeros(len(first), dtype=bool)
        if column.parts != ("filled",):
            invalid[sorted(invalid_cells(cells, first))] = True
        self._check(column, first.isna().to_numpy(), invalid, lambda row: _cell(cells, row))

    def _check(
        self,
        column: TrainingColumn,
        missing: NDArray[np.bool_],
        invalid: NDArray[np.bool_],
        received: Callable[[int], object],
    ) -> None:
        """Add warnings about cells that do not parse, or problems if training had no missing cells in the column."""
        if not column.nullable:
            for row in np.flatnonzero(missing)[:MAX_LISTED].tolist():
                self.add(row, column.name, received(row), column.expected)
            return
        if column.has_few_values:
            rows = np.flatnonzero(invalid)[:MAX_LISTED].tolist()
            self.problems += [
                refusal(self._first_row + row, column.inputs[0], column.name, received(row)) for row in rows
            ]
            return
        for row in np.flatnonzero(invalid).tolist():
            position = self._first_row + row
            self.notes[position] = (*self.notes.get(position, ()), column.warning(received(row)))

    def _read_part(self, field: InputColumn) -> None:
        """Read an input that was sent as such, such as the month of a date; text must be plain numbers."""
        column = self._table.column(field.name)
        if _is_numeric(column.type):
            values = numbers_of(column)
            wrong = np.isnan(values) if not field.nullable else np.zeros(len(values), dtype=bool)
        else:
            texts = column.to_pylist()
            values = np.array([_parsed(text) for text in texts], dtype=np.float64)
            allowed = (None,) if field.nullable else ()
            wrong = np.isnan(values) & np.array([text not in allowed for text in texts], dtype=bool)
        for row in np.flatnonzero(wrong)[:MAX_LISTED].tolist():
            self.add(row, field.name, column[row].as_py(), field.expected)
        self.numbers[field.name] = values


def _used(raw: TrainingTable, names: Collection[str]) -> list[str]:
    """Return the names of the columns that inputs are made from, as given."""
    used = [name for column in raw.columns for name in raw.names_of(column, names)]
    return [*used, raw.time] if raw.aged and raw.time in names else used


def _is_given(field: InputColumn, raw: TrainingTable, names: Collection[str]) -> bool:
    return field.name in names or any(column.name in names for column in raw.columns if field.name in column.outputs)


def _value_type(kind: pa.DataType) -> pa.DataType:
    from pyarrow import types

    return kind.value_type if types.is_dictionary(kind) else kind


def _is_numeric(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    kind = _value_type(kind)
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)
    )


def _is_readable(column: pa.ChunkedArray, *, is_part: bool) -> bool:
    """Return whether cells of a column are single values that pandas has a type for."""
    from pyarrow import types

    if _is_numeric(column.type) or _is_text(column.type):
        return True
    if is_part:
        return False
    kind = _value_type(column.type)
    if types.is_boolean(kind) or _is_numeric(kind):
        return True
    try:
        return bool(types.is_temporal(kind)) and len(_series(column)) == len(column)
    except (ValueError, OverflowError):  # dates beyond those of pandas, an unknown time zone
        return False


def _series(column: pa.ChunkedArray) -> pd.Series[Any]:
    import pyarrow as pa

    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    series: pd.Series[Any] = column.to_pandas()
    return series


def _parsed(cell: object) -> float:
    """Return a number that was sent as text; NaN if it is not one."""
    try:
        return float(str(cell))
    except ValueError:
        return float("nan")


def _cell(cells: pd.Series[Any], row: int) -> object:
    value = cells.iloc[row]
    return _or_none(value.item() if isinstance(value, np.generic) else value)


def _or_none(value: Any) -> Any:  # noqa: ANN401 - any cell
    """Return None instead of NaN."""
    return None if value != value else value


def _text_column(values: pd.Series[Any]) -> TextColumn:
    import pandas as pd

    codes, texts = pd.factorize(values)
    return TextColumn([*texts.tolist(), None], np.where(codes < 0, len(texts), codes))
