"""scikit-learn's random forest: the mean of its trees' leaf values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.encoding import Encoding
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.reasons import Explained, folded
from serve.scoring.skops_reader import Node
from serve.scoring.trees.arrays import Trees, contributions, tree_offsets
from serve.scoring.trees.traversal import make_traversal


class ForestPath:
    """A random forest, summed in scikit-learn's order and precision.

    Parameters
    ----------
    encoding : Encoding
    trees : Trees

    Attributes
    ----------
    implementation : str
        Where the trees are traversed: ``in C`` or ``in NumPy``.
    """

    def __init__(self, encoding: Encoding, trees: Trees) -> None:
        self._encoding, self._trees, self._count = encoding, trees, len(trees.roots)
        self._traversal = make_traversal(trees, encoding.width)
        self.implementation = self._traversal.implementation

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        return self._traversal.sum(self._encoding.row(numbers, categories), 0.0) / self._count

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        return np.asarray(self._traversal.sums(self._encoding.rows(block, np.float32), 0.0) / self._count)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return how much each split on the path to the leaves changes the fraction of positives.

        Notes
        -----
        Saabas 2014, "Interpreting random forests". Unlike SHAP values, these depend on the order of the splits.
        """
        row = np.array(self._encoding.row(numbers, categories), dtype=np.float32)
        base, columns = contributions(self._trees, row)
        parts = folded(self._encoding.sources, columns / self._count)
        return Explained(base / self._count, parts, log_odds=False)


def trees_of_forest(estimators: Sequence[Node]) -> Trees:
    """Return the trees of a fitted forest.

    Parameters
    ----------
    estimators : sequence of Node
        The forest's DecisionTreeClassifiers.
    """
    return _joined([estimator["tree_"].state for estimator in estimators])


def _joined(trees: Sequence[dict[str, Any]]) -> Trees:
    sizes = [len(tree["nodes"]) for tree in trees]
    roots, offsets = tree_offsets(sizes)
    nodes = np.concatenate([tree["nodes"] for tree in trees])
    leaf = nodes["left_child"] < 0
    return Trees(
        roots=roots,
        left=np.where(leaf, -1, nodes["left_child"] + offsets),
        right=np.where(leaf, -1, nodes["right_child"] + offsets),
        feature=nodes["feature"].astype(np.intp),
        threshold=_next_above(nodes["threshold"]),
        missing_left=nodes["missing_go_to_left"] != 0,
        value=np.concatenate([tree["values"][:, 0, 1] for tree in trees]),
        categories={},
    )


def _next_above(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the smallest float32 above each threshold: rows are float32, and go left if they are <= the threshold."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, rounded, np.nextafter(rounded, np.float32(np.inf))).astype(np.float32)
