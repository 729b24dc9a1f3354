"""XGBoost: single records by a walk of its trees, batches and contributions by its own library."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from serve.scoring.models.native import shared_library
from serve.scoring.trees.arrays import Trees, joined
from serve.scoring.trees.traversal import Traversal, make_traversal

PROBABILITY, CONTRIBUTIONS = 0, 2  # types of prediction
CATEGORICAL = 1  # type of split
ONE = np.float32(1)
LARGEST_EXPONENT = float(np.float32(88.7))  # past it XGBoost's own sigmoid stops, so that exp stays finite


class Booster:
    """A booster in XGBoost's library, which answers on one thread.

    Parameters
    ----------
    raw : bytes
        As it was saved.
    """

    def __init__(self, raw: bytes) -> None:
        self._library = shared_library("xgboost")
        self._one_at_a_time = Lock()
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
        """Return what XGBoost's JSON format says of the model."""
        length, text = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_char)()
        arguments = (self._handle, b'{"format": "json"}', ctypes.byref(length), ctypes.byref(text))
        self._call("XGBoosterSaveModelToBuffer", *arguments)
        model: dict[str, Any] = json.loads(ctypes.string_at(text, length.value))
        return model

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each row, shape (n_rows,)."""
        return self._predict(rows, PROBABILITY)

    def contributions(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the SHAP values of each row, the bias last, shape (n_rows, width + 1)."""
        with self._one_at_a_time:  # the library lets threads share a booster for its in-place predictions only
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
        if kind == PROBABILITY:
            self._call("XGBoosterPredictFromDense", self._handle, _json(array), _json(config), None, *pointers)
        else:
            self._predict_matrix(_json(array), _json(config), pointers)
        size = tuple(shape[axis] for axis in range(dimensions.value))
        return np.ctypeslib.as_array(result, shape=size).copy()  # the library's own buffer is used again

    def _predict_matrix(self, array: bytes, config: bytes, pointers: Sequence[Any]) -> None:
        """Predict what the in-place call does not give."""
        matrix = ctypes.c_void_p()
        options = _json({"missing": math.nan, "nthread": 1})
        self._call("XGDMatrixCreateFromDense", array, options, ctypes.byref(matrix))
        try:
            self._call("XGBoosterPredictFromDMatrix", self._handle, matrix, config, *pointers)
        finally:
            self._library.XGDMatrixFree(matrix)

    def _call(self, name: str, *arguments: Any) -> None:  # noqa: ANN401 - what ctypes takes
        if getattr(self._library, name)(*arguments) != 0:
            reason = (self._library.XGBGetLastError() or b"").decode(errors="replace").strip().splitlines()
            raise RunError(f"XGBoost refuses the model or its input ({name}): {reason[0] if reason else 'no reason'}.")


class XgboostTraversal:
    """The sum of XGBoost's trees for one record, to the bit as the library adds them.

    Parameters
    ----------
    walk : Traversal
        Of float32.
    base : float
        The probability that the trees start from.
    """

    def __init__(self, walk: Traversal, base: float) -> None:
        self.how = walk.how
        self._sum = walk.sum
        # As the library's logarithm, this one, rounded, is right to the last bit; NumPy's of float32 is not always.
        self._base = float(np.float32(-math.log(ONE / np.float32(base) - ONE)))

    def margin(self, row: Sequence[float]) -> float:
        """Return the log odds."""
        return self._sum(row, self._base)

    def probability(self, row: Sequence[float]) -> float:
        """Return the probability, rounded as the library rounds it."""
        exponent = np.float32(math.exp(min(-self._sum(row, self._base), LARGEST_EXPONENT)))
        return float(ONE / (exponent + ONE))


def xgboost_traversal(booster: Booster, width: int) -> XgboostTraversal | str:
    """Return a walk of a booster's trees, or why there is none.

    Parameters
    ----------
    booster : Booster
    width : int
        Columns of an encoded row.
    """
    learner = booster.model()["learner"]
    if learner["objective"]["name"] != "binary:logistic":
        return f"its objective is {learner['objective']['name']}"
    if learner["gradient_booster"]["name"] != "gbtree":
        return f"its booster is {learner['gradient_booster']['name']}"
    model = learner["gradient_booster"]["model"]
    parallel = int(model["gbtree_model_param"].get("num_parallel_tree", "1"))
    used = booster.trees_used * parallel or len(model["trees"])
    if not model["trees"]:
        return "it has no trees"
    base = json.loads(learner["learner_model_param"]["base_score"])
    walk = make_traversal(_joined(model["trees"][:used]), width)
    return XgboostTraversal(walk, float(base[0] if isinstance(base, list) else base))


def _joined(trees: Sequence[dict[str, Any]]) -> Trees:
    sizes = [len(tree["left_children"]) for tree in trees]
    roots, shift = joined(sizes)
    left, right = _column(trees, "left_children", np.intp), _column(trees, "right_children", np.intp)
    conditions = _column(trees, "split_conditions", np.float32)
    return Trees(
        roots=roots,
        left=np.where(left < 0, -1, left + shift),
        right=np.where(right < 0, -1, right + shift),
        feature=_column(trees, "split_indices", np.intp),
        threshold=conditions,
        missing_left=_column(trees, "default_left", np.bool_),
        value=conditions,  # of a leaf
        categories={
            int(root) + node: codes
            for root, tree in zip(roots, trees, strict=True)
            for node, codes in _categories(tree).items()
        },
    )


def _column(trees: Sequence[dict[str, Any]], name: str, dtype: Any) -> NDArray[Any]:  # noqa: ANN401
    return np.concatenate([np.asarray(tree[name], dtype=dtype) for tree in trees])


def _categories(tree: dict[str, Any]) -> dict[int, frozenset[int]]:
    """Return the codes that go right, for each node that compares with categories."""
    codes = tree["categories"]
    return {
        node: frozenset(codes[start : start + size])
        for node, start, size in zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
        )
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
