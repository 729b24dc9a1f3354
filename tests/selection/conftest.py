"""Simulated candidates: their tests of a fold are drawn, not fitted, and take as long as the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from mlsys.errors import FitError
from mlsys.evaluation.splits import Fold
from mlsys.selection.race import Budget, TestedFold

TRAIN = 100


class Simulation:
    """Candidates whose scores contain the label with a given strength; a fit of a fold takes a given time."""

    def __init__(
        self,
        strengths: Mapping[str, float],
        *,
        seconds: Mapping[str, float] | None = None,
        failing: Mapping[str, int] | None = None,
        folds: int = 6,
        rows: int = 60,
        seed: int = 0,
    ) -> None:
        self.folds = [Fold(number, np.arange(TRAIN), np.arange(rows)) for number in range(folds)]
        self.now, self.calls = 0.0, list[tuple[str, list[int]]]()
        self._strengths, self._seconds, self._failing = strengths, seconds or {}, failing or {}
        self._rows, self._seed = rows, seed

    @property
    def names(self) -> list[str]:
        return list(self._strengths)

    def budget(self, seconds: float | None, final_folds: int = 0) -> Budget:
        return Budget(seconds, lambda: self.now, final_folds * TRAIN)

    def __call__(self, name: str, folds: Sequence[Fold]) -> list[TestedFold]:
        self.calls.append((name, [fold.number for fold in folds]))
        self.now += self._seconds.get(name, 1.0) * len(folds)
        if self._failing.get(name) in [fold.number for fold in folds]:
            raise FitError("fold 0: it broke.")
        return [self._tested(name, fold.number) for fold in folds]

    def _tested(self, name: str, fold: int) -> TestedFold:
        label = np.arange(self._rows) % 3 == 0
        noise = np.random.default_rng([self._seed, fold, self.names.index(name)]).normal(size=self._rows)
        score = self._strengths[name] * (label - 1 / 3) + noise
        rows = pd.DataFrame({"id": np.arange(self._rows) + 1000 * fold, "fold": fold, "label": label.astype(int)})
        return TestedFold(rows.assign(value=np.nan, probability=1 / (1 + np.exp(0.7 - score))), TRAIN)


@pytest.fixture
def simulation() -> Callable[..., Simulation]:
    return Simulation
