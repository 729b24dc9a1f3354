"""Columns of text as codes of their different values: what is looked up is looked up once for each value, not row.

Arrow and pandas have such columns too, but take longer to import than the service to start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Text: TypeAlias = str | None


class TextColumn(Sequence[Text]):
    """A column of texts and nulls.

    Parameters
    ----------
    values : list of str or None
        All that occur; some may not.
    codes : ndarray of intp, shape (n_rows,)
        Where each row's value stands among them.

    Examples
    --------
    >>> column = Texts.of(["free", "pro", "free", None])
    >>> column.values, column.codes.tolist()
    (['free', 'pro', None], [0, 1, 0, 2])
    >>> column.map(str, object).tolist()
    ['free', 'pro', 'free', 'None']
    """

    def __init__(self, values: list[Text], codes: NDArray[np.intp]) -> None:
        self.values, self.codes = values, codes

    @classmethod
    def of(cls, column: Sequence[Text]) -> TextColumn:
        """Return a column that is at hand row by row.

        Raises
        ------
        TypeError
            If a value is none that could be a key.
        """
        values = list(dict.fromkeys(column))
        places = {text: place for place, text in enumerate(values)}
        return cls(values, np.fromiter(map(places.__getitem__, column), dtype=np.intp, count=len(column)))

    @classmethod
    def joined(cls, columns: Sequence[TextColumn]) -> TextColumn:
        """Return the rows of several columns, one after the other."""
        if len(columns) == 1:
            return columns[0]
        places: dict[Text, int] = {}
        codes = [np.empty(0, dtype=np.intp)]
        for column in columns:
            own = [places.setdefault(text, len(places)) for text in column.values]
            codes.append(np.array(own, dtype=np.intp)[column.codes])
        return cls(list(places), np.concatenate(codes))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: Any) -> Any:  # noqa: ANN401 - as Sequence has it
        return self.values[self.codes[row]]

    def __iter__(self) -> Iterator[Text]:
        return map(self.values.__getitem__, self.codes.tolist())

    def part(self, start: int, rows: int) -> TextColumn:
        """Return ``rows`` rows from ``start`` on, or as many as there are."""
        codes = self.codes[start : start + rows]
        if len(self.values) <= rows:
            return TextColumn(self.values, codes)
        used, codes = np.unique(codes, return_inverse=True)  # or each part would look up all values
        return TextColumn([self.values[code] for code in used.tolist()], codes)

    def map(self, function: Callable[[Text], Any], dtype: type) -> NDArray[Any]:
        """Return a function's value for each row, as an array of ``dtype``."""
        return np.array([function(text) for text in self.values], dtype=dtype)[self.codes]

    def rows(self, which: Callable[[Text], bool]) -> list[int]:
        """Return the rows whose text is such a one, in order."""
        found = [which(text) for text in self.values]
        return np.flatnonzero(np.array(found, dtype=bool)[self.codes]).tolist() if any(found) else []


def text_column(column: pa.ChunkedArray) -> TextColumn:
    """Return a column of an Arrow table; its type is one of text, a dictionary of texts, or null."""
    return TextColumn.joined([_chunk(chunk) for chunk in column.chunks])


def _chunk(chunk: pa.Array) -> TextColumn:
    import pyarrow as pa

    if pa.types.is_null(chunk.type):
        return TextColumn([None], np.zeros(len(chunk), dtype=np.intp))
    if pa.types.is_string_view(chunk.type):
        chunk = chunk.cast(pa.large_string())
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    known, codes = encoded.dictionary, plain_values(encoded.indices.cast(pa.int64())).astype(np.intp, copy=False)
    empty = missing(encoded.indices) if encoded.indices.null_count else np.zeros(len(codes), dtype=bool)
    codes[empty] = 0
    if len(known) > len(codes):  # that of a larger table, of which this is a part
        used, codes = np.unique(codes, return_inverse=True)
        known = known.take(pa.array(used.tolist(), pa.int64()))
    values = known.to_pylist()
    codes[empty] = len(values)
    return TextColumn([*values, None] if empty.any() else values, codes)


def plain_values(array: pa.Array) -> NDArray[Any]:
    """Return the values of an Arrow array of float64 or int64, whatever stands where they are null.

    By its buffers: whatever turns Arrow into Python or back, as to_numpy and fill_null do, imports pandas.
    """
    import pyarrow as pa

    dtype = np.float64 if pa.types.is_floating(array.type) else np.int64
    if not len(array):
        return np.empty(0, dtype=dtype)
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array), offset=8 * array.offset).copy()


def missing(array: pa.Array) -> NDArray[np.bool_]:
    """Return where an Arrow array that has nulls has them, shape (n_rows,)."""
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], dtype=np.uint8), bitorder="little")
    return np.equal(bits[array.offset : array.offset + len(array)], 0)
