"""XGBoost's trees in LightGBM's library, which tells the leaf that a single row reaches faster than anything in NumPy.

Only the way down is LightGBM's: a row goes left at ``x <= t``, where XGBoost goes left at ``x < t``, so each threshold
becomes the next smaller number of float32. What the leaves add is summed up as XGBoost does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.lightgbm import FLOAT32, LEAF_INDEX, Loaded
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
        text, self._values, self._first = _as_text(trees, width)
        super().__init__(text)
        count = len(trees.roots)
        self._pack = Struct(f"{width}f").pack_into
        self._row = np.empty(width, dtype=np.float32)
        self._found, self._position = np.empty(count), np.empty(count, dtype=np.intp)
        self._reached = np.empty(count, dtype=np.float32)
        row, found = (array.ctypes.data_as(ctypes.c_void_p) for array in (self._row, self._found))
        self._for_single_rows(LEAF_INDEX, FLOAT32, width, -1, row, found)

    def walk(self, row: Sequence[float]) -> NDArray[Any]:
        """Return the value of the leaf that a row reaches in each tree, in an array that the next call fills again."""
        try:
            self._pack(self._row.data, 0, *row)
        except OverflowError:  # a number beyond float32 is infinite to a model of float32, as in training
            with np.errstate(over="ignore"):
                self._row[:] = row
        self._predict_single()
        np.add(self._found, self._first, self._found)
        self._position[:] = self._found
        return self._values.take(self._position, None, self._reached, "clip")


def fits(trees: Trees) -> bool:
    """Tell whether LightGBM is installed, and decides as these trees do whatever the row.

    It takes the smallest numbers for 0, so that no threshold may be among them, nor 0 itself.
    """
    inner = trees.left >= 0
    exact = not trees.categories and bool(np.all(np.abs(trees.threshold[inner]) > AS_ZERO))
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


def _as_text(trees: Trees, width: int) -> tuple[bytes, NDArray[np.float32], NDArray[np.float64]]:
    """Return the trees in LightGBM's format, their leaves' values one tree after the other, and where each begins."""
    texts: list[str] = []
    values: list[float] = []
    first: list[int] = []
    thresholds = np.nextafter(trees.threshold, np.float32(-np.inf)).astype(np.float64)
    decisions = MISSING_IS_NAN + DEFAULT_LEFT * trees.missing_left.astype(int)
    for number, order in enumerate(_orders(trees)):
        inner = [node for node in order if trees.left[node] >= 0]
        leaves = [node for node in order if trees.left[node] < 0]
        place = {node: index for index, node in enumerate(inner)} | {node: ~index for index, node in enumerate(leaves)}
        first.append(len(values))
        values += trees.value[leaves].tolist()
        lines: dict[str, Sequence[object]] = {
            "num_leaves": [len(leaves)],
            "num_cat": [0],
            "split_feature": trees.feature[inner].tolist(),
            "split_gain": [1] * len(inner),
            "threshold": thresholds[inner].tolist(),
            "decision_type": decisions[inner].tolist(),
            "left_child": [place[node] for node in trees.left[inner].tolist()],
            "right_child": [place[node] for node in trees.right[inner].tolist()],
            "leaf_value": [0] * len(leaves),
        }
        texts.append(_section(f"Tree={number}", lines))
    head: dict[str, Sequence[object]] = {
        "version": ["v4"],
        "num_class": [1],
        "num_tree_per_iteration": [1],
        "label_index": [0],
        "max_feature_idx": [width - 1],
        "objective": ["regression"],
        "feature_names": [f"c{place}" for place in range(width)],
        "feature_infos": ["[-1e308:1e308]"] * width,
        "tree_sizes": [len(text) for text in texts],
    }
    whole = "".join([_section("tree", head), *texts, "end of trees\n"])
    return whole.encode(), np.array(values, dtype=np.float32), np.array(first, dtype=np.float64)


def _section(title: str, lines: Mapping[str, Sequence[object]]) -> str:
    return "\n".join([title, *(f"{name}={' '.join(map(str, each))}" for name, each in lines.items()), "", ""])
