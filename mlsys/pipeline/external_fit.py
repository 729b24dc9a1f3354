"""XGBoost's fit on rows that stay on disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from traceback import clear_frames
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.data.scratch import scratch_folder
from mlsys.errors import DataError
from mlsys.memory import GB
from mlsys.pipeline.bins import WeightedRows, bin_edges, binned
from mlsys.pipeline.encoded_batches import EncodedBatches

# What XGBoost writes to disk at most: 2 bytes per value without missing values and with up to 256 bins.
CACHE_BYTES_PER_VALUE, CACHE_BYTES_PER_ROW = 8, 16


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

    The edges of all bins come from ``X`` alone, also those of the validation rows.

    Raises
    ------
    DataError
        If there is not enough free space on the disk.
    """
    parameters = estimator.get_params()
    weights: Sequence[NDArray[np.float64] | None] = sample_weight_eval_set or [None] * len(eval_set)
    rows = WeightedRows(X, y, sample_weight)
    validation = [WeightedRows(*pair, weight) for pair, weight in zip(eval_set, weights, strict=True)]
    _check_space(X.rows.folder, [rows, *validation])
    with scratch_folder(X.rows.folder) as folder:
        try:
            model = _trained(estimator, rows, validation, folder, verbose=verbose)
        except Exception as error:
            clear_frames(error.__traceback__)  # XGBoost warns of files that are removed before its matrices
            raise
    estimator.load_model(model)
    estimator.set_params(**parameters)  # loading has set some from the model


def _trained(
    estimator: Any,  # noqa: ANN401
    rows: WeightedRows,
    validation: Sequence[WeightedRows],
    folder: Path,
    *,
    verbose: bool,
) -> bytearray:
    """Return a trained model; XGBoost's files are no longer in use then."""
    from xgboost import train

    edges, weights = bin_edges(estimator, rows, folder), estimator.feature_weights
    training = binned(estimator, rows, folder / "training", edges, feature_weights=weights)
    booster = train(
        estimator.get_xgb_params() | {"eval_metric": estimator.eval_metric},
        training,
        estimator.get_num_boosting_rounds(),
        evals=[  # named as in XGBoost's own fit
            (binned(estimator, each, folder / f"validation_{number}", training), f"validation_{number}")
            for number, each in enumerate(validation)
        ],
        early_stopping_rounds=estimator.early_stopping_rounds,
        callbacks=estimator.callbacks,
        verbose_eval=verbose,
    )
    return booster.save_raw()


def _check_space(folder: Path, parts: Sequence[WeightedRows]) -> None:
    """Raise DataError if the disk is too full: XGBoost ends the process when it cannot write."""
    shapes = [part.X.rows.shape for part in parts]
    needed = sum(rows * (CACHE_BYTES_PER_ROW + CACHE_BYTES_PER_VALUE * columns) for rows, columns in shapes)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"fit.external_memory needs {needed / GB:.2g} GB of disk space in {folder}, but {free / GB:.2g} GB are "
            "free. Free some space there, or choose a folder on another disk with data.cache_dir=…"
        )
