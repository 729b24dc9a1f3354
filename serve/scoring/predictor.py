"""The interface of all scoring paths: from checked values to scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.reasons import Explained


class Predictor(Protocol):
    """Computes a model's scores, before calibration, from checked values."""

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        ...

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row; may run in another thread than `one`."""
        ...

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return what each field adds to one record's score; may run in another thread than `one`."""
        ...


@runtime_checkable
class ByDayPredictor(Predictor, Protocol):
    """Also predicts when the outcome comes: the score by each of some days, of which the last is the horizon."""

    @property
    def days(self) -> tuple[int, ...]:
        """Days after the as-of, rising."""
        ...

    def one_by_day(self, numbers: Numbers, categories: Categories) -> list[float]:
        """Return one record's score by each day."""
        ...

    def many_by_day(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row by each day, shape (n_rows, n_days)."""
        ...


@dataclass(frozen=True)
class ScoringPath:
    """A predictor for a run, and the reason it was selected.

    Attributes
    ----------
    predictor : Predictor
    name : str
        What scores a single record: ``trees``, ``xgboost``, ``lightgbm``, ``linear``, ``catboost``, ``vote``,
        ``survival``, ``baseline`` or ``pipeline``.
    reason : str
        Why this path was selected, as one sentence.
    tolerance : float
        Allowed difference between its scores and the Pipeline's; larger if the library computes in float32.
    """

    predictor: Predictor
    name: str
    reason: str
    tolerance: float
