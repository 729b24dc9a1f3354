"""Tables instead of records: the same checks on Arrow columns, whatever file they were read from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.input_column import LARGEST, InputColumn
from serve.scoring.fields import Block, Inputs, name_problems
from serve.scoring.problems import LISTED, InputProblem, InvalidInput, problem
from serve.scoring.text_columns import TextColumn, missing, plain_values, text_column

if TYPE_CHECKING:
    import pyarrow as pa


def read_csv(data: bytes, inputs: Inputs, texts: Collection[str] = ()) -> pa.Table:
    """Return the table in a CSV file, its columns typed as the fields are; an empty cell is null.

    Parameters
    ----------
    data : bytes
        UTF-8, with a header.
    inputs : Inputs
    texts : collection of str
        Further columns that are to be read as text; of any others the reader finds a type.

    Raises
    ------
    InvalidInput
        If it is no CSV, or cells of number fields hold no numbers; names all of them.
    """
    import pyarrow as pa

    types = {name: pa.string() for name in texts}
    types |= {field.name: pa.float64() if field.number else pa.string() for field in inputs.fields}
    try:
        return _read(data, types)
    except ValueError as error:  # Arrow's own are ones, and names that are not UTF-8 give another
        problems = _wrong_cells(data, inputs, texts)
        if problems:
            raise InvalidInput(problems) from error
        message = f"The body is no CSV table with a header: {error}."
        raise InvalidInput([problem(None, "", "", "a CSV table with a header", None, message)]) from error


def _read(data: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    options = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    table = csv.read_csv(pa.BufferReader(data), convert_options=options)
    table.column_names  # raises where they are not UTF-8  # noqa: B018
    return table


def _wrong_cells(data: bytes, inputs: Inputs, allowed: Collection[str]) -> list[InputProblem]:
    """Return which columns and cells of number fields are wrong; nothing where the file is not even text."""
    import pyarrow as pa

    try:
        table = _read(data, {field.name: pa.string() for field in inputs.fields})
    except ValueError:
        return []
    problems = _wrong_names(table.column_names, inputs, allowed)
    for name, column in zip(table.column_names, table.columns, strict=True):
        field = inputs.by_name.get(name)
        if field is None or not field.number:
            continue
        for row, text in enumerate(column.to_pylist()):
            if text is not None and not _is_number(text.strip(" \t")):
                problems.append(problem(row, name, text, field.expected, None))
                if len(problems) > LISTED:
                    return problems
    return problems


def check_columns(table: pa.Table, inputs: Inputs, allowed: Collection[str]) -> None:
    """Check names and types of a table's columns.

    Parameters
    ----------
    table : pyarrow Table
    inputs : Inputs
    allowed : collection of str
        Further columns that may come, which are not looked at.

    Raises
    ------
    InvalidInput
        Naming every column that is missing, unknown, doubled or of another type.
    """
    import pyarrow as pa

    try:
        table.validate(full=True)  # a file can point outside of its buffers, or hold text that is none
    except pa.ArrowInvalid as error:
        message = f"The table is damaged: {error}."
        raise InvalidInput([problem(None, "", "a damaged table", "a whole one", None, message)]) from error
    names = table.column_names
    problems = _wrong_names(names, inputs, allowed)
    for field in inputs.fields:
        count = names.count(field.name)
        if count > 1:
            message = f"The column {field.name} comes {count} times; expected once."
            problems.append(problem(None, field.name, count, "one column of the name", None, message))
        elif count == 1 and not _type_fits(field, table.schema.field(field.name).type):
            got = str(table.schema.field(field.name).type)
            expected = "numbers" if field.number else "text"
            message = f"The column {field.name} is of the type {got}; expected {expected}."
            problems.append(problem(None, field.name, got, expected, None, message))
    if problems:
        raise InvalidInput(problems)


def block_of(table: pa.Table, inputs: Inputs, first_row: int) -> tuple[Block, list[InputProblem]]:
    """Return the values of a table whose columns were checked, and what is wrong with single cells.

    Parameters
    ----------
    table : pyarrow Table
        A slice of a few thousand rows.
    inputs : Inputs
    first_row : int
        The number of its first row.
    """
    problems: list[InputProblem] = []
    numbers = np.empty((table.num_rows, len(inputs.numbers)))
    for position, field in enumerate(inputs.numbers):
        numbers[:, position] = numbers_of(table.column(field.name))
    bad = np.abs(numbers) > LARGEST
    bad |= np.isnan(numbers) & [not field.nullable for field in inputs.numbers]
    for position in np.flatnonzero(bad.any(axis=0)).tolist():
        field = inputs.numbers[position]
        for row in np.flatnonzero(bad[:, position])[:LISTED].tolist():
            value = float(numbers[row, position])
            got = None if np.isnan(value) else value
            problems.append(problem(first_row + row, field.name, got, field.expected, None))
    categories: list[TextColumn] = []
    for field in inputs.categories:
        column = text_column(table.column(field.name))
        if not field.nullable:
            empty = column.rows(lambda text: text is None)[:LISTED]
            problems += [problem(first_row + row, field.name, None, field.expected, None) for row in empty]
        categories.append(column)
    return Block(numbers, categories), problems


def numbers_of(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column's numbers, NaN where null."""
    import pyarrow as pa

    whole = column.cast(pa.float64(), safe=False).combine_chunks()
    values = plain_values(whole)
    if whole.null_count:
        values[missing(whole)] = np.nan
    return values


def _wrong_names(names: Sequence[str], inputs: Inputs, allowed: Collection[str]) -> list[InputProblem]:
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
