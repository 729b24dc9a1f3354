"""What every path gives: scores of checked values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serve.scoring.fields import Block, Categories, Numbers
from serve.scoring.reasons import Explained


class Predictor(Protocol):
    """From checked values to the model's scores, before calibration."""

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        ...

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row; may run in another thread than `one`."""
        ...

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what each field adds to the score of one record; may run in another thread than `one`."""
        ...


@dataclass(frozen=True)
class ScoringPath:
    """A way to score.

    Attributes
    ----------
    predictor : Predictor
    name : str
        Which call answers for one record: ``trees``, ``xgboost``, ``lightgbm``, ``linear``, ``catboost``, ``vote``,
        ``formula`` or ``pipeline``.
    why : str
        A sentence.
    tolerance : float
        How far from the Pipeline's scores its own may be: more, where a library computes in float32.
    """

    predictor: Predictor
    name: str
    why: str
    tolerance: float
