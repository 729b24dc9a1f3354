"""The walk in C: `traverse.c`, compiled beside this file when mlsys is installed and there is a compiler.

A loop of our own, as no library's call for one row is both exact and as fast: treelite and ONNX differ in the last
bits, and XGBoost's and LightGBM's own take four times as long.
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

from serve.scoring.trees.arrays import Trees, category_tables, check_trees

LIBRARY = Path(__file__).with_name("traverse.bin")  # no name of a Python module
VERSION = 1  # as in traverse.c
LANES = 16  # the same
FUNCTIONS = {"ff": "walk_ff", "fd": "walk_fd", "dd": "walk_dd"}  # by the types of thresholds and values


class CompiledTraversal:
    """Trees to walk; `sum` has buffers of its own and belongs to one thread.

    Parameters
    ----------
    trees : Trees
    width : int
        Columns of an encoded row.

    Raises
    ------
    RunError
        If a node points outside of the trees or of the row.
    """

    how = "in C"

    def __init__(self, trees: Trees, width: int) -> None:
        depths = check_trees(trees, width)
        self._tables, condition = category_tables(trees)
        conditions = sum(table.met.shape[1] for table in self._tables)
        self._dtype, self._value = trees.threshold.dtype, trees.value.dtype
        self._width, self._wide = width, 2 * width + conditions
        self._model = _Model(trees, depths, condition, width, conditions)
        self._row, self._result = np.zeros(width + conditions, self._dtype), np.empty(1, self._value)
        self._buffer, self._met, self._found = self._row.data, self._row[width:], self._result.data
        self._pack = Struct(f"{width}{self._dtype.char}").pack_into
        name = FUNCTIONS[self._dtype.char + self._value.char]
        self._one = _function(name, with_lock=True)  # too short to let other threads run
        self._many = _function(name, with_lock=False)
        self._extended = np.empty(self._wide, self._dtype)
        self._arguments: tuple[Any, ...] = ()
        self._start = np.nan

    def sum(self, row: Sequence[float], start: float) -> float:
        """Return ``start`` and the values of the leaves that a row reaches, added up in order."""
        try:
            self._pack(self._buffer, 0, *row)
        except OverflowError:  # a number beyond float32 is infinite to a model of float32, as in training
            with np.errstate(over="ignore"):
                self._row[: self._width] = row
        for table in self._tables:
            self._met[table.place] = table.met[table.code(row[table.column])]
        if start != self._start:
            self._start = start
            self._arguments = self._model.arguments(start, self._row, 1, self._extended, self._result)
        self._one(*self._arguments)
        result: float = self._found[0]
        return result

    def sums(self, rows: NDArray[Any], start: float) -> NDArray[Any]:
        """Return the `sum` of each row; in any thread."""
        met = [table.met[table.codes(rows[:, table.column])] for table in self._tables]
        given = np.ascontiguousarray(np.hstack([rows, *met]) if met else rows, self._dtype)
        found, extended = np.empty(len(rows), self._value), np.empty(self._wide, self._dtype)
        self._many(*self._model.arguments(start, given, len(rows), extended, found))
        return found


class _Model:
    """Trees as traverse.c takes them.

    Parameters
    ----------
    trees : Trees
    depths : ndarray of int, shape (n_trees,)
    condition : ndarray of int, shape (n_nodes,)
        As `category_tables` numbers them.
    width, conditions : int
        A row has so many values, and after them so many flags that say which conditions on categories are met.
    """

    def __init__(
        self, trees: Trees, depths: NDArray[np.intp], condition: NDArray[np.intp], width: int, conditions: int
    ) -> None:
        count, leaf = len(trees.left), trees.left < 0
        node = np.dtype(
            [("threshold", trees.threshold.dtype), ("column", np.int32), ("child", np.int32, 2)], align=True
        )
        # One leaf of no value more, for trees that fill the last group.
        self._nodes, self._values = np.zeros(count + 1, node), np.append(trees.value, trees.value.dtype.type(0))
        own = np.arange(count + 1)
        on_number = np.where(trees.missing_left, 0, width + conditions) + trees.feature
        column = np.where(condition < 0, on_number, width + condition)
        threshold = np.where(condition < 0, trees.threshold, trees.threshold.dtype.type(0.5))
        self._nodes["threshold"] = np.nan  # which no value reaches
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
        """Return what the functions of traverse.c are called with; pointers, so all arrays have to be kept."""
        arrays = (self._nodes, self._values, self._roots, self._levels)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, rows, extended, sums)]
        one = (*pointers[:4], *self._sizes, ctypes.c_double(start), pointers[4], ctypes.c_int64(count))
        return (*one, *pointers[5:])


def is_compiled() -> bool:
    """Tell whether traverse.c was compiled, as it is now."""
    if not LIBRARY.is_file():
        return False
    try:
        return int(_library().walk_version()) == VERSION
    except (OSError, AttributeError):  # of another machine, or of another version
        return False


def _function(name: str, *, with_lock: bool) -> Callable[..., None]:
    function: Callable[..., None] = getattr(_library(with_lock=with_lock), name)
    function.restype = None  # type: ignore[attr-defined]
    return function


@cache
def _library(*, with_lock: bool = False) -> ctypes.CDLL:
    """Return the library; its calls keep the interpreter's lock or let other threads run."""
    return ctypes.PyDLL(str(LIBRARY)) if with_lock else ctypes.CDLL(str(LIBRARY))
