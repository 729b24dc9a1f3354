"""Rows on disk, as a fitted encoder encodes them batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from mlsys.data.compact import take_rows
from mlsys.data.disk_frame import DiskFrame
from mlsys.pipeline.transformers import NativeColumns


@dataclass(frozen=True)
class EncodedBatches:
    """Rows on disk, as a fitted encoder encodes them batch by batch.

    Attributes
    ----------
    encoder : NativeColumns
        Fitted.
    rows : DiskFrame of shape (n_rows, n_features)
        Panel columns.
    """

    encoder: NativeColumns
    rows: DiskFrame

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield the encoded rows in batches."""
        return (self.encoder.transform(batch) for batch in self.rows.batches())

    @property
    def empty(self) -> pd.DataFrame:
        """The encoded columns without rows."""
        return self.encoder.transform(self.rows.iloc[:0])

    def take(self, positions: NDArray[Any]) -> EncodedBatches:
        """Return the rows at some positions, which may repeat."""
        rows = take_rows(self.rows, positions)
        assert isinstance(rows, DiskFrame)
        return EncodedBatches(self.encoder, rows)

    def only(self, columns: slice) -> EncodedBatches:
        """Return some of the encoded columns."""
        encoder = self.encoder.only(columns)
        names = [*encoder.numbers_, *encoder.categories_]
        return EncodedBatches(encoder, DiskFrame.sharing({name: self.rows[name] for name in names}, self.rows.folder))


def transformed(encoder: Any, inputs: pd.DataFrame) -> pd.DataFrame | EncodedBatches:  # noqa: ANN401 - fitted transformer
    """Return rows as a fitted encoder encodes them: all at once, or in batches if they are on disk."""
    return EncodedBatches(encoder, inputs) if isinstance(inputs, DiskFrame) else encoder.transform(inputs)
