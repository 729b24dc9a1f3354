"""A stack: weighted log odds of several models, each with its own encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.logistic import COMBINED_MARGIN, logit, scalar_logit, scalar_sigmoid, sigmoid
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.predictor import Predictor
from serve.scoring.reasons import Explained


class StackPath:
    """`mlsys.pipeline.stacking.Stack` on checked values.

    Parameters
    ----------
    members : sequence of Predictor
    weights : ndarray of float64, shape (n_members,)
        Weights of the members' log odds.
    intercept : float
    """

    def __init__(self, members: Sequence[Predictor], weights: NDArray[np.float64], intercept: float) -> None:
        self._members = list(zip(members, weights.tolist(), strict=True))
        self._intercept = intercept

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        log_odds = self._intercept
        for member, weight in self._members:
            log_odds += weight * _log_odds(member.one(numbers, categories))
        return scalar_sigmoid(log_odds)

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        log_odds = np.full(len(block), self._intercept)
        for member, weight in self._members:
            log_odds += weight * logit(member.many(block), margin=COMBINED_MARGIN)
        return sigmoid(log_odds)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what each field adds to the weighted log odds."""
        base, parts = self._intercept, dict[str, float]()
        for member, weight in self._members:
            explained = member.explain(numbers, categories)
            if not explained.log_odds:
                explained = explained.on_scale(_log_odds, log_odds=True)
            base += weight * explained.base
            for name, part in explained.parts.items():
                parts[name] = parts.get(name, 0.0) + weight * part
        return Explained(base, parts, log_odds=True)


def _log_odds(score: float) -> float:
    return scalar_logit(score, COMBINED_MARGIN)
