"""Check a table against a model's schema, and convert it to the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from mlsys.errors import DataError, closest
from mlsys.runs.input_column import NUMBER, TEXT, input_columns
from mlsys.text import counted


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
        If columns are missing, unknown, duplicated or of the wrong type; lists all of them as a diff.
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
    dtypes = {column.name: column.dtype for column in input_columns(schema)}
    if problems := _diff(frame, dtypes):
        raise DataError(
            f"The columns do not match the model's {counted(len(dtypes), 'input')} "
            "(- missing, + unknown, ! wrong type):\n  "
            + "\n  ".join(problems)
            + "\nRename, drop or convert columns; the run's schema.json describes each input."
        )
    columns = {name: _converted(frame[name], dtype) for name, dtype in dtypes.items()}
    return pd.DataFrame(columns, index=frame.index, columns=list(dtypes))


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
