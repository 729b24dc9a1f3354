"""Boosted trees behind an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.encoding import Encoding
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.models import lightgbm, xgboost
from serve.scoring.models.lightgbm_trees import LightgbmTraversal
from serve.scoring.reasons import Explained, folded


class XgboostPath:
    """XGBoost: one record by tree traversal, several by the library.

    Parameters
    ----------
    encoding : Encoding
    booster : xgboost.Booster
    traversal : xgboost.XgboostTraversal or None
        None if the library has to score single records too.
    """

    def __init__(
        self, encoding: Encoding, booster: xgboost.XgboostBooster, traversal: xgboost.XgboostTraversal | None
    ) -> None:
        self._encoding, self._booster, self._traversal = encoding, booster, traversal

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        row = self._encoding.row(numbers, categories)
        if self._traversal is not None:
            return self._traversal.probability(row)
        return float(self._booster.predictions(np.array([row], dtype=np.float32))[0])

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        return self._booster.predictions(self._encoding.rows(block, np.float32)).astype(np.float64)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return the SHAP values of one record."""
        rows = np.array([self._encoding.row(numbers, categories)], dtype=np.float32)
        return _explained(self._encoding, self._booster.contributions(rows)[0])


class XgboostEffect:
    """A regression by XGBoost: one record by tree traversal, several by the library.

    Parameters
    ----------
    encoding, booster, traversal
        As for `XgboostPath`.
    """

    def __init__(
        self, encoding: Encoding, booster: xgboost.XgboostBooster, traversal: xgboost.XgboostTraversal | None
    ) -> None:
        self._encoding, self._booster, self._traversal = encoding, booster, traversal

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the value of one record."""
        row = self._encoding.row(numbers, categories)
        if self._traversal is not None:
            return self._traversal.margin(row)
        return float(self._booster.predictions(np.array([row], dtype=np.float32))[0])

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the value of each row."""
        return self._booster.predictions(self._encoding.rows(block, np.float32)).astype(np.float64)


class LightgbmPath:
    """LightGBM: tree traversal, or else the library's calls for single rows and for batches.

    Parameters
    ----------
    encoding : Encoding
    booster : lightgbm.Booster
    traversal : LightgbmTraversal or None
        None if the library has to score.
    """

    def __init__(
        self, encoding: Encoding, booster: lightgbm.LightgbmBooster, traversal: LightgbmTraversal | None
    ) -> None:
        self._encoding, self._booster = encoding, booster
        model = booster if traversal is None else traversal
        self._probability, self._probabilities = model.probability, model.probabilities

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        return self._probability(self._encoding.row(numbers, categories))

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        return self._probabilities(self._encoding.rows(block, np.float64))

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return the SHAP values of one record."""
        rows = np.array([self._encoding.row(numbers, categories)], dtype=np.float64)
        return _explained(self._encoding, self._booster.contributions(rows)[0])


def _explained(encoding: Encoding, contributions: NDArray[np.floating[Any]]) -> Explained:
    *columns, bias = contributions.tolist()
    return Explained(bias, folded(encoding.sources, columns), log_odds=True)
