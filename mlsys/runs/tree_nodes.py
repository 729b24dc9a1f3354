"""The one check of decision-tree nodes: every index in a tree must stay inside it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError

Indices: TypeAlias = NDArray[np.integer[Any]]


def check_nodes(
    roots: Indices, left: Indices, right: Indices, feature: Indices, inner: NDArray[np.bool_], n_features: int
) -> None:
    """Refuse trees in which following the nodes could leave the tree, loop or read a column that does not exist.

    Parameters
    ----------
    roots : ndarray of int, shape (n_trees,)
        Index of each tree's root; the trees' nodes stand one after the other, so the first root is 0.
    left, right : ndarray of int, shape (n_nodes,)
        Index of each node's children; ignored at leaves.
    feature : ndarray of int, shape (n_nodes,)
        Column that each node splits on; ignored at leaves.
    inner : ndarray of bool, shape (n_nodes,)
        Whether a node has children.
    n_features : int
        Number of columns in a row.

    Raises
    ------
    RunError
        If a tree has no nodes, a child is outside its parent's tree or not numbered after its parent, or a node splits
        on a column that does not exist.

    Notes
    -----
    scikit-learn, XGBoost and LightGBM number children after their parent, so a traversal from the root must end.

    Examples
    --------
    >>> left, right = np.array([1, -1, -1]), np.array([2, -1, -1])
    >>> check_nodes(np.array([0]), left, right, np.zeros(3, dtype=int), left >= 0, n_features=1)
    """
    count = len(left)
    ends = np.append(roots[1:], count)
    sizes = ends - roots
    if not len(roots) or np.any(sizes <= 0):
        raise tree_error("a tree has no nodes")
    end, own = np.repeat(ends, sizes)[inner], np.flatnonzero(inner)
    for children in (left[inner], right[inner]):
        if np.any((children <= own) | (children >= end)):
            raise tree_error("a node's child is outside its tree or not numbered after its parent")
    columns = feature[inner]
    if np.any((columns < 0) | (columns >= n_features)):
        raise tree_error(f"a node splits on a column that does not exist (the model has {n_features})")


def tree_error(reason: str) -> RunError:
    """Return the error for a model whose trees cannot be followed safely."""
    return RunError(
        f"The model was refused: {reason}. Its file is corrupt or was tampered with: train again, or restore it from a "
        "backup."
    )
