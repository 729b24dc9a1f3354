"""Rows as bins on disk, for XGBoost: the edges of the bins come from a few columns at a time, the bins from batches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.pipeline.encoded_batches import EncodedBatches

if TYPE_CHECKING:
    from xgboost import DMatrix, ExtMemQuantileDMatrix, QuantileDMatrix

COLUMNS_AT_ONCE = 8  # of which bin edges are computed


class WeightedRows(NamedTuple):
    """Rows to fit, or to stop by.

    Attributes
    ----------
    X : EncodedBatches of shape (n_rows, n_columns)
    labels : ndarray of int8, shape (n_rows,)
    weights : ndarray of float64, shape (n_rows,), or None
    """

    X: EncodedBatches
    labels: NDArray[np.int8]
    weights: NDArray[np.float64] | None


def binned(
    estimator: Any,  # noqa: ANN401 - an XGBModel
    rows: WeightedRows,
    cache: Path,
    edges: DMatrix | None = None,
    *,
    feature_weights: NDArray[np.float64] | None = None,
) -> ExtMemQuantileDMatrix:
    """Return rows as bins that XGBoost keeps on disk.

    Parameters
    ----------
    estimator : XGBModel
        Its parameters decide how values become bins.
    rows : WeightedRows
    cache : Path
        How the names of XGBoost's files begin; it removes them with the matrix.
    edges : DMatrix, optional
        Matrix that has the edges of the bins; by default they come from the rows.
    feature_weights : ndarray of float64, shape (n_columns,), optional
        How often each column is sampled.
    """
    from xgboost import DataIter, ExtMemQuantileDMatrix

    class Batches(DataIter):
        def __init__(self) -> None:
            super().__init__(cache_prefix=str(cache))
            self.reset()

        def reset(self) -> None:
            self._batches, self._start = iter(rows.X), 0

        def next(self, input_data: Any) -> bool:  # noqa: ANN401
            batch = next(self._batches, None)
            if batch is None:
                return False
            part = slice(self._start, self._start + len(batch))
            self._start = part.stop
            weights = None if rows.weights is None else rows.weights[part]
            input_data(data=batch, label=rows.labels[part], weight=weights, feature_weights=feature_weights)
            return True

    return ExtMemQuantileDMatrix(
        Batches(),
        missing=estimator.missing,
        nthread=estimator.n_jobs,
        max_bin=estimator.max_bin,
        ref=edges,
        enable_categorical=True,
    )


def bin_edges(estimator: Any, rows: WeightedRows, folder: Path) -> QuantileDMatrix:  # noqa: ANN401 - an XGBModel
    """Return a matrix of a few rows that has the same bin edges as all of them.

    XGBoost needs 1 to 4 MB for the quantiles of a column, also if its values take less, so the quantiles of only some
    columns are computed at once. The matrix consists of the edges.

    Parameters
    ----------
    estimator : XGBModel
    rows : WeightedRows
    folder : Path
        For files that are removed at once.
    """
    from xgboost import QuantileDMatrix

    empty = rows.X.empty
    columns: dict[str, pd.Series[Any]] = {}
    for start in range(0, empty.shape[1], COLUMNS_AT_ONCE):
        part = rows.X.only(slice(start, start + COLUMNS_AT_ONCE))
        ends, cuts = _ends(part), _cuts(estimator, rows._replace(X=part), folder)
        for name, low, high, inner in zip(empty.columns[start:], *ends, cuts, strict=False):
            dtype: Any = empty[name].dtype
            if isinstance(dtype, pd.CategoricalDtype):
                codes = np.arange(0 if np.isnan(high) else high + 1)
                columns[name] = pd.Series(pd.Categorical.from_codes(codes.astype(np.int32), dtype=dtype))
            else:
                columns[name] = pd.Series(np.concatenate([[low], inner, [high]]).astype(np.float32))
    return QuantileDMatrix(
        pd.DataFrame(columns),
        missing=estimator.missing,
        nthread=estimator.n_jobs,
        max_bin=estimator.max_bin,
        enable_categorical=True,
    )


def _cuts(estimator: Any, rows: WeightedRows, folder: Path) -> list[NDArray[np.float32]]:  # noqa: ANN401
    """Return the edges between the bins of each column, without those below and above all values."""
    starts, cuts = binned(estimator, rows, folder / "edges").get_quantile_cut()
    return [cuts[start + 1 : end - 1] for start, end in pairwise(starts)]


def _ends(X: EncodedBatches) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the lowest and the highest value of each column, of its codes for a category; NaN for an empty one."""
    low = high = np.full(X.empty.shape[1], np.nan, dtype=np.float32)
    for batch in X:
        numbers = [_numbers(column) for _, column in batch.items()]
        low = np.fmin(low, [np.fmin.reduce(values) for values in numbers])
        high = np.fmax(high, [np.fmax.reduce(values) for values in numbers])
    return low, high


def _numbers(column: pd.Series[Any]) -> NDArray[np.float32]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.codes.where(column.notna())
    return column.to_numpy(dtype=np.float32)
