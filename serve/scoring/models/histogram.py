"""scikit-learn's histogram gradient boosting by tree traversal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.input_column import InputColumn
from mlsys.runs.logistic import scalar_sigmoid, sigmoid
from serve.scoring.encoding import Encoding, native_codes
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.reasons import Explained
from serve.scoring.shapley import sampled_shapley
from serve.scoring.skops_reader import Node
from serve.scoring.trees.arrays import Trees, tree_offsets
from serve.scoring.trees.traversal import make_traversal


class HistogramPath:
    """Histogram gradient boosting, summed in scikit-learn's order and precision.

    Parameters
    ----------
    encoding : Encoding
    trees : Trees
    baseline : float
        The log odds that the trees start from.
    fields : sequence of InputColumn
    typical : tuple of numbers and categories
        The record that contributions are relative to.

    Attributes
    ----------
    implementation : str
        Where the trees are traversed: ``in C`` or ``in NumPy``.
    """

    def __init__(
        self,
        encoding: Encoding,
        trees: Trees,
        baseline: float,
        fields: Sequence[InputColumn],
        typical: tuple[Numbers, Categories],
    ) -> None:
        self._encoding, self._baseline = encoding, baseline
        self._traversal = make_traversal(trees, encoding.width)
        self.implementation = self._traversal.implementation
        self._fields, self._typical = tuple(fields), typical

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        return scalar_sigmoid(self._traversal.sum(self._encoding.row(numbers, categories), self._baseline))

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        margins = self._traversal.sums(self._encoding.rows(block, np.float64), self._baseline)
        return sigmoid(margins)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return sampled Shapley values."""
        return sampled_shapley(self.many, self._fields, self._typical, (numbers, categories))


def trees_of(model: Node, encoder: Node, encoding: Encoding) -> Trees:
    """Return the trees of a fitted HistGradientBoostingClassifier.

    Parameters
    ----------
    model : Node
    encoder : Node
        The encoder in front of it.
    encoding : Encoding
        The same encoder as tables.
    """
    columns, codes = _columns(model, encoder, encoding)
    predictors = [predictor for iteration in model["_predictors"] for predictor in iteration]
    return _joined(predictors, columns, codes)


def _columns(model: Node, encoder: Node, encoding: Encoding) -> tuple[NDArray[np.intp], dict[int, list[int]]]:
    """Return the encoded column of each of the model's features, and our codes of its categories, by feature.

    The model puts category columns first, and numbers the levels that it saw in sorted order.
    """
    if model["_preprocessor"] is None:
        return np.arange(encoding.width), {}
    mask = model["is_categorical_"]
    columns = np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])
    fitted_levels = model["_preprocessor"]["transformers_"][0][1]["categories_"]
    codes = {}
    for feature, levels in enumerate(fitted_levels):
        ours = native_codes(encoder, encoding.sources[columns[feature]])
        codes[feature] = [ours[level] for level in levels.tolist() if isinstance(level, str)]
    return columns, codes


def _joined(predictors: Sequence[Node], columns: NDArray[np.intp], codes: dict[int, list[int]]) -> Trees:
    nodes = np.concatenate([predictor["nodes"] for predictor in predictors])
    roots, offsets = tree_offsets([len(predictor["nodes"]) for predictor in predictors])
    leaf = nodes["is_leaf"] != 0
    categories = {
        int(root + node): _right(predictor, node, codes)
        for root, predictor in zip(roots, predictors, strict=True)
        for node in np.flatnonzero((predictor["nodes"]["is_categorical"] != 0) & (predictor["nodes"]["is_leaf"] == 0))
    }
    return Trees(
        roots=roots,
        left=np.where(leaf, -1, nodes["left"].astype(np.intp) + offsets),
        right=np.where(leaf, -1, nodes["right"].astype(np.intp) + offsets),
        feature=np.where(leaf, 0, columns[np.where(leaf, 0, nodes["feature_idx"].astype(np.intp))]),
        threshold=np.nextafter(nodes["num_threshold"], np.inf),  # rows go left if they are <= the threshold
        missing_left=nodes["missing_go_to_left"] != 0,
        value=nodes["value"].copy(),
        categories=categories,
        seen={int(columns[feature]): frozenset(known) for feature, known in codes.items()},
    )


def _right(predictor: Node, node: Any, codes: dict[int, list[int]]) -> frozenset[int]:  # noqa: ANN401 - an index
    """Return our codes of the categories that do not go left."""
    split = predictor["nodes"][node]
    bits = predictor["raw_left_cat_bitsets"][split["bitset_idx"]]  # 32 to a word
    known = codes[int(split["feature_idx"])]
    return frozenset(ours for own, ours in enumerate(known) if not int(bits[own // 32]) >> (own % 32) & 1)
