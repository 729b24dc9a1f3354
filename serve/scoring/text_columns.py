"""Text columns as codes of their distinct values, so that lookups run once per value instead of once per row.

Arrow and pandas have such columns too, but importing either takes longer than starting the service.
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
    """A column of text and nulls.

    Parameters
    ----------
    values : list of str or None
        All distinct values that occur, and possibly others.
    codes : ndarray of intp, shape (n_rows,)
        Index of each row's value in ``values``.

    Examples
    --------
    >>> column = TextColumn.of(["free", "pro", "free", None])
    >>> column.values, column.codes.tolist()
    (['free', 'pro', None], [0, 1, 0, 2])
    >>> column.map(str, object).tolist()
    ['free', 'pro', 'free', 'None']
    """

    def __init__(self, values: list[Text], codes: NDArray[np.intp]) -> None:
        self.values, self.codes = values, codes

    @classmethod
    def of(cls, column: Sequence[Text]) -> TextColumn:
        """Return a column from its rows.

        Raises
        ------
        TypeError
            If a value is not hashable.
        """
        values = list(dict.fromkeys(column))
        code_of = {text: code for code, text in enumerate(values)}
        return cls(values, np.fromiter(map(code_of.__getitem__, column), dtype=np.intp, count=len(column)))

    @classmethod
    def joined(cls, columns: Sequence[TextColumn]) -> TextColumn:
        """Return several columns concatenated."""
        if len(columns) == 1:
            return columns[0]
        code_of: dict[Text, int] = {}
        codes = [np.empty(0, dtype=np.intp)]
        for column in columns:
            new_codes = [code_of.setdefault(text, len(code_of)) for text in column.values]
            codes.append(np.array(new_codes, dtype=np.intp)[column.codes])
        return cls(list(code_of), np.concatenate(codes))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: Any) -> Any:  # noqa: ANN401 - the signature of Sequence
        return self.values[self.codes[row]]

    def __iter__(self) -> Iterator[Text]:
        return map(self.values.__getitem__, self.codes.tolist())

    def part(self, start: int, rows: int) -> TextColumn:
        """Return up to ``rows`` rows from ``start`` on."""
        codes = self.codes[start : start + rows]
        if len(self.values) <= rows:
            return TextColumn(self.values, codes)
        used, codes = np.unique(codes, return_inverse=True)  # otherwise each part would look up all values
        return TextColumn([self.values[code] for code in used.tolist()], codes)

    def map(self, function: Callable[[Text], Any], dtype: type) -> NDArray[Any]:
        """Return a function's value for each row, as an array of ``dtype``."""
        return np.array([function(text) for text in self.values], dtype=dtype)[self.codes]

    def rows(self, condition: Callable[[Text], bool]) -> list[int]:
        """Return the rows whose text meets a condition, in order."""
        met = [condition(text) for text in self.values]
        return np.flatnonzero(np.array(met, dtype=bool)[self.codes]).tolist() if any(met) else []


def text_column(column: pa.ChunkedArray) -> TextColumn:
    """Return a column of an Arrow table whose type is text, a dictionary of text, or null."""
    return TextColumn.joined([_chunk(chunk) for chunk in column.chunks])


def _chunk(chunk: pa.Array) -> TextColumn:
    import pyarrow as pa

    if pa.types.is_null(chunk.type):
        return TextColumn([None], np.zeros(len(chunk), dtype=np.intp))
    if pa.types.is_string_view(chunk.type):
        chunk = chunk.cast(pa.large_string())
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    dictionary, codes = encoded.dictionary, buffer_values(encoded.indices.cast(pa.int64())).astype(np.intp, copy=False)
    nulls = null_mask(encoded.indices) if encoded.indices.null_count else np.zeros(len(codes), dtype=bool)
    codes[nulls] = 0
    if len(dictionary) > len(codes):  # this is a slice of a larger table
        used, codes = np.unique(codes, return_inverse=True)
        dictionary = dictionary.take(pa.array(used.tolist(), pa.int64()))
    values = dictionary.to_pylist()
    codes[nulls] = len(values)
    return TextColumn([*values, None] if nulls.any() else values, codes)


def buffer_values(array: pa.Array) -> NDArray[Any]:
    """Return the values of an Arrow array of float64 or int64; where it is null they are arbitrary.

    Reads the buffers, because Arrow's own conversions, such as to_numpy and fill_null, import pandas.
    """
    import pyarrow as pa

    dtype = np.float64 if pa.types.is_floating(array.type) else np.int64
    if not len(array):
        return np.empty(0, dtype=dtype)
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array), offset=8 * array.offset).copy()


def null_mask(array: pa.Array) -> NDArray[np.bool_]:
    """Return which values of an Arrow array that has nulls are null, shape (n_rows,)."""
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], dtype=np.uint8), bitorder="little")
    return np.equal(bits[array.offset : array.offset + len(array)], 0)
