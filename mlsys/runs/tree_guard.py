"""Reject decision trees whose node indices point outside the tree.

scikit-learn follows the child and feature indices of a tree without checking them, so a malicious file with only
trusted types could still crash the process that predicts with it, or make it read out of bounds. skops therefore does
not trust trees by default and leaves the check to its user: https://github.com/scikit-learn/scikit-learn/pull/34558.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.object_graph import walk_objects
from mlsys.runs.tree_nodes import check_nodes, tree_error

ROOT = np.zeros(1, dtype=np.intp)  # each of scikit-learn's trees comes in arrays of its own


def check_trees(model: object) -> None:
    """Check every scikit-learn tree in a loaded model.

    Parameters
    ----------
    model : object
        Loaded model; check it before it predicts anything.

    Raises
    ------
    RunError
        If a child index is outside its tree or not above its parent's, a feature index is not below the number of
        inputs of the tree's estimator, or the members of an ensemble have different numbers of inputs.
    """
    for part in walk_objects(model):
        attributes = getattr(part, "__dict__", {})
        inputs = attributes.get("n_features_in_", 0)
        if "tree_" in attributes:
            tree = attributes["tree_"]
            _check_tree(tree.__getstate__()["nodes"], min(inputs, tree.n_features))
        for predictor in _flat(attributes.get("_predictors", ())):
            _check_histogram_tree(predictor.nodes, inputs, len(predictor.raw_left_cat_bitsets))
        members = {vars(member).get("n_features_in_", inputs) for member in _flat(attributes.get("estimators_", ()))}
        if any(hasattr(member, "tree_") for member in _flat(attributes.get("estimators_", ()))) and members != {inputs}:
            raise tree_error("its trees have different numbers of inputs")


def _flat(nested: Iterable[object]) -> list[Any]:
    """Return the members of an ensemble, given as a list, a list of lists or an object array."""
    rows = nested.ravel().tolist() if isinstance(nested, np.ndarray) else list(nested)
    return [member for row in rows for member in (row if isinstance(row, list) else [row])]


def _check_tree(nodes: NDArray[np.void], inputs: int) -> None:
    inner = nodes["left_child"] != -1
    check_nodes(ROOT, nodes["left_child"], nodes["right_child"], nodes["feature"], inner, inputs)


def _check_histogram_tree(nodes: NDArray[np.void], inputs: int, tables: int) -> None:
    inner = nodes["is_leaf"] == 0
    left, right = (nodes[side].astype(np.int64) for side in ("left", "right"))
    check_nodes(ROOT, left, right, nodes["feature_idx"], inner, inputs)
    categorical = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    if np.any(categorical >= tables):
        raise tree_error("a split on categories points outside its table")
