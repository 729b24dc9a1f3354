"""The trees of a model as arrays of nodes, the same for every library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.tree_nodes import check_nodes, tree_error

MAX_DEPTH = 500  # levels; no library grows deeper trees, but a crafted file could hold one

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Trees:
    """The nodes of all trees.

    Attributes
    ----------
    roots : ndarray of int, shape (n_trees,)
        Index of each tree's root, in the order in which the model adds the trees; each tree's nodes follow its root.
    left, right : ndarray of int, shape (n_nodes,)
        Index of each node's children; -1 at leaves.
    feature : ndarray of int, shape (n_nodes,)
        Column that a node splits on.
    threshold : ndarray of float, shape (n_nodes,)
        Lowest value that goes right.
    missing_left : ndarray of bool, shape (n_nodes,)
        Whether NaN goes left.
    value : ndarray of float, shape (n_nodes,)
        Value that a leaf adds to the sum.
    categories : mapping of int to frozenset of int
        For each node that splits on categories instead of a threshold: the codes that go right.
    seen : mapping of int to frozenset of int
        Codes seen in training, for each column in which the model treats any other code as missing. In all other
        columns an unseen code goes left.
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
        Column of the encoded row.
    span : slice
        Positions of these conditions among all conditions on categories.
    met : ndarray of int8, shape (n_codes + 2, n_conditions)
        Whether a code meets each condition; the last two rows are for codes that no tree knows and for NaN.
    """

    column: int
    span: slice
    met: NDArray[np.int8]

    def code(self, value: float) -> int:
        """Return the row of ``met`` for a value."""
        last = len(self.met) - 2
        return last + 1 if value != value else int(value) if 0 <= value < last else last

    def codes(self, values: NDArray[np.floating[Any]]) -> Ints:
        """Return the row of ``met`` for each value, shape (n_rows,)."""
        last = len(self.met) - 2
        missing = np.isnan(values)
        known = ~missing & (values >= 0) & (values < last)
        return np.where(missing, last + 1, np.where(known, np.where(known, values, 0).astype(np.intp), last))


def tree_offsets(sizes: Sequence[int]) -> tuple[Ints, Ints]:
    """Return the offset of each tree when the nodes of several trees are concatenated, and each node's offset.

    Parameters
    ----------
    sizes : sequence of int
        Number of nodes in each tree.

    Returns
    -------
    roots : ndarray of int, shape (n_trees,)
    offsets : ndarray of int, shape (n_nodes,)

    Examples
    --------
    >>> roots, offsets = tree_offsets([2, 3])
    >>> roots.tolist(), offsets.tolist()
    ([0, 2], [0, 0, 2, 2, 2])
    """
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
    return roots, np.repeat(roots, sizes)


def checked_depths(trees: Trees, width: int) -> Ints:
    """Check every node, and return the depth of each tree: the number of splits on its longest path.

    Parameters
    ----------
    trees : Trees
    width : int
        Number of columns in an encoded row.

    Returns
    -------
    ndarray of int, shape (n_trees,)

    Raises
    ------
    RunError
        If following the nodes could leave a tree, loop or read a column that does not exist, or a threshold is NaN or
        minus infinity.
    """
    inner = trees.left >= 0
    check_nodes(trees.roots, trees.left, trees.right, trees.feature, inner, width)
    if not np.all(trees.threshold[inner] > -np.inf):  # infinity itself separates NaN from all numbers
        raise tree_error("a node compares with NaN or minus infinity")
    return _depths(trees)


def _depths(trees: Trees) -> Ints:
    """Return the depth of each tree, going down all trees level by level."""
    depths = np.zeros(len(trees.roots), dtype=np.intp)
    nodes, tree = trees.roots, np.arange(len(trees.roots))
    while np.any(inner := trees.left[nodes] >= 0):
        nodes, tree = nodes[inner], np.tile(tree[inner], 2)
        nodes = np.concatenate([trees.left[nodes], trees.right[nodes]])
        depths[tree] += 1
        if depths.max() > MAX_DEPTH or len(nodes) > len(trees.left):
            raise tree_error(f"a tree has more than {MAX_DEPTH} levels, or two nodes share a child")
    return depths


def contributions(trees: Trees, row: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
    """Return the sum of the roots' values, and how much the splits on each column change it along a row's paths.

    Parameters
    ----------
    trees : Trees
        Without splits on categories, and with values at inner nodes too.
    row : ndarray of the thresholds' dtype, shape (width,)

    Returns
    -------
    base : float
    columns : ndarray of float64, shape (width,)
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
    """Assign a number to each distinct condition on categories, column by column.

    Returns
    -------
    tables : list of CategoryTable
        One for each column that a node splits on by category.
    condition : ndarray of int, shape (n_nodes,)
        Number of each node's condition; -1 where the node does not split on categories.
    """
    condition, start = np.full(len(trees.left), -1, dtype=np.intp), 0
    by_column: dict[int, dict[tuple[frozenset[int], bool], list[int]]] = {}
    for node, codes in trees.categories.items():
        conditions = by_column.setdefault(int(trees.feature[node]), {})
        conditions.setdefault((codes, bool(trees.missing_left[node])), []).append(node)
    tables = []
    for column, conditions in by_column.items():
        seen = trees.seen.get(column, frozenset())
        known = 1 + max(chain(seen, *(codes for codes, _ in conditions)), default=-1)
        met = np.zeros((known + 2, len(conditions)), dtype=np.int8)
        for number, ((codes, missing_left), nodes) in enumerate(conditions.items()):
            met[list(codes), number] = 1
            met[-1, number] = not missing_left
            if seen:
                met[[code for code in range(known + 1) if code not in seen], number] = not missing_left
            condition[nodes] = start + number
        tables.append(CategoryTable(column, slice(start, start + len(conditions)), met))
        start += len(conditions)
    return tables, condition
