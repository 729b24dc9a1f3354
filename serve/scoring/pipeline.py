"""The path that always works: the run's own scikit-learn Pipeline on a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.calibration import SMALLEST
from serve.scoring.fields import Block, Categories, Field, Numbers
from serve.scoring.reasons import Explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlsys.runs.model_io import Classifier

ORDERS = 8  # in which fields are changed, for reasons


class PipelinePath:
    """Scores by the fitted Pipeline.

    Parameters
    ----------
    model : Classifier
    fields : sequence of Field
    typical : tuple of numbers and categories
        The record that reasons are relative to.
    """

    def __init__(self, model: Classifier, fields: Sequence[Field], typical: tuple[Numbers, Categories]) -> None:
        self._model = model
        self._fields = tuple(fields)
        self._typical = typical

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        return float(self.many(Block.of([(numbers, categories)]))[0])

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row."""
        answer = np.asarray(self._model.predict_proba(self._frame(block)), dtype=np.float64)
        return np.ascontiguousarray(answer[:, 1])

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return sampled Shapley values: a typical record becomes this one field by field, in several orders.

        Notes
        -----
        Štrumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature
        contributions". The orders are the same each time, and in each the changes add up.
        """
        rng = np.random.default_rng(0)
        orders = [rng.permutation(len(self._fields)) for _ in range(ORDERS)]
        records = [record for order in orders for record in self._steps(order, (numbers, categories))]
        inside = np.clip(self.many(Block.of(records)), SMALLEST, 1 - SMALLEST)
        margins = np.log(inside / (1 - inside)).reshape(ORDERS, len(self._fields) + 1)
        parts = np.zeros(len(self._fields))
        for order, change in zip(orders, np.diff(margins, axis=1), strict=True):
            parts[order] += change / ORDERS
        named = {field.name: part for field, part in zip(self._fields, parts.tolist(), strict=True)}
        return Explained(float(margins[0, 0]), named, log_odds=True)

    def _steps(self, order: NDArray[np.intp], to: tuple[Numbers, Categories]) -> list[tuple[Numbers, Categories]]:
        """Return the typical record, and it after each change."""
        numbers, categories = list(self._typical[0]), list(self._typical[1])
        steps: list[tuple[Numbers, Categories]] = [(tuple(numbers), tuple(categories))]
        for field in order:
            position = sum(each.number == self._fields[field].number for each in self._fields[:field])
            if self._fields[field].number:
                numbers[position] = to[0][position]
            else:
                categories[position] = to[1][position]
            steps.append((tuple(numbers), tuple(categories)))
        return steps

    def _frame(self, block: Block) -> Any:  # noqa: ANN401 - a DataFrame
        """Return a block as the table that `mlsys.runs.inputs.to_inputs` would give."""
        import pandas as pd  # this path alone needs it

        numbers, categories = iter(block.numbers.T), iter(block.categories)
        columns = {
            field.name: next(numbers) if field.number else pd.array(list(next(categories)), dtype="str")
            for field in self._fields
        }
        return pd.DataFrame(columns)
