"""The trees of a model as arrays of nodes, whatever library grew them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError

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
class CategoryTable:
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

    def code(self, value: float) -> int:
        """Return which row of ``met`` holds for a value."""
        last = len(self.met) - 2
        return last + 1 if value != value else int(value) if 0 <= value < last else last

    def codes(self, values: NDArray[np.floating[Any]]) -> Ints:
        """Return which rows of ``met`` hold for values."""
        last = len(self.met) - 2
        missing = np.isnan(values)
        known = ~missing & (values >= 0) & (values < last)
        return np.where(missing, last + 1, np.where(known, np.where(known, values, 0).astype(np.intp), last))


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


def check_trees(trees: Trees, width: int) -> Ints:
    """Return for each tree the number of splits on the longest way from its root to a leaf.

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
    return _depths(trees)


def _depths(trees: Trees) -> Ints:
    depths = np.zeros(len(trees.roots), dtype=np.intp)
    nodes, tree = trees.roots, np.arange(len(trees.roots))
    while np.any(inner := trees.left[nodes] >= 0):
        nodes, tree = nodes[inner], np.tile(tree[inner], 2)
        nodes = np.concatenate([trees.left[nodes], trees.right[nodes]])
        depths[tree] += 1
        if depths.max() > DEEPEST or len(nodes) > len(trees.left):
            raise RunError("A node's child is above it in its tree. The model is damaged: train again.")
    return depths


def changes(trees: Trees, row: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
    """Return the sum of the roots' values, and by column how its splits change them on a row's way down.

    Parameters
    ----------
    trees : Trees
        Without categories; the inner nodes have values too.
    row : ndarray of the thresholds' dtype, shape (width,)
    """
    columns, nodes = np.zeros(len(row)), trees.roots
    while len(nodes := nodes[trees.left[nodes] >= 0]):
        feature = trees.feature[nodes]
        value = row[feature]
        right = np.where(np.isnan(value), ~trees.missing_left[nodes], value >= trees.threshold[nodes])
        below = np.where(right, trees.right[nodes], trees.left[nodes])
        np.add.at(columns, feature, trees.value[below] - trees.value[nodes])
        nodes = below
    return float(trees.value[trees.roots].sum()), columns


def category_tables(trees: Trees) -> tuple[list[CategoryTable], Ints]:
    """Give numbers to the different conditions on categories, one column after the other.

    Returns
    -------
    tables : list of CategoryTable
        One for each column that some node compares with categories.
    condition : ndarray of int, shape (n_nodes,)
        The number of each node's condition; -1 where it has none on categories.
    """
    condition, start = np.full(len(trees.left), -1, dtype=np.intp), 0
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
        tables.append(CategoryTable(column, slice(start, start + len(conditions)), met))
        start += len(conditions)
    return tables, condition
