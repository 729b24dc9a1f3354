"""LightGBM by its own library: one call for single rows, another for batches and contributions."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.text import counted
from serve.scoring.models.native import shared_library

PROBABILITY, CONTRIBUTIONS = 0, 3  # types of prediction
FLOAT64 = 1  # type of data
ROW_MAJOR = 1
ONE_THREAD = b"num_threads=1"

Floats = NDArray[np.float64]


class LightgbmBooster:
    """A booster in LightGBM's library that predicts on one thread.

    Parameters
    ----------
    text : str
        The saved model.
    width : int
        Number of columns in an encoded row.
    trees_used : int
        Number of trees to use, from the first; 0 or less for all.

    Notes
    -----
    `probability` reuses one buffer, so only one thread may call it.
    """

    def __init__(self, text: str, width: int, trees_used: int) -> None:
        self._library = shared_library("lightgbm")
        self._library.LGBM_GetLastError.restype = ctypes.c_char_p
        self._handle, self._single = ctypes.c_void_p(), ctypes.c_void_p()
        self._width, self._used = width, trees_used if trees_used > 0 else -1
        trees, columns, classes = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self._call("LGBM_BoosterLoadModelFromString", text.encode(), ctypes.byref(trees), ctypes.byref(self._handle))
        self._call("LGBM_BoosterGetNumFeature", self._handle, ctypes.byref(columns))
        self._call("LGBM_BoosterGetNumClasses", self._handle, ctypes.byref(classes))
        if columns.value != width or classes.value != 1:
            raise RunError(
                f"The LightGBM model expects {counted(columns.value, 'column')} and returns "
                f"{counted(classes.value, 'number')} per row; expected "
                f"{counted(width, 'column')} and 1 number: train again."
            )
        self._prepare()

    def __del__(self) -> None:
        if getattr(self, "_single", None):
            self._library.LGBM_FastConfigFree(self._single)
        if getattr(self, "_handle", None):
            self._library.LGBM_BoosterFree(self._handle)

    def probability(self, row: Sequence[float]) -> float:
        """Return the probability of one encoded row."""
        self._pack(self._buffer, 0, *row)
        if self._predict_one(*self._arguments) != 0:
            raise self._error("LGBM_BoosterPredictForMatSingleRowFast")
        return self._result.value

    def probabilities(self, rows: Floats) -> Floats:
        """Return the probability of each row, shape (n_rows,)."""
        return self._predict(rows, PROBABILITY, 1)[:, 0]

    def contributions(self, rows: Floats) -> Floats:
        """Return the SHAP values of each row, the bias last, shape (n_rows, width + 1)."""
        return self._predict(rows, CONTRIBUTIONS, self._width + 1)

    def _prepare(self) -> None:
        """Prepare the arguments that the call for single rows uses each time."""
        self._buffer = (ctypes.c_double * self._width)()
        self._pack = Struct(f"{self._width}d").pack_into
        self._result, self._length = ctypes.c_double(), ctypes.c_int64()
        options = (ctypes.c_int(PROBABILITY), ctypes.c_int(0), ctypes.c_int(self._used), ctypes.c_int(FLOAT64))
        width = ctypes.c_int32(self._width)
        name = "LGBM_BoosterPredictForMatSingleRowFastInit"
        self._call(name, self._handle, *options, width, ONE_THREAD, ctypes.byref(self._single))
        self._predict_one = self._library.LGBM_BoosterPredictForMatSingleRowFast
        self._arguments = (self._single, self._buffer, ctypes.byref(self._length), ctypes.byref(self._result))

    def _predict(self, rows: Floats, kind: int, per_row: int) -> Floats:
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        result, length = np.empty((len(rows), per_row)), ctypes.c_int64()
        self._call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            rows.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int(FLOAT64),
            ctypes.c_int32(rows.shape[0]),
            ctypes.c_int32(rows.shape[1]),
            ctypes.c_int(ROW_MAJOR),
            ctypes.c_int(kind),
            ctypes.c_int(0),
            ctypes.c_int(self._used),
            ONE_THREAD,
            ctypes.byref(length),
            result.ctypes.data_as(ctypes.c_void_p),
        )
        if length.value != result.size:
            raise RunError(
                f"LightGBM returned {counted(length.value, 'number')}; expected {result.size:,}: train again."
            )
        return result

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self._library, name)(*arguments) != 0:
            raise self._error(name)

    def _error(self, name: str) -> RunError:
        reason = (self._library.LGBM_GetLastError() or b"no reason").decode(errors="replace")
        return RunError(f"LightGBM rejected the model or its input ({name}): {reason}.")
