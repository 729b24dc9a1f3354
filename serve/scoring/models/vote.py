"""A vote: the mean score of several models, each with its own encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.predictor import Predictor
from serve.scoring.reasons import Explained


class VotePath:
    """The weighted mean of its members' scores.

    Parameters
    ----------
    members : sequence of Predictor
    weights : sequence of float or None
        None for equal weights.
    """

    def __init__(self, members: Sequence[Predictor], weights: Sequence[float] | None) -> None:
        self.members = list(members)
        raw = np.ones(len(self.members)) if weights is None else np.asarray(weights, dtype=np.float64)
        self.weights = raw / raw.sum()
        self._pairs = list(zip(self.members, self.weights.tolist(), strict=True))

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        score = 0.0
        for member, weight in self._pairs:
            score += weight * member.one(numbers, categories)
        return min(score, 1.0)

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        scores = np.zeros(len(block))
        for member, weight in self._pairs:
            scores += weight * member.many(block)
        return np.minimum(scores, 1.0)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what each field adds to the mean probability."""
        base, parts = 0.0, dict[str, float]()
        for member, weight in self._pairs:
            explained = member.explain(numbers, categories).as_probability()
            base += weight * explained.base
            for name, part in explained.parts.items():
                parts[name] = parts.get(name, 0.0) + weight * part
        return Explained(base, parts, log_odds=False)
