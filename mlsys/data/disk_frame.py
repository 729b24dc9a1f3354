"""Frames whose columns are in a file and mapped into memory, for panels that are larger than it.

The operating system reads what is used and drops it again, so such a frame takes address space, but no memory of its
own. Its files have no names: they vanish with the frame, also if the process is killed.
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mlsys.errors import DataError

ALIGNMENT = 64  # bytes, as Arrow wants it
BATCH_BYTES = 4_000_000  # of numbers that are read at once


class DiskFrame(pd.DataFrame):
    """Rows that are fitted and scored in batches, because their columns are on disk.

    What pandas derives from it, such as a range of rows, is a `DiskFrame` too.

    Attributes
    ----------
    folder : Path
        Where further rows can be stored.

    Examples
    --------
    >>> frame = DiskFrame.of([("seats", np.array([1.0, 2.0, 3.0]))], Path())
    >>> [len(batch) for batch in frame.batches(rows=2)], frame.stored(np.array([2, 0]))["seats"].tolist()
    ([2, 1], [3.0, 1.0])
    """

    _metadata = ["folder"]  # noqa: RUF012 - as pandas wants it
    folder: Path

    @property
    def _constructor(self) -> Callable[..., DiskFrame]:
        return DiskFrame

    @classmethod
    def of(cls, columns: Iterable[tuple[str, Any]], folder: Path) -> DiskFrame:
        """Store columns in a file, and return a frame of them; see `stored_columns`."""
        return cls.sharing(stored_columns(columns, folder), folder)

    @classmethod
    def sharing(cls, columns: Mapping[str, Any], folder: Path) -> DiskFrame:
        """Return a frame of columns that are on disk already."""
        frame = cls(columns, copy=False)
        frame.folder = folder
        return frame

    def stored(self, positions: NDArray[Any]) -> DiskFrame:
        """Return the rows at some positions, in a file of their own."""
        return self.of(((str(name), self[name].array.take(positions)) for name in self.columns), self.folder)

    def batches(self, rows: int | None = None) -> Iterator[DiskFrame]:
        """Yield all rows in batches, by default of 4 MB."""
        size = rows or max(BATCH_BYTES // (4 * max(self.shape[1], 1)), 1)
        for start in range(0, len(self), size):
            yield self.iloc[start : start + size]


def batches_of(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a frame: as it is, or in batches if it is on disk."""
    return frame.batches() if isinstance(frame, DiskFrame) else iter((frame,))


def stored_columns(columns: Iterable[tuple[str, Any]], folder: Path) -> dict[str, Any]:
    """Store columns of equal length in a file without a name; return them by name, mapped into memory.

    Parameters
    ----------
    columns : iterable of (str, array)
        Arrays of NumPy or of pandas; each is needed only until the next one.
    folder : Path

    Raises
    ------
    DataError
        If the disk is full, or the folder cannot be written.
    """
    places: dict[str, tuple[np.dtype[Any] | None, int, int]] = {}
    try:
        with TemporaryFile(prefix="mlsys-", dir=folder) as file:
            for name, column in columns:
                file.seek(-file.tell() % ALIGNMENT, 1)
                start, values = file.tell(), column if isinstance(column, np.ndarray) else _numbers(column)
                if values is None:
                    _write_texts(file, column)
                else:
                    file.write(np.ascontiguousarray(values).view(np.uint8).data)
                places[name] = (None if values is None else values.dtype, start, file.tell() - start)
            file.truncate(max(file.tell(), 1))  # an empty file cannot be mapped
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(_cannot_write(folder, error)) from error
    return {name: _mapped(mapped, *place) for name, place in places.items()}


def _cannot_write(folder: Path, error: OSError) -> str:
    full = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
    return (
        f"Cannot store the panel's columns in {folder}: {full}. Free some space there, or choose a folder on another "
        "disk with data.cache_dir=…"
    )


def _numbers(column: Any) -> NDArray[Any] | None:  # noqa: ANN401 - an array of pandas
    """Return a column of pandas as the array of NumPy that it wraps; None for texts."""
    return column.to_numpy() if isinstance(column.dtype, np.dtype) and column.dtype != object else None


def _write_texts(file: Any, column: Any) -> None:  # noqa: ANN401
    texts = pa.chunked_array(pa.array(column, from_pandas=True))
    table = pa.table({"texts": texts.cast(pa.large_string()) if pa.types.is_string(texts.type) else texts})
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _mapped(mapped: mmap.mmap, dtype: np.dtype[Any] | None, start: int, size: int) -> Any:  # noqa: ANN401
    if dtype is not None:
        return np.frombuffer(mapped, dtype, size // dtype.itemsize, start)
    return pa.ipc.open_stream(pa.py_buffer(mapped).slice(start, size)).read_all().column(0).to_pandas().array
