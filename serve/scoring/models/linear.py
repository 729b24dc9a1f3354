"""Logistic regression: a sum of products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.logistic import scalar_sigmoid, sigmoid
from serve.scoring.encoding import Encoding
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.reasons import Explained, folded


class LinearPath:
    """Logistic regression on encoded values.

    Parameters
    ----------
    encoding : Encoding
    coefficients : ndarray of float64, shape (width,)
    intercept : float
    means : ndarray of float64, shape (width,)
        Mean of each encoded column in training.
    """

    def __init__(
        self, encoding: Encoding, coefficients: NDArray[np.float64], intercept: float, means: NDArray[np.float64]
    ) -> None:
        self._encoding, self._coefficients, self._intercept = encoding, coefficients, intercept
        self._means = means

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        row = np.array(self._encoding.row(numbers, categories), dtype=np.float64)
        return scalar_sigmoid(float(self._coefficients.dot(row)) + self._intercept)

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        margins = self._encoding.rows(block, np.float64) @ self._coefficients + self._intercept
        return sigmoid(margins)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return each coefficient times the deviation from the training mean."""
        deviation = np.array(self._encoding.row(numbers, categories), dtype=np.float64) - self._means
        base = self._intercept + float(self._coefficients.dot(self._means))
        return Explained(base, folded(self._encoding.sources, self._coefficients * deviation), log_odds=True)
