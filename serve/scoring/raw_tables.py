"""Tables with the columns of the training table: reads and checks them, and converts them to model inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlsys.errors import DataError
from mlsys.runs.input_column import LARGEST, InputColumn
from serve.scoring.fields import Inputs, RecordBlock, name_problems
from serve.scoring.problems import MAX_LISTED, InputProblem, InvalidInput, problem
from serve.scoring.raw_columns import RawColumn, RawColumns, date_kind, invalid_cells
from serve.scoring.text_columns import TextColumn

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SOURCE = Path("The CSV table")  # how messages name the body


class RawBlock(NamedTuple):
    """Rows as model inputs, the problems in their cells, and the notes on converted cells by row."""

    block: RecordBlock
    problems: list[InputProblem]
    notes: dict[int, tuple[str, ...]]


def read_raw_csv(data: bytes) -> pa.Table:
    r"""Return the table in a CSV file as text, read as training reads one: any usual delimiter, quoting and encoding.

    Raises
    ------
    InvalidInput
        If the data is not a table with a header.

    Examples
    --------
    >>> read_raw_csv(b"plan;size\npro;1,5\n").to_pylist()
    [{'plan': 'pro', 'size': '1,5'}]
    """
    import pyarrow as pa

    from mlsys.data.table.delimited import read_delimited, unique_names

    try:
        frame = read_delimited(data, SOURCE)
        frame = frame.set_axis(unique_names(list(frame.columns), SOURCE), axis="columns")
    except DataError as error:
        raise InvalidInput([problem(None, "", "", "a CSV table with a header", None, str(error))]) from error
    return pa.Table.from_pandas(frame, preserve_index=False)


def check_raw_columns(table: pa.Table, inputs: Inputs, raw: RawColumns, allowed: Collection[str]) -> None:
    """Check the names and types of a table's columns.

    Parameters
    ----------
    table : pyarrow Table
    inputs : Inputs
    raw : RawColumns
    allowed : collection of str
        Names of further columns to ignore.

    Raises
    ------
    InvalidInput
        If columns are missing, unknown, repeated, given twice or of the wrong type; lists all of them.
    """
    import pyarrow as pa

    try:
        table.validate(full=True)  # a file may point outside its buffers or contain invalid UTF-8
    except pa.ArrowInvalid as error:
        message = f"The table is corrupt: {error}."
        raise InvalidInput([problem(None, "", "a corrupt table", "a valid table", None, message)]) from error
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
        elif not _is_plain(table.schema.field(name).type):
            got = str(table.schema.field(name).type)
            message = f"The column {name} has the type {got}; expected text, numbers, dates or booleans."
            problems.append(problem(None, name, got, "text, numbers, dates or booleans", None, message))
    if problems:
        raise InvalidInput(problems)


def raw_block_of(table: pa.Table, inputs: Inputs, raw: RawColumns, first_row: int) -> RawBlock:
    """Return the inputs of a table whose columns were checked.

    Parameters
    ----------
    table : pyarrow Table
        A slice of a few thousand rows.
    inputs : Inputs
    raw : RawColumns
    first_row : int
        Number of its first row within the whole table.
    """
    frame = _frame(table.select(list(dict.fromkeys(_used(raw, table.column_names)))))
    reading = _Reading(frame, raw, first_row)
    numbers = np.empty((len(frame), len(inputs.numbers)))
    for position, field in enumerate(inputs.numbers):
        numbers[:, position] = reading.inputs[field.name]
        for row in np.flatnonzero(np.abs(numbers[:, position]) > LARGEST)[:MAX_LISTED].tolist():
            reading.add(row, field.name, float(numbers[row, position]), field.expected)
    categories = [_text_column(reading.inputs[field.name]) for field in inputs.categories]
    problems = sorted(reading.problems, key=lambda each: each["row"] or 0)
    return RawBlock(RecordBlock(numbers, categories), problems, reading.notes)


def _frame(table: pa.Table) -> pd.DataFrame:
    import pyarrow as pa

    for position, column in enumerate(table.schema):
        if pa.types.is_decimal(column.type):  # pandas would have objects, whose text has a decimal point
            table = table.set_column(position, column.name, table.column(position).cast(pa.float64()))
        elif pa.types.is_string_view(column.type):
            table = table.set_column(position, column.name, table.column(position).cast(pa.large_string()))
    frame: pd.DataFrame = table.to_pandas()
    return frame


class _Reading:
    """Converts the columns of a frame, and collects what is wrong with them.

    Attributes
    ----------
    inputs : dict of str to Series or ndarray
        The model's inputs.
    problems : list of InputProblem
    notes : dict of int to tuple of str
    """

    def __init__(self, frame: pd.DataFrame, raw: RawColumns, first_row: int) -> None:
        self.problems: list[InputProblem] = []
        self.notes: dict[int, tuple[str, ...]] = {}
        self.inputs: dict[str, Any] = {}
        self._first_row = first_row
        names = {column.name: raw.name_of(column, frame.columns) for column in raw.columns}
        given = [(column, name) for column in raw.columns if (name := names[column.name]) is not None]
        times_are_valid = self._check_times(frame, raw, any(column.needs_time for column, _ in given))
        for column, name in given:
            cells = frame[name]
            if column.needs_time and not times_are_valid:
                self.inputs |= dict.fromkeys(column.recipe.outputs, np.full(len(frame), np.nan))
            elif column.is_number and column.recipe.kind == "boolean" and _is_numeric(cells):
                self._add_column(column, cells, {column.recipe.outputs[0]: _floats(cells)})
            else:
                table = frame[[raw.time.name]] if raw.time is not None and column.needs_time else frame[[]]
                converted = raw.inputs_of(table.assign(**{column.name: cells}), [column])
                self._add_column(column, cells, dict(converted.items()))
        for column in raw.columns:
            if names[column.name] is None:
                for field in column.inputs:
                    self._add_part(field, frame[field.name])

    def add(self, row: int, field: str, got: object, expected: str) -> None:
        """Add a problem in a cell."""
        self.problems.append(problem(self._first_row + row, field, got, expected, None))

    def _check_times(self, frame: pd.DataFrame, raw: RawColumns, is_needed: bool) -> bool:
        """Return whether all rows have a valid time of their own; add the problems of those that do not."""
        if raw.time is None or not is_needed:
            return True
        cells = frame[raw.time.name]
        wrong = np.flatnonzero(~raw.has_time(cells))[:MAX_LISTED].tolist()
        for row in wrong:
            self.add(row, raw.time.name, _received(cells, row), date_kind(raw.time.date_format))
        return not wrong

    def _add_column(self, column: RawColumn, cells: pd.Series[Any], converted: Mapping[Any, Any]) -> None:
        import pandas as pd

        self.inputs |= converted
        first = pd.Series(converted[column.recipe.outputs[0]])
        if not column.nullable:
            for row in np.flatnonzero(first.isna().to_numpy())[:MAX_LISTED].tolist():
                self.add(row, column.name, _received(cells, row), column.expected)
        elif column.recipe.parts != ("filled",):
            for row in sorted(invalid_cells(cells, first)):
                note = column.warning(_received(cells, row))
                position = self._first_row + row
                self.notes[position] = (*self.notes.get(position, ()), note)

    def _add_part(self, field: InputColumn, cells: pd.Series[Any]) -> None:
        """Add an input that was sent as such, such as the month of a date."""
        values = _floats(cells) if _is_numeric(cells) else np.array([_parsed(cell) for cell in cells], dtype=np.float64)
        missing = np.isnan(values)
        wrong = missing & cells.notna().to_numpy() if field.nullable else missing
        for row in np.flatnonzero(wrong)[:MAX_LISTED].tolist():
            self.add(row, field.name, _received(cells, row), field.expected)
        self.inputs[field.name] = values


def _used(raw: RawColumns, names: Collection[str]) -> list[str]:
    """Return the names of the columns that inputs are made from, as given."""
    used = [name for column in raw.columns for name in raw.names_of(column, names)]
    return [*used, raw.time.name] if raw.time is not None and raw.time.name in names else used


def _is_given(field: InputColumn, raw: RawColumns, names: Collection[str]) -> bool:
    return field.name in names or any(
        column.name in names for column in raw.columns if field.name in column.recipe.outputs
    )


def _is_plain(kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        types.is_null(kind)
        or types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_temporal(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
    )


def _is_numeric(cells: pd.Series[Any]) -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(cells.dtype) and not pd.api.types.is_bool_dtype(cells.dtype)


def _floats(cells: pd.Series[Any]) -> Any:  # noqa: ANN401 - an array
    return cells.to_numpy(dtype=np.float64, na_value=np.nan)


def _parsed(cell: object) -> float:
    """Return a number that was sent as text; NaN if it is not one."""
    try:
        return float(str(cell))
    except ValueError:
        return float("nan")


def _received(cells: pd.Series[Any], row: int) -> object:
    value = cells.iloc[row]
    return None if value is None or value != value else value.item() if isinstance(value, np.generic) else value


def _text_column(values: pd.Series[Any]) -> TextColumn:
    import pandas as pd

    codes, texts = pd.factorize(values)
    return TextColumn([*texts.tolist(), None], np.where(codes < 0, len(texts), codes))
