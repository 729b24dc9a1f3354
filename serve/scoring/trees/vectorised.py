"""Tree traversal in NumPy, for installations without a compiler.

Trees have far fewer distinct conditions than nodes, so each condition is evaluated once; then all trees take one step
down together. Shallow trees are stored as complete trees, level by level: the children of position p are 2 p and
2 p + 1, and a leaf above the last level is repeated at every position below it. Deep trees keep their nodes, with a
table of the next node.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.trees.arrays import Ints, Trees, category_tables, checked_depths

MAX_POSITIONS = 500_000  # over all trees: 4 MB for each level; a complete tree doubles with each level
ROWS = 64  # rows traversed together; more would not fit in the processor's cache
_accumulate = np.add.accumulate


class VectorisedTraversal:
    """Traverses the trees of a model in NumPy. `sum` reuses its buffers, so only one thread may call it.

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

    implementation = "in NumPy"

    def __init__(self, trees: Trees, width: int) -> None:
        depth = int(checked_depths(trees, width).max())
        dtype = trees.threshold.dtype
        condition, self._columns, self._thresholds = _conditions(trees, width)
        self._tables, on_categories = category_tables(trees)
        self._compare = len(self._columns)  # conditions on numbers come first
        condition = np.where(on_categories < 0, condition, on_categories + self._compare)
        leaf = self._compare + sum(
            table.met.shape[1] for table in self._tables
        )  # a condition that is never met: go left
        self._next: Ints | None = None
        if len(trees.roots) << depth <= MAX_POSITIONS:
            self._levels, self._leaves = _complete(trees, condition, leaf)
            self._start = np.arange(len(trees.roots), dtype=np.intp)
        else:
            self._levels, self._leaves = [np.where(condition < 0, leaf, condition)] * depth, trees.value
            self._start, self._next = trees.roots, _next_nodes(trees)
        count = len(trees.roots)
        self._row = np.empty((2, width), dtype=dtype)
        self._infinities = np.array([[-np.inf], [np.inf]], dtype=dtype).repeat(width, axis=1)
        self._pack = Struct(f"{width}{dtype.char}").pack_into
        self._repeats = np.bincount(self._columns, minlength=2 * width)
        self._met = np.zeros(leaf + 1, dtype=np.int8)
        self._compared = self._met[: self._compare].view(np.bool_)
        self._met_categories = self._met[self._compare : leaf]
        self._position, self._condition = np.empty(count, dtype=np.intp), np.empty(count, dtype=np.intp)
        self._step = np.empty(count, dtype=np.int8)
        self._terms = np.empty(count + 1, dtype=trees.value.dtype)
        self._values = self._terms[1:]

    def sum(self, row: Sequence[float], start: float) -> float:
        """Return ``start`` plus the values of the leaves that a row reaches, added in tree order."""
        self._traverse(row)
        self._terms[0] = start
        _accumulate(self._terms, 0, None, self._terms)  # np.sum adds pairwise, which rounds differently
        return float(self._terms[-1])

    def sums(self, rows: NDArray[Any], start: float) -> NDArray[Any]:
        """Return the `sum` of each row, shape (n_rows,); any thread may call it."""
        sums = np.empty(len(rows), dtype=self._terms.dtype)
        for first in range(0, len(rows), ROWS):
            values = self._traverse_rows(rows[first : first + ROWS])
            terms = np.column_stack([np.full(len(values), start, dtype=values.dtype), values])
            sums[first : first + ROWS] = _accumulate(terms, 1)[:, -1]
        return sums

    def _traverse(self, row: Sequence[float]) -> None:
        low, high = self._row
        try:
            self._pack(low, 0, *row)
        except OverflowError:  # as in training, a number beyond float32 is infinite to a float32 model
            with np.errstate(over="ignore"):
                low[:] = row
        # NaN becomes larger than every threshold for nodes that send it right, and smaller for the others.
        np.fmin(low, self._infinities[1], high)
        np.fmax(low, self._infinities[0], low)
        np.greater_equal(self._row.repeat(self._repeats), self._thresholds, self._compared)
        for table in self._tables:
            self._met_categories[table.span] = table.met[table.code(row[table.column])]
        position, condition, step, met = self._position, self._condition, self._step, self._met
        position[:] = self._start
        for conditions in self._levels:
            conditions.take(position, None, condition, "clip")
            met.take(condition, None, step, "clip")
            np.add(position, position, position)
            np.add(position, step, position)
            if self._next is not None:
                self._next.take(position, None, condition, "clip")
                position, condition = condition, position
        self._leaves.take(position, None, self._values, "clip")

    def _traverse_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the value of the leaf that each row reaches in each tree, shape (n_rows, n_trees)."""
        twice = np.hstack([np.fmax(rows, -np.inf), np.fmin(rows, np.inf)])
        met = np.zeros((len(rows), len(self._met)), dtype=np.int8)
        np.greater_equal(twice[:, self._columns], self._thresholds, out=met[:, : self._compare].view(np.bool_))
        for table in self._tables:
            met[:, self._compare :][:, table.span] = table.met[table.codes(rows[:, table.column])]
        first = (np.arange(len(rows)) * len(self._met))[:, None]
        position = np.broadcast_to(self._start, (len(rows), len(self._start))).copy()
        flat = met.reshape(-1)
        for conditions in self._levels:
            step = flat.take(conditions.take(position) + first)
            position += position
            position += step
            if self._next is not None:
                position = self._next.take(position)
        return self._leaves.take(position)


def _conditions(trees: Trees, width: int) -> tuple[Ints, Ints, NDArray[np.floating[Any]]]:
    """Assign a number to each distinct condition on numbers.

    Returns
    -------
    condition : ndarray of int, shape (n_nodes,)
        Number of each node's condition; -1 at leaves and at nodes that split on categories.
    columns, thresholds : ndarray, shape (n_conditions,)
        Column and threshold of each condition. The columns index the row concatenated with itself: in the first copy
        NaN is smaller than every threshold, in the second larger.
    """
    condition = np.full(len(trees.left), -1, dtype=np.intp)
    inner = trees.left >= 0
    inner[list(trees.categories)] = False
    nodes = np.flatnonzero(inner)
    columns = trees.feature[nodes] + np.where(trees.missing_left[nodes], 0, width)
    order = np.lexsort((trees.threshold[nodes], columns))
    nodes, columns = nodes[order], columns[order]
    thresholds = trees.threshold[nodes]
    new = np.ones(len(nodes), dtype=bool)
    new[1:] = (np.diff(columns) != 0) | (thresholds[1:] != thresholds[:-1])
    condition[nodes] = np.cumsum(new) - 1
    return condition, columns[new], thresholds[new]


def _complete(trees: Trees, condition: Ints, leaf: int) -> tuple[list[Ints], NDArray[np.floating[Any]]]:
    """Return the condition at each position of every level, and the leaf values below the last level."""
    levels = []
    nodes = trees.roots
    while np.any(trees.left[nodes] >= 0):
        inner = trees.left[nodes] >= 0
        levels.append(np.where(inner, condition[nodes], leaf))
        below = np.empty((len(nodes), 2), dtype=np.intp)
        below[:, 0] = np.where(inner, trees.left[nodes], nodes)
        below[:, 1] = np.where(inner, trees.right[nodes], nodes)
        nodes = below.reshape(-1)
    return levels, trees.value[nodes]


def _next_nodes(trees: Trees) -> Ints:
    """Return the left and right child of each node, interleaved; a leaf is its own child."""
    own = np.arange(len(trees.left))
    leaf = trees.left < 0
    return np.column_stack([np.where(leaf, own, trees.left), np.where(leaf, own, trees.right)]).reshape(-1)
