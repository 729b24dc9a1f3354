"""The baseline models: the ranking by one column, and the constant."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from serve.scoring.fields import Categories, Inputs, Numbers, RecordBlock
from serve.scoring.reasons import Explained
from serve.scoring.skops_reader import Node


class RankingPath:
    """`mlsys.pipeline.models.ActivityRanking` on checked values.

    Parameters
    ----------
    model : Node
    inputs : Inputs
    """

    def __init__(self, model: Node, inputs: Inputs) -> None:
        self._field = str(model["feature"])
        self._column = [field.name for field in inputs.numbers].index(self._field)
        self._lowest, self._mean = float(model["lowest_"]), float(model["mean_"])
        self._odds = float(model["prior_"]) / (1.0 - float(model["prior_"]))

    def one(self, numbers: Numbers, categories: Categories) -> float:  # noqa: ARG002 - the interface of every path
        """Return the score of one record."""
        return float(self._scores(np.array([numbers[self._column]], dtype=np.float64))[0])

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        return self._scores(block.numbers[:, self._column])

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what the one column adds to the prior's log odds."""
        score = self.one(numbers, categories)
        base = math.log(self._odds)
        return Explained(base, {self._field: math.log(score / (1 - score)) - base}, log_odds=True)

    def _scores(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.maximum(np.nan_to_num(column) - self._lowest, 0.0)
        odds = self._odds * (1.0 + (values - self._mean) / (2.0 * (self._mean or 1.0)))
        return np.asarray(odds / (1.0 + odds))


class ConstantPath:
    """The same score for every record.

    Parameters
    ----------
    score : float
    """

    def __init__(self, score: float) -> None:
        self._score = score

    def one(self, numbers: Numbers, categories: Categories) -> float:  # noqa: ARG002
        """Return the score of one record."""
        return self._score

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        return np.full(len(block), self._score)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:  # noqa: ARG002
        """Return the score without any contributions."""
        return Explained(self._score, {}, log_odds=False)
