"""XGBoost: single records by tree traversal, batches and contributions by its own library."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from serve.scoring.models.native import shared_library
from serve.scoring.trees.arrays import Trees, tree_offsets
from serve.scoring.trees.traversal import Traversal, make_traversal

PREDICTION, CONTRIBUTIONS = 0, 2  # types of prediction
CATEGORICAL = 1  # type of split
ONE = np.float32(1)
LARGEST_EXPONENT = float(np.float32(88.7))  # XGBoost's own sigmoid clips here, so that exp stays finite


class XgboostBooster:
    """A booster in XGBoost's library that predicts on one thread.

    Parameters
    ----------
    raw : bytes
        The saved model.
    """

    def __init__(self, raw: bytes) -> None:
        self._library = shared_library("xgboost")
        self._lock = Lock()
        self._library.XGBGetLastError.restype = ctypes.c_char_p
        self._handle = ctypes.c_void_p()
        self._call("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        self._call("XGBoosterUnserializeFromBuffer", self._handle, raw, ctypes.c_uint64(len(raw)))
        self._call("XGBoosterSetParam", self._handle, b"nthread", b"1")
        learner = self.model()["learner"]
        self.trees_used = int(learner["attributes"].get("best_iteration", -1)) + 1  # 0: all

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.XGBoosterFree(self._handle)

    def model(self) -> dict[str, Any]:
        """Return the model in XGBoost's JSON format."""
        length, text = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_char)()
        arguments = (self._handle, b'{"format": "json"}', ctypes.byref(length), ctypes.byref(text))
        self._call("XGBoosterSaveModelToBuffer", *arguments)
        model: dict[str, Any] = json.loads(ctypes.string_at(text, length.value))
        return model

    def predictions(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each row, or the value of a regression, shape (n_rows,)."""
        return self._predict(rows, PREDICTION)

    def contributions(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the SHAP values of each row, the bias last, shape (n_rows, width + 1)."""
        with self._lock:  # only the library's in-place predictions are thread-safe
            return self._predict(rows, CONTRIBUTIONS)

    def _predict(self, rows: NDArray[np.float32], kind: int) -> NDArray[np.float32]:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        array = {"data": (rows.ctypes.data, True), "typestr": rows.dtype.str, "shape": rows.shape, "version": 3}
        config = {
            "type": kind,
            "training": False,
            "iteration_begin": 0,
            "iteration_end": self.trees_used,
            "strict_shape": False,
            "missing": math.nan,
        }
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        result = ctypes.POINTER(ctypes.c_float)()
        pointers = (ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(result))
        if kind == PREDICTION:
            self._call("XGBoosterPredictFromDense", self._handle, _json(array), _json(config), None, *pointers)
        else:
            self._predict_matrix(_json(array), _json(config), pointers)
        size = tuple(shape[axis] for axis in range(dimensions.value))
        return np.ctypeslib.as_array(result, shape=size).copy()  # the library reuses its buffer

    def _predict_matrix(self, array: bytes, config: bytes, pointers: Sequence[Any]) -> None:
        """Predict what the in-place call does not support."""
        matrix = ctypes.c_void_p()
        options = _json({"missing": math.nan, "nthread": 1})
        self._call("XGDMatrixCreateFromDense", array, options, ctypes.byref(matrix))
        try:
            self._call("XGBoosterPredictFromDMatrix", self._handle, matrix, config, *pointers)
        finally:
            self._library.XGDMatrixFree(matrix)

    def _call(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 - what ctypes takes
        if getattr(self._library, name)(*arguments) != 0:
            lines = (self._library.XGBGetLastError() or b"").decode(errors="replace").strip().splitlines()
            raise RunError(f"XGBoost rejected the model or its input ({name}): {lines[0] if lines else 'no reason'}.")


class XgboostTraversal:
    """The sum of XGBoost's trees for one record, bit for bit as the library adds them.

    Parameters
    ----------
    traversal : Traversal
        Traversal of the trees in float32.
    start : float
        Log odds, or the value of a regression, that the trees start from.
    """

    def __init__(self, traversal: Traversal, start: float) -> None:
        self.implementation = traversal.implementation
        self._sum = traversal.sum
        self._base = start

    def margin(self, row: Sequence[float]) -> float:
        """Return the log odds, or the value of a regression."""
        return self._sum(row, self._base)

    def probability(self, row: Sequence[float]) -> float:
        """Return the probability, rounded as in the library."""
        exponent = np.float32(math.exp(min(-self._sum(row, self._base), LARGEST_EXPONENT)))
        return float(ONE / (exponent + ONE))


def xgboost_traversal(booster: XgboostBooster, width: int) -> XgboostTraversal | str:
    """Return a traversal of a booster's trees, or the reason why there is none.

    Parameters
    ----------
    booster : XgboostBooster
    width : int
        Number of columns in an encoded row.
    """
    learner = booster.model()["learner"]
    objective = learner["objective"]["name"]
    if objective not in _START:
        return f"its objective is {objective}"
    if learner["gradient_booster"]["name"] != "gbtree":
        return f"its booster is {learner['gradient_booster']['name']}"
    model = learner["gradient_booster"]["model"]
    parallel = int(model["gbtree_model_param"].get("num_parallel_tree", "1"))
    used = booster.trees_used * parallel or len(model["trees"])
    if not model["trees"]:
        return "it has no trees"
    base = json.loads(learner["learner_model_param"]["base_score"])
    traversal = make_traversal(_joined(model["trees"][:used]), width)
    return XgboostTraversal(traversal, _START[objective](float(base[0] if isinstance(base, list) else base)))


def _log_odds(probability: float) -> float:
    # The rounded float64 logarithm equals the library's to the last bit; np.log of float32 does not always.
    return float(np.float32(-math.log(ONE / np.float32(probability) - ONE)))


# What the trees start from, from the saved base score, by objective.
_START: dict[str, Callable[[float], float]] = {
    "binary:logistic": _log_odds,
    "reg:squarederror": lambda value: float(np.float32(value)),
}


def _joined(trees: Sequence[dict[str, Any]]) -> Trees:
    sizes = [len(tree["left_children"]) for tree in trees]
    roots, offsets = tree_offsets(sizes)
    left, right = _column(trees, "left_children", np.intp), _column(trees, "right_children", np.intp)
    conditions = _column(trees, "split_conditions", np.float32)
    return Trees(
        roots=roots,
        left=np.where(left < 0, -1, left + offsets),
        right=np.where(right < 0, -1, right + offsets),
        feature=_column(trees, "split_indices", np.intp),
        threshold=conditions,
        missing_left=_column(trees, "default_left", np.bool_),
        value=conditions,  # at leaves
        categories={
            int(root) + node: codes
            for root, tree in zip(roots, trees, strict=True)
            for node, codes in _categories(tree).items()
        },
    )


def _column(trees: Sequence[dict[str, Any]], name: str, dtype: Any) -> NDArray[Any]:  # noqa: ANN401
    return np.concatenate([np.asarray(tree[name], dtype=dtype) for tree in trees])


def _categories(tree: dict[str, Any]) -> dict[int, frozenset[int]]:
    """Return the codes that go right, for each node that splits on categories."""
    codes = tree["categories"]
    return {
        node: frozenset(codes[start : start + size])
        for node, start, size in zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
        )
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
