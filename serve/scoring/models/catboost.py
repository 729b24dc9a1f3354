"""CatBoost by its own library, which takes category labels as text."""

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
from serve.scoring.fields import Block, Categories, Inputs, Numbers
from serve.scoring.reasons import Explained, folded
from serve.scoring.skops_reader import Node

PROBABILITY = "Probability"
NOT_GIVEN = (None,) * 14  # what a pool may hold beside its rows: weights, groups, names


class CatboostPath:
    """A CatBoost model on one thread.

    Parameters
    ----------
    raw : bytes
        As it was saved.
    encoding : Encoding
        Of numbers; for native categories, their labels follow.
    labels : sequence of Labels
        Empty where the encoder has made numbers of categories.
    """

    def __init__(self, raw: bytes, encoding: Encoding, labels: Sequence[Labels]) -> None:
        import catboost  # half a second, and only its own models need it

        self._encoding, self._labels = encoding, list(labels)
        self._one_at_a_time = Lock()
        self._pool, self._table = catboost.Pool, catboost.FeaturesData
        self._model = catboost.CatBoost()
        try:
            self._model.load_model(blob=raw)
        except catboost.CatBoostError as error:
            raise RunError(f"CatBoost refuses the model: {error}. It is damaged: train again.") from error
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
        # What Pool calls after looking at the arguments; of all it takes, an array of objects costs it least.
        pool = self._pool.__new__(self._pool)
        pool._init_pool(self._row, None, self._categories, *NOT_GIVEN, 1)
        return float(self._predict(pool)[0, 1])

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row."""
        return self._predict(self.pool(block))[:, 1]

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return the SHAP values of one record."""
        pool = self.pool(Block.of([(numbers, categories)]))
        with self._one_at_a_time:  # nothing says that threads may share a model for this
            values = self._model.get_feature_importance(pool, type="ShapValues", thread_count=1)
        *columns, bias = np.asarray(values)[0].tolist()
        return Explained(bias, folded(self._encoding.sources, columns), log_odds=True)

    def pool(self, block: Block) -> Any:  # noqa: ANN401 - a catboost.Pool
        """Return rows as CatBoost takes them."""
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
        # What CatBoost.predict calls after looking at the arguments.
        answer = self._model._object._base_predict(pool, PROBABILITY, 0, 0, 1, False, "CPU")
        return np.asarray(answer, dtype=np.float64)

    def _forget_parameters(self) -> None:
        """Leave the name of the loss, all that the library looks for when it parses them in each prediction."""
        metadata = self._model.get_metadata()
        if (given := metadata.get("params")) is not None:
            loss = json.loads(given).get("loss_function")
            metadata["params"] = json.dumps({"loss_function": loss} if loss else {})

    def _check(self) -> None:
        columns = len(self._model.feature_names_)
        categories = self._model.get_cat_feature_indices() or None
        if columns != self._encoding.width or categories != self._categories:
            raise RunError(
                f"The CatBoost model takes {columns} columns and its encoder gives {self._encoding.width}, or they "
                "disagree on which are categories: train again."
            )


def _label(known: Mapping[str | None, str], unknown: str, text: str | None) -> bytes:
    return known.get(text, unknown).encode()


Labels = tuple[int, dict[str | None, str], str]


def labels_of(encoder: Node, inputs: Inputs) -> list[Labels]:
    """Return the label of each category value: where it stands among the checked ones, known values, any other.

    Raises
    ------
    RunError
        If some value has no label, which CatBoost would refuse.
    """
    if encoder.kind != "mlsys.NativeColumns":
        return []
    present = [field.name for field in inputs.categories]
    found: list[Labels] = []
    for name, (known, unknown) in native_labels(encoder).items():
        labels = {text: label for text, label in known.items() if label is not None}
        if unknown is None or len(labels) < len(known):
            raise RunError(f"The encoder leaves {name} missing, which CatBoost does not take: train again.")
        found.append((present.index(name), labels, unknown))
    return found
