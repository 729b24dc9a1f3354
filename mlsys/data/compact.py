"""Columns of a panel in the smallest type that loses nothing, and rows of a frame without a copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mlsys.data.disk_frame import DiskFrame
from mlsys.ranges import positions_of


def compact(values: NDArray[np.float64]) -> NDArray[np.float32] | NDArray[np.float64]:
    """Return numbers as float32 if each of them is exactly the same number then, as counts are.

    Parameters
    ----------
    values : ndarray of float64, shape (n_rows,)

    Examples
    --------
    >>> compact(np.array([3.0, np.nan])).dtype, compact(np.array([0.1])).dtype
    (dtype('float32'), dtype('float64'))
    """
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    return small if np.array_equal(small, values, equal_nan=True) else values


def compact_column(parts: Iterable[pa.ChunkedArray]) -> Any:  # noqa: ANN401 - an array of NumPy or of pandas
    """Return a feature column, given in parts, as the panel has it: a number by `compact`, a text as pandas has it.

    Parameters
    ----------
    parts : iterable of ChunkedArray
        All of the same type.
    """
    parts = list(parts)
    column = pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)
    return compact(column.to_numpy()) if pa.types.is_float64(column.type) else column.to_pandas().array


def frame_of_columns(columns: dict[str, Any]) -> pd.DataFrame:
    """Return a frame of columns of equal length, which shares their memory."""
    return pd.DataFrame(columns, copy=False)


def compact_frame(frame: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return a frame with compact features, each column in memory of its own, so that ranges of rows cost no copy."""
    columns: dict[str, Any] = {}
    for name in frame.columns:
        values = frame[name].array
        is_number = name in features and frame[name].dtype == np.float64
        columns[name] = compact(frame[name].to_numpy(copy=True)) if is_number else values.copy()
    return frame_of_columns(columns)


def columns_of(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return some columns of a frame without a copy; ``frame[names]`` copies them."""
    columns = {name: frame[name] for name in names}
    if isinstance(frame, DiskFrame):
        return DiskFrame.sharing(columns, frame.folder)
    return pd.DataFrame(columns, index=frame.index, copy=False)


def take_rows(frame: pd.DataFrame, rows: NDArray[Any]) -> pd.DataFrame:
    """Return the rows at a mask of shape (n_rows,) or at positions: without a copy where they are a range.

    Other rows of a `DiskFrame` are copied to disk.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    >>> np.shares_memory(take_rows(frame, np.array([1, 2]))["a"], frame["a"])
    True
    """
    positions = positions_of(rows)
    if isinstance(frame, DiskFrame) and not isinstance(positions, slice):
        return frame.stored(positions)
    return frame.iloc[positions]
