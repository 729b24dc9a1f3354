"""Check a table against a model's schema, and convert it to the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.errors import DataError, closest
from mlsys.runs.input_column import NUMBER, TEXT, InputColumn, input_columns
from mlsys.text import counted

LEAVE_EMPTY = "Fix these cells, or leave them empty where the value is not known."


def to_inputs(frame: pd.DataFrame, schema: Mapping[str, Any]) -> pd.DataFrame:
    """Convert a table to the model's inputs.

    Parameters
    ----------
    frame : DataFrame of shape (n, k)
        The inputs in any order, and no other columns. An input of dtype "float64" may have any numeric dtype (missing:
        NaN or None); one of dtype "string" may be text or a categorical of text.
    schema : mapping
        Content of schema.json.

    Returns
    -------
    DataFrame of shape (n, k)
        Columns in the schema's order, as float64 or pandas ``str``, with NaN for missing values. Keeps the index.

    Raises
    ------
    DataError
        If columns are missing, unknown, duplicated or of the wrong type; lists all of them as a diff. If an input that
        takes only a few values has another one.
    RunError
        If the schema is invalid.

    Examples
    --------
    >>> schema = {"inputs": [{"name": "users", "dtype": "float64", "nullable": True},
    ...                      {"name": "industry", "dtype": "string", "nullable": True}]}
    >>> to_inputs(pd.DataFrame({"industry": ["Retail", None], "users": [3, None]}), schema)
       users industry
    0    3.0   Retail
    1    NaN      NaN
    """
    described = input_columns(schema)
    dtypes = {column.name: column.dtype for column in described}
    if problems := _diff(frame, dtypes):
        raise DataError(
            f"The columns do not match the model's {counted(len(dtypes), 'input')} "
            "(- missing, + unknown, ! wrong type):\n  "
            + "\n  ".join(problems)
            + "\nRename, drop or convert columns; the run's schema.json describes each input."
        )
    columns = {name: _converted(frame[name], dtype) for name, dtype in dtypes.items()}
    inputs = pd.DataFrame(columns, index=frame.index, columns=list(dtypes))
    refused = {column: is_refused(column, inputs[column.name]) for column in described if column.allowed}
    if lines := [refusal(column, frame[column.name], rows) for column, rows in refused.items() if rows.any()]:
        raise DataError("\n".join(["These inputs have a value that the model cannot use:", *lines, LEAVE_EMPTY]))
    return inputs


def is_refused(column: InputColumn, values: pd.Series[Any]) -> NDArray[np.bool_]:
    """Return which values an input does not take although they are not missing, shape (n_rows,).

    Parameters
    ----------
    column : InputColumn
        One that takes only a few values.
    values : Series of shape (n_rows,)
    """
    return (values.notna() & ~values.isin(list(column.allowed_values))).to_numpy()


def refusal(column: InputColumn, cells: pd.Series[Any], rows: NDArray[np.bool_]) -> str:
    """Return one line on an input that takes only a few values, and the rows that have another one.

    Parameters
    ----------
    column : InputColumn
    cells : Series of shape (n_rows,)
        What was given.
    rows : ndarray of bool, shape (n_rows,)
        Which cells are wrong, at least one.

    Examples
    --------
    >>> from mlsys.runs.input_column import AllowedValue
    >>> arms = (AllowedValue("0", 0.0), AllowedValue("1", 1.0))
    >>> mailed = InputColumn("mailed", number=True, nullable=True, allowed=arms)
    >>> refusal(mailed, pd.Series([1, 7, 0], name="mailed"), np.array([False, True, False]))
    '  mailed: 1 row, the first is row 2 with 7; expected 0 or 1, or null'
    """
    first = int(rows.argmax())
    value = cells.iloc[first]
    got = repr(value.item() if isinstance(value, np.generic) else value)
    where = f"{cells.name}: {counted(int(rows.sum()), 'row')}, the first is row {first + 1}"
    return f"  {where} with {got}; expected {column.expected}"


def _diff(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> list[str]:
    unknown = [str(name) for name in frame.columns if name not in dtypes]
    lines = []
    for name, dtype in dtypes.items():
        count = int((frame.columns == name).sum())
        if count == 0:
            near = closest(name, unknown)
            lines.append(f"- {name} ({dtype})" + (f" (closest: {near})" if near else ""))
        elif count > 1:
            lines.append(f"+ {name} appears {count} times")
        elif (got := _mistyped(frame[name], dtype)) is not None:
            lines.append(f"! {name} must be {dtype}, got {got}")
    return lines + [f"+ {name}" for name in unknown]


def _mistyped(column: pd.Series[Any], dtype: str) -> str | None:
    """Return what a column holds instead of ``dtype``, or None if it matches; an empty column matches any dtype."""
    kind = pd.api.types
    if dtype == NUMBER and kind.is_numeric_dtype(column) and not kind.is_bool_dtype(column):
        return "complex numbers" if kind.is_complex_dtype(column) else None
    if dtype == TEXT and isinstance(column.dtype, pd.StringDtype):
        return None
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column.dropna()
    for value in np.asarray(values, dtype=object):
        fits = isinstance(value, str) if dtype == TEXT else isinstance(value, Real) and not isinstance(value, bool)
        if not fits:
            return f"{type(value).__name__} {value!r}"
    return None


def _converted(column: pd.Series[Any], dtype: str) -> pd.Series[Any]:
    if dtype == TEXT:
        return column.astype("str").where(column.notna(), np.nan).astype("str")
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return column.astype("float64")
    return pd.Series(column.to_numpy(dtype="float64", na_value=np.nan), index=column.index)
