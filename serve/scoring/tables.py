"""The checks of records, applied to the columns of Arrow tables from any file format."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.input_column import LARGEST, InputColumn
from serve.scoring.fields import Inputs, RecordBlock, name_problems
from serve.scoring.problems import MAX_LISTED, InputProblem, InvalidInput, problem
from serve.scoring.text_columns import TextColumn, buffer_values, null_mask, text_column

if TYPE_CHECKING:
    import pyarrow as pa


def read_csv(data: bytes, inputs: Inputs, texts: Collection[str] = ()) -> pa.Table:
    """Return the table in a CSV file, with each input column in its field's type; an empty cell is null.

    Parameters
    ----------
    data : bytes
        UTF-8, with a header.
    inputs : Inputs
    texts : collection of str
        Names of further columns to read as text; the reader infers the types of all others.

    Raises
    ------
    InvalidInput
        If the data is not CSV, or cells of number fields are not numbers; lists all of them.
    """
    import pyarrow as pa

    types = {name: pa.string() for name in texts}
    types |= {field.name: pa.float64() if field.number else pa.string() for field in inputs.fields}
    try:
        return parse_csv(data, types)
    except ValueError as error:  # Arrow's errors, and the error for names that are not UTF-8
        problems = _csv_problems(data, inputs, texts)
        if problems:
            raise InvalidInput(problems) from error
        message = f"The body is not a CSV table with a header: {error}."
        raise InvalidInput([problem(None, "", "", "a CSV table with a header", None, message)]) from error


def parse_csv(data: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Parse comma-separated UTF-8 with the types of some columns; an empty cell is null.

    Raises
    ------
    ValueError
        If the data does not parse.
    """
    import pyarrow as pa
    from pyarrow import csv

    options = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    table = csv.read_csv(pa.BufferReader(data), convert_options=options)
    table.column_names  # raises where they are not UTF-8  # noqa: B018
    return table


def _csv_problems(data: bytes, inputs: Inputs, allowed: Collection[str]) -> list[InputProblem]:
    """Return the wrong columns and the cells that are not numbers; empty if the file is not even text."""
    import pyarrow as pa

    try:
        table = parse_csv(data, {field.name: pa.string() for field in inputs.fields})
    except ValueError:
        return []
    problems = _column_problems(table.column_names, inputs, allowed)
    for name, column in zip(table.column_names, table.columns, strict=True):
        field = inputs.by_name.get(name)
        if field is None or not field.number:
            continue
        for row, text in enumerate(column.to_pylist()):
            if text is not None and not _is_number(text.strip(" \t")):
                problems.append(problem(row, name, text, field.expected, None))
                if len(problems) > MAX_LISTED:
                    return problems
    return problems


def check_intact(table: pa.Table) -> None:
    """Check the buffers of a table: a file may point outside them, or contain invalid UTF-8.

    Raises
    ------
    InvalidInput
        If the table is corrupt.
    """
    import pyarrow as pa

    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        message = f"The table is corrupt: {error}. Write it again."
        raise InvalidInput([problem(None, "", "a corrupt table", "a valid table", None, message)]) from error


def check_columns(table: pa.Table, inputs: Inputs, allowed: Collection[str]) -> None:
    """Check the names and types of a table's columns.

    Parameters
    ----------
    table : pyarrow Table
    inputs : Inputs
    allowed : collection of str
        Names of further columns to ignore.

    Raises
    ------
    InvalidInput
        If columns are missing, unknown, repeated or of the wrong type; lists all of them.
    """
    check_intact(table)
    names = table.column_names
    problems = _column_problems(names, inputs, allowed)
    for field in inputs.fields:
        count = names.count(field.name)
        if count > 1:
            message = f"The column {field.name} appears {count} times; expected once."
            problems.append(problem(None, field.name, count, "one column of this name", None, message))
        elif count == 1 and not _type_fits(field, table.schema.field(field.name).type):
            got = str(table.schema.field(field.name).type)
            expected = "numbers" if field.number else "text"
            message = f"The column {field.name} has the type {got}; expected {expected}."
            problems.append(problem(None, field.name, got, expected, None, message))
    if problems:
        raise InvalidInput(problems)


def block_of(table: pa.Table, inputs: Inputs, first_row: int) -> tuple[RecordBlock, list[InputProblem]]:
    """Return the values of a table whose columns were checked, and the problems in its cells.

    Parameters
    ----------
    table : pyarrow Table
        A slice of a few thousand rows.
    inputs : Inputs
    first_row : int
        Number of its first row within the whole table.
    """
    problems: list[InputProblem] = []
    numbers = np.empty((table.num_rows, len(inputs.numbers)))
    for position, field in enumerate(inputs.numbers):
        numbers[:, position] = numbers_of(table.column(field.name))
    bad = np.abs(numbers) > LARGEST
    bad |= np.isnan(numbers) & np.array([not field.nullable for field in inputs.numbers], dtype=np.bool_)
    for position in np.flatnonzero(bad.any(axis=0)).tolist():
        field = inputs.numbers[position]
        for row in np.flatnonzero(bad[:, position])[:MAX_LISTED].tolist():
            value = float(numbers[row, position])
            got = None if np.isnan(value) else value
            problems.append(problem(first_row + row, field.name, got, field.expected, None))
    categories: list[TextColumn] = []
    for field in inputs.categories:
        column = text_column(table.column(field.name))
        if not field.nullable:
            nulls = column.rows(lambda text: text is None)[:MAX_LISTED]
            problems += [problem(first_row + row, field.name, None, field.expected, None) for row in nulls]
        categories.append(column)
    return RecordBlock(numbers, categories), problems


def numbers_of(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column as float64, NaN where null."""
    import pyarrow as pa

    combined = column.cast(pa.float64(), safe=False).combine_chunks()
    values = buffer_values(combined)
    if combined.null_count:
        values[null_mask(combined)] = np.nan
    return values


def _column_problems(names: Sequence[str], inputs: Inputs, allowed: Collection[str]) -> list[InputProblem]:
    extra = [name for name in names if name not in inputs.by_name and name not in allowed]
    return name_problems([field for field in inputs.fields if field.name not in names], extra, inputs.by_name, None)


def _type_fits(field: InputColumn, kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_null(kind):
        return True
    if field.number:
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_number(text: str) -> bool:
    import pyarrow as pa

    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
