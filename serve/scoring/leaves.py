"""XGBoost's trees in LightGBM's library, which tells the leaf that a single row reaches faster than anything in NumPy.

Only the way down is LightGBM's: a row goes left at ``x <= t``, where XGBoost goes left at ``x < t``, so each threshold
becomes the next smaller number of float32. Each tree is a class of its own, so that the library tells the value of
its leaf instead of a sum: what the leaves add is summed up as XGBoost does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.lightgbm import FLOAT32, RAW_SCORE, Loaded
from serve.scoring.trees import Trees, check_trees

DEFAULT_LEFT, MISSING_IS_NAN = 2, 8  # bits of a decision
AS_ZERO = np.float32(1.01e-35)  # LightGBM takes smaller numbers for 0


class Leaves(Loaded):
    """Trees to walk with buffers of its own: `walk` belongs to one thread, as that of `serve.scoring.trees.Forest`.

    Parameters
    ----------
    trees : Trees
        As `fits` says.
    width : int
        Columns of an encoded row.

    Raises
    ------
    RunError
        If a node points outside of the trees or of the row, or LightGBM refuses the trees.
    """

    def __init__(self, trees: Trees, width: int) -> None:
        check_trees(trees, width)
        super().__init__(_as_text(trees, width))
        self._pack = Struct(f"{width}f").pack_into
        self._row, self._reached = (ctypes.c_float * width)(), np.empty(len(trees.roots))
        reached = self._reached.ctypes.data_as(ctypes.c_void_p)
        self._for_single_rows(RAW_SCORE, FLOAT32, width, -1, self._row, reached)

    def walk(self, row: Sequence[float]) -> NDArray[Any]:
        """Return the value of the leaf that a row reaches in each tree, in an array that the next call fills again."""
        try:
            self._pack(self._row, 0, *row)
        except OverflowError:  # a number beyond float32 is infinite to a model of float32, as in training
            with np.errstate(over="ignore"):
                self._row[:] = np.array(row, dtype=np.float32).tolist()
        self._predict_single()
        return self._reached


def fits(trees: Trees) -> bool:
    """Tell whether LightGBM is installed, and decides as these trees do whatever the row.

    It takes the smallest numbers for 0, so that no threshold may be among them, nor 0 itself, and no leaf's value.
    """
    inner = trees.left >= 0
    thresholds, values = np.abs(trees.threshold[inner]), np.abs(trees.value[~inner])
    exact = not trees.categories and bool(np.all(thresholds > AS_ZERO) and np.all((values > AS_ZERO) | (values == 0)))
    return exact and find_spec("lightgbm") is not None


def _orders(trees: Trees) -> Iterator[list[int]]:
    """Yield the nodes of each tree from its root on, those on the left first."""
    for root in trees.roots.tolist():
        order, stack = [], [root]
        while stack:
            node = stack.pop()
            order.append(node)
            if trees.left[node] >= 0:
                stack += [int(trees.right[node]), int(trees.left[node])]
        yield order


def _as_text(trees: Trees, width: int) -> bytes:
    """Return the trees in LightGBM's format."""
    texts: list[str] = []
    thresholds = np.nextafter(trees.threshold, np.float32(-np.inf)).astype(np.float64)
    decisions = MISSING_IS_NAN + DEFAULT_LEFT * trees.missing_left.astype(int)
    for number, order in enumerate(_orders(trees)):
        inner = [node for node in order if trees.left[node] >= 0]
        leaves = [node for node in order if trees.left[node] < 0]
        place = {node: index for index, node in enumerate(inner)} | {node: ~index for index, node in enumerate(leaves)}
        lines: dict[str, Sequence[object]] = {
            "num_leaves": [len(leaves)],
            "num_cat": [0],
            "split_feature": trees.feature[inner].tolist(),
            "split_gain": [1] * len(inner),
            "threshold": thresholds[inner].tolist(),
            "decision_type": decisions[inner].tolist(),
            "left_child": [place[node] for node in trees.left[inner].tolist()],
            "right_child": [place[node] for node in trees.right[inner].tolist()],
            "leaf_value": trees.value[leaves].tolist(),
        }
        texts.append(_section(f"Tree={number}", lines))
    head: dict[str, Sequence[object]] = {
        "version": ["v4"],
        "num_class": [len(texts)],
        "num_tree_per_iteration": [len(texts)],
        "label_index": [0],
        "max_feature_idx": [width - 1],
        "objective": ["regression"],
        "feature_names": [f"c{place}" for place in range(width)],
        "feature_infos": ["[-1e308:1e308]"] * width,
        "tree_sizes": [len(text) for text in texts],
    }
    return "".join([_section("tree", head), *texts, "end of trees\n"]).encode()


def _section(title: str, lines: Mapping[str, Sequence[object]]) -> str:
    return "\n".join([title, *(f"{name}={' '.join(map(str, each))}" for name, each in lines.items()), "", ""])
