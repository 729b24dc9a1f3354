"""Rows that an encoder encodes batch by batch, and XGBoost's fit on them, which needs no memory for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.compact import take_rows
from mlsys.data.disk_frame import DiskFrame
from mlsys.data.scratch import scratch_folder
from mlsys.errors import DataError
from mlsys.memory import GB

# What XGBoost writes to disk; measured with 2 to 500 columns.
CACHE_BYTES_PER_VALUE, CACHE_BYTES_PER_ROW = 2, 16


@dataclass(frozen=True)
class EncodedBatches:
    """Rows on disk, as a fitted encoder encodes them.

    Attributes
    ----------
    encoder : transformer
        Fitted.
    rows : DiskFrame of shape (n_rows, n_features)
        Panel columns.
    """

    encoder: Any
    rows: DiskFrame

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield the encoded rows in batches."""
        return (self.encoder.transform(batch) for batch in self.rows.batches())

    def take(self, positions: NDArray[Any]) -> EncodedBatches:
        """Return the rows at some positions, which may repeat."""
        rows = take_rows(self.rows, positions)
        assert isinstance(rows, DiskFrame)
        return EncodedBatches(self.encoder, rows)

    @property
    def cache_bytes(self) -> int:
        """About what XGBoost writes to disk for these rows."""
        rows, columns = self.rows.shape
        return rows * (CACHE_BYTES_PER_ROW + CACHE_BYTES_PER_VALUE * columns)


_Rows: TypeAlias = tuple[EncodedBatches, NDArray[np.int8], NDArray[np.float64] | None]  # with labels and weights


def transformed(encoder: Any, inputs: pd.DataFrame) -> pd.DataFrame | EncodedBatches:  # noqa: ANN401 - fitted transformer
    """Return rows as a fitted encoder encodes them: all at once, or in batches if they are on disk."""
    return EncodedBatches(encoder, inputs) if isinstance(inputs, DiskFrame) else encoder.transform(inputs)


def fit_xgboost(
    estimator: Any,  # noqa: ANN401 - an XGBClassifier, unfitted
    X: EncodedBatches,
    y: NDArray[np.int8],
    *,
    sample_weight: NDArray[np.float64] | None = None,
    eval_set: Sequence[tuple[EncodedBatches, NDArray[np.int8]]] = (),
    sample_weight_eval_set: Sequence[NDArray[np.float64]] | None = None,
    verbose: bool = False,
) -> None:
    """Fit an XGBClassifier on batches of rows; the parameters are those of its own ``fit``.

    XGBoost keeps the rows on disk, as bins. The edges of all bins come from ``X`` alone, also those of the validation
    rows.

    Raises
    ------
    DataError
        If there is not enough free space on the disk.
    """
    parameters = estimator.get_params()
    _check_space(X.rows.folder, sum(each.cache_bytes for each in (X, *(rows for rows, _ in eval_set))))
    weights: Sequence[NDArray[np.float64] | None] = sample_weight_eval_set or [None] * len(eval_set)
    validation = [(*pair, weight) for pair, weight in zip(eval_set, weights, strict=True)]
    with scratch_folder(X.rows.folder) as folder:
        model = _trained(estimator, (X, y, sample_weight), validation, folder, verbose=verbose)
    estimator.load_model(model)
    estimator.set_params(**parameters)  # loading has set some from the model


def _trained(
    estimator: Any,  # noqa: ANN401
    training_rows: _Rows,
    validation_rows: Sequence[_Rows],
    folder: Path,
    *,
    verbose: bool,
) -> bytearray:
    """Return a trained model; XGBoost's files are no longer in use then."""
    from xgboost import train

    training = _matrix(estimator, training_rows, folder / "training")
    validation = []
    for number, rows in enumerate(validation_rows):
        name = f"validation_{number}"  # as XGBoost's own fit calls it
        validation.append((_matrix(estimator, rows, folder / name, training), name))
    booster = train(
        estimator.get_xgb_params() | {"eval_metric": estimator.eval_metric},
        training,
        estimator.get_num_boosting_rounds(),
        evals=validation,
        early_stopping_rounds=estimator.early_stopping_rounds,
        callbacks=estimator.callbacks,
        verbose_eval=verbose,
    )
    return booster.save_raw()


def _matrix(
    estimator: Any,  # noqa: ANN401
    rows: _Rows,
    cache: Path,
    training: Any = None,  # noqa: ANN401 - an ExtMemQuantileDMatrix, whose bins are used
) -> Any:  # noqa: ANN401 - an ExtMemQuantileDMatrix
    from xgboost import DataIter, ExtMemQuantileDMatrix

    X, labels, weights = rows

    class Batches(DataIter):
        def __init__(self) -> None:
            super().__init__(cache_prefix=str(cache))
            self.reset()

        def reset(self) -> None:
            self._batches, self._start = iter(X), 0

        def next(self, input_data: Any) -> bool:  # noqa: ANN401
            batch = next(self._batches, None)
            if batch is None:
                return False
            part = slice(self._start, self._start + len(batch))
            self._start = part.stop
            options: dict[str, Any] = {} if weights is None else {"weight": weights[part]}
            if estimator.feature_weights is not None:
                options["feature_weights"] = estimator.feature_weights
            input_data(data=batch, label=labels[part], **options)
            return True

    return ExtMemQuantileDMatrix(
        Batches(),
        missing=estimator.missing,
        nthread=estimator.n_jobs,
        max_bin=estimator.max_bin,
        ref=training,
        enable_categorical=estimator.enable_categorical,
    )


def _check_space(folder: Path, needed: int) -> None:
    """Raise DataError if the disk is too full: XGBoost ends the process when it cannot write."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"fit.external_memory needs {needed / GB:.2g} GB of disk space in {folder}, but {free / GB:.2g} GB are "
            "free. Free some space there, or choose a folder on another disk with data.cache_dir=…"
        )
