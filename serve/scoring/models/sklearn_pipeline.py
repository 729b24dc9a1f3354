"""The path that works for every model: the run's scikit-learn Pipeline on a DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.calibration import Calibration
from mlsys.runs.input_column import InputColumn
from mlsys.runs.model_outputs import more_outputs
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.reasons import Explained
from serve.scoring.shapley import sampled_shapley

if TYPE_CHECKING:
    from mlsys.runs.model_io import Classifier


class PipelinePath:
    """Scores with the fitted Pipeline.

    Parameters
    ----------
    model : Classifier
    fields : sequence of InputColumn
    typical : tuple of numbers and categories
        The record that contributions are relative to.
    calibration : Calibration
        That of the run, for what the model gives beside the score.
    """

    def __init__(
        self,
        model: Classifier,
        fields: Sequence[InputColumn],
        typical: tuple[Numbers, Categories],
        calibration: Calibration,
    ) -> None:
        self._model = model
        self._calibration = calibration
        self._fields = tuple(fields)
        self._typical = typical

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        return float(self.many(RecordBlock.of([(numbers, categories)]))[0])

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        answer = np.asarray(self._model.predict_proba(self._frame(block)), dtype=np.float64)
        return np.ascontiguousarray(answer[:, 1])

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return sampled Shapley values."""
        return sampled_shapley(self.many, self._fields, self._typical, (numbers, categories))

    def one_with_outputs(
        self,
        numbers: Numbers,
        categories: Categories,
        to_probability: Callable[[float], float],  # noqa: ARG002 - the protocol
    ) -> tuple[float, tuple[float, ...]]:
        """Return the score and the outputs of one record."""
        scores, outputs = self.many_with_outputs(RecordBlock.of([(numbers, categories)]), self._calibration)
        return float(scores[0]), tuple(outputs[0].tolist())

    def many_with_outputs(
        self, block: RecordBlock, calibration: Calibration
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the score and the outputs of each row."""
        columns = [*more_outputs(self._model, calibration, self._frame(block)).values()]
        return self.many(block), np.column_stack(columns)

    def _frame(self, block: RecordBlock) -> Any:  # noqa: ANN401 - a DataFrame
        """Return a block as the DataFrame that `mlsys.runs.inputs.to_inputs` would return."""
        import pandas as pd  # only this path needs it

        numbers, categories = iter(block.numbers.T), iter(block.categories)
        columns = {
            field.name: next(numbers) if field.number else pd.array(list(next(categories)), dtype="str")
            for field in self._fields
        }
        return pd.DataFrame(columns)
