"""Boosted trees behind an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.encoding import Encoding
from serve.scoring.fields import Block, Categories, Numbers
from serve.scoring.models import lightgbm, xgboost
from serve.scoring.models.lightgbm_trees import LightgbmTraversal
from serve.scoring.reasons import Explained, folded


class XgboostPath:
    """XGBoost: a walk of the trees for one record, the library for several.

    Parameters
    ----------
    encoding : Encoding
    booster : xgboost.Booster
    walk : xgboost.TreeWalk or None
        None where the library has to answer for one record too.
    """

    def __init__(self, encoding: Encoding, booster: xgboost.Booster, walk: xgboost.XgboostTraversal | None) -> None:
        self._encoding, self._booster, self._walk = encoding, booster, walk

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        row = self._encoding.row(numbers, categories)
        if self._walk is not None:
            return self._walk.probability(row)
        return float(self._booster.probabilities(np.array([row], dtype=np.float32))[0])

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row."""
        return self._booster.probabilities(self._encoding.rows(block, np.float32)).astype(np.float64)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return the SHAP values of one record."""
        rows = np.array([self._encoding.row(numbers, categories)], dtype=np.float32)
        return _explained(self._encoding, self._booster.contributions(rows)[0])


class LightgbmPath:
    """LightGBM: a walk of the trees, or its library's calls for single rows and for several.

    Parameters
    ----------
    encoding : Encoding
    booster : lightgbm.Booster
    walk : LightgbmTraversal or None
        None where the library has to answer.
    """

    def __init__(self, encoding: Encoding, booster: lightgbm.Booster, walk: LightgbmTraversal | None) -> None:
        self._encoding, self._booster = encoding, booster
        way = booster if walk is None else walk
        self._probability, self._probabilities = way.probability, way.probabilities

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        return self._probability(self._encoding.row(numbers, categories))

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row."""
        return self._probabilities(self._encoding.rows(block, np.float64))

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return the SHAP values of one record."""
        rows = np.array([self._encoding.row(numbers, categories)], dtype=np.float64)
        return _explained(self._encoding, self._booster.contributions(rows)[0])


def _explained(encoding: Encoding, contributions: NDArray[np.floating[Any]]) -> Explained:
    *columns, bias = contributions.tolist()
    return Explained(bias, folded(encoding.sources, columns), log_odds=True)
