"""The interface of all scoring paths: from checked values to scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.calibration import Calibration
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
class OutputsPredictor(Predictor, Protocol):
    """Also gives what schema.json lists as ``outputs``, such as the uplift, in that order."""

    def one_with_outputs(
        self, numbers: Numbers, categories: Categories, to_probability: Callable[[float], float]
    ) -> tuple[float, tuple[float, ...]]:
        """Return the score and the outputs of one record; ``to_probability`` is the run's calibration."""
        ...

    def many_with_outputs(
        self, block: RecordBlock, calibration: Calibration
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the score of each row, shape (n_rows,), and the outputs, shape (n_rows, n_outputs).

        This may run in another thread than the methods for one record.
        """
        ...


@dataclass(frozen=True)
class ScoringPath:
    """A predictor for a run, and the reason it was selected.

    Attributes
    ----------
    predictor : Predictor
    name : str
        What scores a single record: ``trees``, ``xgboost``, ``lightgbm``, ``linear``, ``terms``, ``catboost``,
        ``vote``, ``stack``, ``survival``, ``uplift``, ``baseline`` or ``pipeline``.
    reason : str
        Why this path was selected, as one sentence.
    tolerance : float
        Allowed difference between its scores and the Pipeline's; larger if the library computes in float32.
    """

    predictor: Predictor
    name: str
    reason: str
    tolerance: float
