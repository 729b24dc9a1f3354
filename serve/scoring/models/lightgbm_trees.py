"""LightGBM's trees, read from its text format, for an exact traversal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.trees.arrays import Trees, tree_offsets
from serve.scoring.trees.compiled import is_compiled
from serve.scoring.trees.traversal import Traversal, make_traversal

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of a decision
MISSING_BITS, MISSING_IS_ZERO, MISSING_IS_NAN = 12, 4, 8
ZERO_THRESHOLD = float(np.float32(1e-35))  # LightGBM treats a smaller absolute value as 0
LARGEST_EXPONENT = 700.0  # exp of a larger number could overflow


class LightgbmTraversal:
    """Probabilities, bit for bit as the library computes them.

    Parameters
    ----------
    traversal : Traversal
        Traversal of the trees in float64.
    slope : float
        Slope of the sigmoid.
    """

    def __init__(self, traversal: Traversal, slope: float) -> None:
        self.implementation = traversal.implementation
        self._sum, self._sums, self._slope = traversal.sum, traversal.sums, slope

    def probability(self, row: Sequence[float]) -> float:
        """Return the probability of one encoded row."""
        return 1.0 / (1.0 + math.exp(min(-self._slope * self._sum(row, 0.0), LARGEST_EXPONENT)))

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each encoded row, shape (n_rows,); any thread may call it."""
        exponents = np.minimum(-self._slope * self._sums(rows, 0.0), LARGEST_EXPONENT)
        powers = np.fromiter(
            map(math.exp, exponents.tolist()), np.float64, len(rows)
        )  # np.exp may differ in the last bit
        return np.asarray(1.0 / (1.0 + powers))


def lightgbm_traversal(text: str, used: int, width: int) -> LightgbmTraversal | str:
    """Return a traversal of a model's trees, or the reason why there is none.

    Parameters
    ----------
    text : str
        The model in LightGBM's text format.
    used : int
        Number of trees to use, from the first; 0 or less for all.
    width : int
        Number of columns in an encoded row.

    Raises
    ------
    RunError
        If a node points outside its tree or the row, or back to an earlier node.
    KeyError, ValueError, IndexError
        If the text is not in that format.
    """
    if not is_compiled():
        return "only the traversal in C is faster, and it was not compiled when mlsys was installed"
    head, *texts = text.split("\nTree=")
    model = _lines(head)
    kind, _, parameters = model.get("objective", "").partition(" sigmoid:")
    if kind != "binary":
        return f"its objective is {kind or 'unknown'}"
    if "average_output" in head.splitlines():
        return "its trees are averaged"
    trees = [_lines(each.split("\nend of trees")[0]) for each in texts[: used if used > 0 else None]]
    if not trees:
        return "it has no trees"
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        return "its leaves are linear models"
    decisions = np.concatenate([_numbers(tree, "decision_type", np.intp) for tree in trees])
    if np.any(decisions & CATEGORICAL):
        return "it splits on categories"
    if np.any(decisions & MISSING_BITS == MISSING_IS_ZERO):
        return "it treats 0 as missing"
    return LightgbmTraversal(make_traversal(_joined(trees), width), float(parameters.split()[0]))


def _lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _numbers(tree: Mapping[str, str], name: str, dtype: type) -> NDArray[Any]:
    return np.array(tree.get(name, "").split(), dtype=dtype)  # a tree of one leaf has no lines about splits


def _joined(trees: Sequence[Mapping[str, str]]) -> Trees:
    """Return the trees, with each tree's inner nodes before its leaves."""
    inner = [int(tree["num_leaves"]) - 1 for tree in trees]
    sizes = [2 * count + 1 for count in inner]
    roots, offsets = tree_offsets(sizes)
    is_leaf = np.concatenate([np.arange(size) >= size // 2 for size in sizes])

    def column(name: str, dtype: type, *, leaves: bool = False) -> NDArray[Any]:
        values: NDArray[Any] = np.zeros(len(is_leaf), dtype)
        values[is_leaf == leaves] = np.concatenate([_numbers(tree, name, dtype) for tree in trees])
        return values

    def children(name: str) -> NDArray[np.intp]:
        child = column(name, np.intp)
        node = np.where(child < 0, np.repeat(inner, sizes) + ~child, child)  # ~0 is the first leaf
        return np.where(is_leaf, -1, node + offsets)

    threshold, decision = column("threshold", np.float64), column("decision_type", np.intp)
    goes_left = np.where(decision & MISSING_BITS == MISSING_IS_NAN, decision & DEFAULT_LEFT != 0, threshold >= 0)
    return Trees(
        roots=roots,
        left=children("left_child"),
        right=children("right_child"),
        feature=column("split_feature", np.intp),
        threshold=_first_right(threshold),
        missing_left=goes_left,  # if nothing was missing in training, NaN is treated as 0
        value=column("leaf_value", np.float64, leaves=True),
        categories={},
    )


def _first_right(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest value that goes right: rows <= the threshold go left, and tiny values go where 0 does."""
    above = np.nextafter(thresholds, np.inf)
    as_zero = np.where(thresholds >= 0, np.nextafter(ZERO_THRESHOLD, np.inf), -ZERO_THRESHOLD)
    return np.where(np.abs(thresholds) <= ZERO_THRESHOLD, as_zero, above)
