"""CatBoost by its own library, which expects category labels as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from serve.scoring.encoding import Encoding, native_labels
from serve.scoring.fields import Categories, Inputs, Numbers, RecordBlock
from serve.scoring.reasons import Explained, folded
from serve.scoring.skops_reader import Node

PROBABILITY = "Probability"
NO_EXTRAS = (None,) * 14  # a pool's optional arguments: weights, groups, names


class CatboostPath:
    """A CatBoost model that predicts on one thread.

    Parameters
    ----------
    raw : bytes
        The saved model.
    encoding : Encoding
        Encoder of the numbers; the labels of native categories follow them.
    labels : sequence of Labels
        Empty if the encoder turned the categories into numbers.
    """

    def __init__(self, raw: bytes, encoding: Encoding, labels: Sequence[Labels]) -> None:
        import catboost  # takes half a second, and only CatBoost models need it

        self._encoding, self._labels = encoding, list(labels)
        self._lock = Lock()
        self._pool, self._table = catboost.Pool, catboost.FeaturesData
        self._model = catboost.CatBoost()
        try:
            self._model.load_model(blob=raw)
        except catboost.CatBoostError as error:
            raise RunError(f"CatBoost cannot load the model: {error}. It is corrupt: train again.") from error
        self._forget_parameters()
        self._numbers = encoding.width - len(self._labels)
        self._categories = list(range(self._numbers, encoding.width)) or None
        self._row = np.empty((1, encoding.width), dtype=object)
        self._check()

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        row: list[Any] = self._encoding.row(numbers, categories)
        for column, (position, known, unknown) in enumerate(self._labels, start=self._numbers):
            row[column] = known.get(categories[position], unknown)
        self._row[0] = row
        # What Pool.__init__ calls after checking its arguments; of all input types, an object array is the fastest.
        pool = self._pool.__new__(self._pool)
        pool._init_pool(self._row, None, self._categories, *NO_EXTRAS, 1)
        return float(self._predict(pool)[0, 1])

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        return self._predict(self.pool(block))[:, 1]

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return the SHAP values of one record."""
        pool = self.pool(RecordBlock.of([(numbers, categories)]))
        with self._lock:  # CatBoost does not document this call as thread-safe
            values = self._model.get_feature_importance(pool, type="ShapValues", thread_count=1)
        *columns, bias = np.asarray(values)[0].tolist()
        return Explained(bias, folded(self._encoding.sources, columns), log_odds=True)

    def pool(self, block: RecordBlock) -> Any:  # noqa: ANN401 - a catboost.Pool
        """Return rows as a CatBoost pool."""
        numbers = self._encoding.rows(block, np.float32)
        if not self._labels:
            return self._pool(numbers, thread_count=1)
        texts = np.empty((len(block), len(self._labels)), dtype=object)
        for column, (position, known, unknown) in enumerate(self._labels):
            texts[:, column] = block.categories[position].map(partial(_label, known, unknown), object)
        return self._pool(
            self._table(num_feature_data=numbers[:, : self._numbers].copy(), cat_feature_data=texts), thread_count=1
        )

    def _predict(self, pool: Any) -> NDArray[np.float64]:  # noqa: ANN401
        # What CatBoost.predict calls after checking its arguments.
        answer = self._model._object._base_predict(pool, PROBABILITY, 0, 0, 1, False, "CPU")
        return np.asarray(answer, dtype=np.float64)

    def _forget_parameters(self) -> None:
        """Keep only the name of the loss, as the library parses all saved parameters again in each prediction."""
        metadata = self._model.get_metadata()
        if (params := metadata.get("params")) is not None:
            loss = json.loads(params).get("loss_function")
            metadata["params"] = json.dumps({"loss_function": loss} if loss else {})

    def _check(self) -> None:
        columns = len(self._model.feature_names_)
        categories = self._model.get_cat_feature_indices() or None
        if columns != self._encoding.width or categories != self._categories:
            raise RunError(
                f"The CatBoost model expects {columns} columns, its encoder returns {self._encoding.width}, or the two "
                "disagree on which columns are categories: train again."
            )


def _label(known: Mapping[str | None, str], unknown: str, text: str | None) -> bytes:
    return known.get(text, unknown).encode()


Labels = tuple[int, dict[str | None, str], str]


def labels_of(encoder: Node, inputs: Inputs) -> list[Labels]:
    """Return the labels of each category column.

    Each entry holds the column's position among the checked categories, the label of each known value, and the label of
    any other value.

    Raises
    ------
    RunError
        If a value has no label, which CatBoost would reject.
    """
    if encoder.kind != "mlsys.NativeColumns":
        return []
    present = [field.name for field in inputs.categories]
    columns: list[Labels] = []
    for name, (known, unknown) in native_labels(encoder).items():
        labels = {text: label for text, label in known.items() if label is not None}
        if unknown is None or len(labels) < len(known):
            raise RunError(f"The encoder leaves missing values in {name}, which CatBoost does not accept: train again.")
        columns.append((present.index(name), labels, unknown))
    return columns
