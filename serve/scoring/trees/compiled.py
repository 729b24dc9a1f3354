"""Tree traversal in C: `traverse.c`, compiled next to this file when mlsys is installed and a compiler is available.

It is our own code because no library call for one row is both exact and as fast: treelite and ONNX differ in the last
bits, and the calls of XGBoost and LightGBM take four times as long.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.trees.arrays import Trees, category_tables, checked_depths

LIBRARY = Path(__file__).with_name("traverse.bin")  # not a suffix that Python would import
VERSION = 1  # as in traverse.c
LANES = 16  # as in traverse.c
FUNCTIONS = {"ff": "traverse_ff", "fd": "traverse_fd", "dd": "traverse_dd"}  # by dtype of thresholds and of values


class CompiledTraversal:
    """Traverses the trees of a model in C. `sum` reuses its buffers, so only one thread may call it.

    Parameters
    ----------
    trees : Trees
    width : int
        Number of columns in an encoded row.

    Raises
    ------
    RunError
        If a node points outside its tree or the row.
    """

    implementation = "in C"

    def __init__(self, trees: Trees, width: int) -> None:
        depths = checked_depths(trees, width)
        self._tables, condition = category_tables(trees)
        conditions = sum(table.met.shape[1] for table in self._tables)
        self._dtype, self._value_dtype = trees.threshold.dtype, trees.value.dtype
        self._width, self._extended_width = width, 2 * width + conditions
        self._model = _Model(trees, depths, condition, width, conditions)
        self._row, self._result = np.zeros(width + conditions, self._dtype), np.empty(1, self._value_dtype)
        self._buffer, self._met, self._output = self._row.data, self._row[width:], self._result.data
        self._pack = Struct(f"{width}{self._dtype.char}").pack_into
        name = FUNCTIONS[self._dtype.char + self._value_dtype.char]
        self._one = _function(name, with_lock=True)  # too short to be worth releasing the lock
        self._many = _function(name, with_lock=False)
        self._extended = np.empty(self._extended_width, self._dtype)
        self._arguments: tuple[Any, ...] = ()
        self._start = np.nan

    def sum(self, row: Sequence[float], start: float) -> float:
        """Return ``start`` plus the values of the leaves that a row reaches, added in tree order."""
        try:
            self._pack(self._buffer, 0, *row)
        except OverflowError:  # as in training, a number beyond float32 is infinite to a float32 model
            with np.errstate(over="ignore"):
                self._row[: self._width] = row
        for table in self._tables:
            self._met[table.span] = table.met[table.code(row[table.column])]
        if start != self._start:
            self._start = start
            self._arguments = self._model.arguments(start, self._row, 1, self._extended, self._result)
        self._one(*self._arguments)
        result: float = self._output[0]
        return result

    def sums(self, rows: NDArray[Any], start: float) -> NDArray[Any]:
        """Return the `sum` of each row, shape (n_rows,); any thread may call it."""
        met = [table.met[table.codes(rows[:, table.column])] for table in self._tables]
        inputs = np.ascontiguousarray(np.hstack([rows, *met]) if met else rows, self._dtype)
        results, extended = np.empty(len(rows), self._value_dtype), np.empty(self._extended_width, self._dtype)
        self._many(*self._model.arguments(start, inputs, len(rows), extended, results))
        return results


class _Model:
    """Trees in the memory layout that traverse.c expects.

    Parameters
    ----------
    trees : Trees
    depths : ndarray of int, shape (n_trees,)
    condition : ndarray of int, shape (n_nodes,)
        Number of each node's condition on categories, from `category_tables`.
    width, conditions : int
        Number of values in a row, and of the flags after them: one for each condition on categories, 1 where it is met.
    """

    def __init__(
        self, trees: Trees, depths: NDArray[np.intp], condition: NDArray[np.intp], width: int, conditions: int
    ) -> None:
        count, leaf = len(trees.left), trees.left < 0
        node = np.dtype(
            [("threshold", trees.threshold.dtype), ("column", np.int32), ("child", np.int32, 2)], align=True
        )
        # One extra leaf of value 0, for the trees that pad the last group.
        self._nodes, self._values = np.zeros(count + 1, node), np.append(trees.value, trees.value.dtype.type(0))
        own = np.arange(count + 1)
        on_number = np.where(trees.missing_left, 0, width + conditions) + trees.feature
        column = np.where(condition < 0, on_number, width + condition)
        threshold = np.where(condition < 0, trees.threshold, trees.threshold.dtype.type(0.5))
        self._nodes["threshold"] = np.nan  # no value is >= NaN
        self._nodes["threshold"][:count][~leaf] = threshold[~leaf]
        self._nodes["column"][:count][~leaf] = column[~leaf]
        for side, children in enumerate((trees.left, trees.right)):
            self._nodes["child"][:, side] = own
            self._nodes["child"][:count, side][~leaf] = children[~leaf]
        groups = -(-len(trees.roots) // LANES)
        self._roots = np.full(groups * LANES, count, np.int32)
        self._roots[: len(trees.roots)] = trees.roots
        self._levels = np.zeros(groups * LANES, np.int32)
        self._levels[: len(depths)] = depths
        self._levels = np.ascontiguousarray(self._levels.reshape(groups, LANES).max(axis=1))
        self._sizes = [ctypes.c_int64(size) for size in (groups, width, conditions)]

    def arguments(
        self, start: float, rows: NDArray[Any], count: int, extended: NDArray[Any], sums: NDArray[Any]
    ) -> tuple[Any, ...]:
        """Return the arguments for the functions in traverse.c: pointers, so the caller must keep the arrays alive."""
        arrays = (self._nodes, self._values, self._roots, self._levels)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, rows, extended, sums)]
        inputs = (*pointers[:4], *self._sizes, ctypes.c_double(start), pointers[4], ctypes.c_int64(count))
        return (*inputs, *pointers[5:])


def is_compiled() -> bool:
    """Return whether a compiled traverse.c of this version is available."""
    if not LIBRARY.is_file():
        return False
    try:
        return int(_library().traverse_version()) == VERSION
    except (OSError, AttributeError):  # built for another machine or from another version
        return False


def _function(name: str, *, with_lock: bool) -> Callable[..., None]:
    function: Callable[..., None] = getattr(_library(with_lock=with_lock), name)
    function.restype = None  # type: ignore[attr-defined]
    return function


@cache
def _library(*, with_lock: bool = False) -> ctypes.CDLL:
    """Return the library, whose calls hold the interpreter lock or release it."""
    return ctypes.PyDLL(str(LIBRARY)) if with_lock else ctypes.CDLL(str(LIBRARY))
