"""An exact walk through all trees of a model at once.

The conditions that occur in the trees are few against their nodes, so each is decided once; then all trees take one
step down together. Shallow trees are laid out complete, level by level, so that the children of position p are 2 p and
2 p + 1, and a leaf above the last level stands at every position below it. Deep ones keep their nodes, and a table says
which node comes next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError

MOST_POSITIONS = 500_000  # of all trees and levels: 4 MB; a complete tree doubles with each level
DEEPEST = 500  # levels; the libraries grow no such trees, but a damaged one may lead back

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Trees:
    """The nodes of all trees.

    Attributes
    ----------
    roots : ndarray of int, shape (n_trees,)
        Node of each tree's root, in the order in which the model adds trees.
    left, right : ndarray of int, shape (n_nodes,)
        Children; -1 at leaves.
    feature : ndarray of int, shape (n_nodes,)
        The column that a node looks at.
    threshold : ndarray of float, shape (n_nodes,)
        A row goes right if its value is at least this.
    missing_left : ndarray of bool, shape (n_nodes,)
        Whether NaN goes left.
    value : ndarray of float, shape (n_nodes,)
        What a leaf adds.
    categories : mapping of int to frozenset of int
        For nodes that compare with categories instead of a threshold: the codes that go right.
    seen : mapping of int to frozenset of int
        By column, where the model takes any other code for a missing value; elsewhere such a code goes left.
    """

    roots: Ints
    left: Ints
    right: Ints
    feature: Ints
    threshold: NDArray[np.floating[Any]]
    missing_left: NDArray[np.bool_]
    value: NDArray[np.floating[Any]]
    categories: Mapping[int, frozenset[int]]
    seen: Mapping[int, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _CategoryTable:
    """The conditions on one category column.

    Attributes
    ----------
    column : int
    place : slice
        Where the conditions stand among all.
    met : ndarray of int8, shape (n_codes + 2, n_conditions)
        Whether each is met, by code; for a code that no tree knows, and for NaN.
    """

    column: int
    place: slice
    met: NDArray[np.int8]

    def codes(self, values: NDArray[np.floating[Any]]) -> Ints:
        """Return which rows of ``met`` hold for values."""
        last = len(self.met) - 2
        missing = np.isnan(values)
        known = ~missing & (values >= 0) & (values < last)
        return np.where(missing, last + 1, np.where(known, np.where(known, values, 0).astype(np.intp), last))


class Forest:
    """Trees to walk, with buffers of its own: `walk` belongs to one thread.

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

    def __init__(self, trees: Trees, width: int) -> None:
        depth = check_trees(trees, width)
        self._trees = trees
        self.dtype = trees.threshold.dtype
        condition, self._columns, self._thresholds, self._tables = _conditions(trees, width)
        leaf = len(self._columns) + sum(table.met.shape[1] for table in self._tables)  # never met: go left
        self._next: Ints | None = None
        if len(trees.roots) << depth <= MOST_POSITIONS:
            self._levels, self._leaves = _complete(trees, condition, leaf)
            self._start = np.arange(len(trees.roots), dtype=np.intp)
        else:
            self._levels, self._leaves = [np.where(condition < 0, leaf, condition)] * depth, trees.value
            self._start, self._next = trees.roots, _next_nodes(trees)
        count = len(trees.roots)
        self._row = np.empty((2, width), dtype=self.dtype)
        self._ends = np.array([[-np.inf], [np.inf]], dtype=self.dtype).repeat(width, axis=1)
        self._pack = Struct(f"{width}{self.dtype.char}").pack_into
        self._repeats = np.bincount(self._columns, minlength=2 * width)
        self._met = np.zeros(leaf + 1, dtype=np.int8)
        self._compared = self._met[: len(self._columns)].view(np.bool_)
        self._position, self._condition = np.empty(count, dtype=np.intp), np.empty(count, dtype=np.intp)
        self._step = np.empty(count, dtype=np.int8)
        self._values = np.empty(count, dtype=trees.value.dtype)

    def walk(self, row: Sequence[float]) -> NDArray[Any]:
        """Return the value of the leaf that a row reaches in each tree, in an array that the next call fills again.

        Parameters
        ----------
        row : sequence of float, length width
        """
        low, high = self._row
        try:
            self._pack(low, 0, *row)
        except OverflowError:  # a number beyond float32 is infinite to a model of float32, as in training
            with np.errstate(over="ignore"):
                low[:] = row
        # NaN stands above all thresholds for nodes that send it right, and below all for the others.
        np.fmin(low, self._ends[1], high)
        np.fmax(low, self._ends[0], low)
        np.greater_equal(self._row.repeat(self._repeats), self._thresholds, self._compared)
        for table in self._tables:
            value, last = row[table.column], len(table.met) - 2
            code = last + 1 if value != value else int(value) if 0 <= value < last else last
            self._met[table.place] = table.met[code]
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
        return self._leaves.take(position, None, self._values, "clip")

    def walk_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the values of the leaves that several rows reach, shape (n_rows, n_trees).

        Parameters
        ----------
        rows : ndarray of the trees' dtype, shape (n_rows, width)
        """
        ends = np.hstack([np.fmax(rows, -np.inf), np.fmin(rows, np.inf)])
        met = np.zeros((len(rows), len(self._met)), dtype=np.int8)
        np.greater_equal(ends[:, self._columns], self._thresholds, out=met[:, : len(self._columns)].view(np.bool_))
        for table in self._tables:
            met[:, table.place] = table.met[table.codes(rows[:, table.column])]
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

    def changes(self, row: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
        """Return the sum of the roots' values, and by column how its splits change them on the row's way down.

        Only for trees without categories, whose inner nodes have values too.

        Parameters
        ----------
        row : ndarray of the trees' dtype, shape (width,)
        """
        trees, columns = self._trees, np.zeros(len(row))
        nodes = trees.roots
        while len(nodes := nodes[trees.left[nodes] >= 0]):
            feature = trees.feature[nodes]
            value = row[feature]
            right = np.where(np.isnan(value), ~trees.missing_left[nodes], value >= trees.threshold[nodes])
            below = np.where(right, trees.right[nodes], trees.left[nodes])
            np.add.at(columns, feature, trees.value[below] - trees.value[nodes])
            nodes = below
        return float(trees.value[trees.roots].sum()), columns


def joined(sizes: Sequence[int]) -> tuple[Ints, Ints]:
    """Return where each of several trees begins when their nodes stand in one array, and that for each node.

    Examples
    --------
    >>> roots, shift = joined([2, 3])
    >>> roots.tolist(), shift.tolist()
    ([0, 2], [0, 0, 2, 2, 2])
    """
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
    return roots, np.repeat(roots, sizes)


def _depth(trees: Trees) -> int:
    """Return the number of splits on the longest way from a root to a leaf."""
    nodes, depth = trees.roots, 0
    while len(nodes := nodes[trees.left[nodes] >= 0]):
        nodes = np.concatenate([trees.left[nodes], trees.right[nodes]])
        depth += 1
        if depth > DEEPEST or len(nodes) > len(trees.left):
            raise RunError("A node's child is above it in its tree. The model is damaged: train again.")
    return depth


def _next_nodes(trees: Trees) -> Ints:
    """Return the node left and the node right of each, one after the other; a leaf stays where it is."""
    own = np.arange(len(trees.left))
    leaf = trees.left < 0
    return np.column_stack([np.where(leaf, own, trees.left), np.where(leaf, own, trees.right)]).reshape(-1)


def check_trees(trees: Trees, width: int) -> int:
    """Return the number of splits on the longest way from a root to a leaf.

    Raises
    ------
    RunError
        If a node points outside of the trees or of the row, or upwards.
    """
    inner = trees.left >= 0
    count = len(trees.left)
    for children in (trees.left[inner], trees.right[inner]):
        if np.any((children < 0) | (children >= count)):
            raise RunError("A node's child lies outside of the trees. The model is damaged: train again.")
    if np.any((trees.feature[inner] < 0) | (trees.feature[inner] >= width)):
        raise RunError(f"A node asks for a column that is not there (there are {width}): train again.")
    if not np.all(trees.threshold[inner] > -np.inf):  # infinity itself tells NaN from all numbers
        raise RunError("A node compares with NaN or minus infinity. The model is damaged: train again.")
    return _depth(trees)


def _conditions(trees: Trees, width: int) -> tuple[Ints, Ints, NDArray[np.floating[Any]], list[_CategoryTable]]:
    """Give the different conditions numbers: those on numbers first, then those on each category column.

    Returns
    -------
    condition : ndarray of int, shape (n_nodes,)
        Of each node; -1 at leaves.
    columns, thresholds : ndarray, shape (n_numeric_conditions,)
        Column in a row that stands twice: NaN below all thresholds, then NaN above.
    tables : list of _CategoryTable
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
    tables = _category_tables(trees, condition, int(new.sum()))
    return condition, columns[new], thresholds[new], tables


def _category_tables(trees: Trees, condition: Ints, start: int) -> list[_CategoryTable]:
    kinds: dict[int, dict[tuple[frozenset[int], bool], list[int]]] = {}
    for node, codes in trees.categories.items():
        same = kinds.setdefault(int(trees.feature[node]), {})
        same.setdefault((codes, bool(trees.missing_left[node])), []).append(node)
    tables = []
    for column, conditions in kinds.items():
        seen = trees.seen.get(column, frozenset())
        known = 1 + max(chain(seen, *(codes for codes, _ in conditions)), default=-1)
        met = np.zeros((known + 2, len(conditions)), dtype=np.int8)
        for place, ((codes, missing_left), nodes) in enumerate(conditions.items()):
            met[list(codes), place] = 1
            met[-1, place] = not missing_left
            if seen:
                met[[code for code in range(known + 1) if code not in seen], place] = not missing_left
            condition[nodes] = start + place
        tables.append(_CategoryTable(column, slice(start, start + len(conditions)), met))
        start += len(conditions)
    return tables


def _complete(trees: Trees, condition: Ints, leaf: int) -> tuple[list[Ints], NDArray[np.floating[Any]]]:
    """Return the conditions at each level's positions, and the leaves' values below the last level."""
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
