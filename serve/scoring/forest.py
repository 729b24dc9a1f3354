"""scikit-learn's random forest: the mean of what its trees' leaves hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.encoding import Encoding
from serve.scoring.fields import Block, Categories, Numbers
from serve.scoring.plain import Part
from serve.scoring.reasons import Explained, folded
from serve.scoring.trees import Forest, Trees, joined

ROWS = 64  # walked together; more would not fit into the processor's cache


class ForestPath:
    """A random forest, summed in the order and precision of scikit-learn.

    Parameters
    ----------
    encoding : Encoding
    forest : Forest
    count : int
        Number of trees.
    """

    def __init__(self, encoding: Encoding, forest: Forest, count: int) -> None:
        self._encoding, self._forest, self._count = encoding, forest, count

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        shares = self._forest.walk(self._encoding.row(numbers, categories))
        return float(np.add.accumulate(shares)[-1] / self._count)  # in order: a plain sum would add in pairs

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row."""
        rows = self._encoding.rows(block, np.float32)
        shares = [self._forest.walk_rows(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
        sums = [np.add.accumulate(part, axis=1)[:, -1] for part in shares]
        return np.concatenate(sums) / self._count if sums else np.empty(0)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return how much each split on the way to the leaves changes the share of the positive class.

        Notes
        -----
        Saabas 2014, "Interpreting random forests"; unlike SHAP values they depend on the order of the splits.
        """
        row = np.array(self._encoding.row(numbers, categories), dtype=np.float32)
        base, columns = self._forest.changes(row)
        parts = folded(self._encoding.sources, columns / self._count)
        return Explained(base / self._count, parts, log_odds=False)


def forest_of(estimators: Sequence[Part], width: int) -> Forest:
    """Return the trees of a fitted forest to walk.

    Parameters
    ----------
    estimators : sequence of Part
        Its DecisionTreeClassifiers.
    width : int
        Columns of an encoded row.
    """
    trees = _joined([estimator["tree_"].state for estimator in estimators])
    return Forest(trees, width)


def _joined(trees: Sequence[dict[str, Any]]) -> Trees:
    sizes = [len(tree["nodes"]) for tree in trees]
    roots, shift = joined(sizes)
    nodes = np.concatenate([tree["nodes"] for tree in trees])
    leaf = nodes["left_child"] < 0
    return Trees(
        roots=roots,
        left=np.where(leaf, -1, nodes["left_child"] + shift),
        right=np.where(leaf, -1, nodes["right_child"] + shift),
        feature=nodes["feature"].astype(np.intp),
        threshold=_next_above(nodes["threshold"]),
        missing_left=nodes["missing_go_to_left"] != 0,
        value=np.concatenate([tree["values"][:, 0, 1] for tree in trees]),
        categories={},
    )


def _next_above(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the least float32 above each threshold: rows are float32, and go left up to and with the threshold."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, rounded, np.nextafter(rounded, np.float32(np.inf))).astype(np.float32)
