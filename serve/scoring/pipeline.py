"""The path that always works: the run's own scikit-learn Pipeline on a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.fields import Block, Categories, Field, Numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlsys.runs.model_io import Classifier


class PipelinePath:
    """Scores by the fitted Pipeline.

    Parameters
    ----------
    model : Classifier
    fields : sequence of Field
    """

    def __init__(self, model: Classifier, fields: Sequence[Field]) -> None:
        self._model = model
        self._fields = tuple(fields)

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        block = Block(np.array([numbers], dtype=np.float64), [[text] for text in categories])
        return float(self.many(block)[0])

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row."""
        answer = np.asarray(self._model.predict_proba(self.frame(block)), dtype=np.float64)
        return np.ascontiguousarray(answer[:, 1])

    def frame(self, block: Block) -> Any:  # noqa: ANN401 - a DataFrame
        """Return a block as the table that `mlsys.runs.inputs.to_inputs` would give."""
        import pandas as pd  # this path alone needs it

        numbers, categories = iter(block.numbers.T), iter(block.categories)
        columns = {
            field.name: next(numbers) if field.number else pd.array(list(next(categories)), dtype="str")
            for field in self._fields
        }
        return pd.DataFrame(columns)
