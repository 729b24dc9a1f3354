"""The subject of an audit: the parts of a run that the checks need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.panel import Panel
from mlsys.data.rebuild import Rebuild
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.errors import DataError
from mlsys.evaluation.splits import Fold, Rows
from mlsys.pipeline.weights import Weights, taken
from mlsys.text import counted

Refit = Callable[[Panel, list[Fold]], NDArray[np.float64]]


@dataclass(frozen=True)
class AuditSubject:
    """The parts of a run that the audit checks.

    Attributes
    ----------
    panel : Panel
        Rows with their features and labels.
    folds : sequence of Fold
        Folds of the backtest.
    predictions : DataFrame
        Out-of-fold rows, fold after fold in the order of the test rows, with at least the column ``score`` (float64),
        and ``sampling_weight`` if they stand for others that were left out.
    horizon_days : int
        Length of the label window in days; 0 for a flat table.
    rebuild : Rebuild or None
        Recomputes rows with an altered future; None for a flat table.
    refit : callable or None
        Function of a panel and folds that repeats the backtest on them, and returns the out-of-fold scores in the order
        of ``predictions``. Only the full audit calls it.
    forbidden : mapping of str to str
        Names of raw columns that must not be features, with the reason.
    seed : int
        Seed of all random samples.
    uses_partial : bool
        Whether the model also learns from the folds' partly known rows, as models of when the outcome comes do.

    Raises
    ------
    DataError
        If the number of predictions is not that of the folds' test rows.
    """

    panel: Panel
    folds: Sequence[Fold]
    predictions: pd.DataFrame
    horizon_days: int
    rebuild: Rebuild | None
    refit: Refit | None
    forbidden: Mapping[str, str]
    seed: int
    uses_partial: bool = False

    def __post_init__(self) -> None:
        if len(self.tested) != len(self.predictions):
            raise DataError(
                f"The audit got {counted(len(self.predictions), 'prediction')} for "
                f"{counted(len(self.tested), 'test row')} in {counted(len(self.folds), 'fold')}. Pass one prediction "
                "per test row, in the order of the folds."
            )

    @cached_property
    def tested(self) -> Rows:
        """Positions of the test rows in the panel, fold after fold, shape (n_tested,)."""
        return np.concatenate([fold.test for fold in self.folds])

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Mask of the test rows with complete labels, shape (n_tested,)."""
        return self.complete[self.tested]

    @cached_property
    def labels(self) -> NDArray[np.bool_]:
        """Labels of the panel's rows, shape (n_rows,)."""
        return self.panel.frame["label"].to_numpy(dtype=bool)

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """Mask of the panel's rows with complete labels, shape (n_rows,)."""
        return self.panel.frame["label_complete"].to_numpy(dtype=bool)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Group code of each of the panel's rows, shape (n_rows,)."""
        return np.asarray(pd.factorize(self.panel.frame["group"])[0], dtype=np.int64)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Out-of-fold scores, shape (n_tested,)."""
        return self.predictions["score"].to_numpy(dtype=np.float64)

    @property
    def weights(self) -> Weights:
        """Rows that each test row stands for, shape (n_tested,); None if each stands for itself."""
        has_weights = SAMPLING_WEIGHT in self.predictions
        return self.predictions[SAMPLING_WEIGHT].to_numpy(dtype=np.float64) if has_weights else None

    def by_fold(self) -> Iterator[tuple[Rows, NDArray[np.float64], Weights]]:
        """Yield the positions, scores and weights of each fold's test rows with complete labels."""
        ends = np.cumsum([len(fold.test) for fold in self.folds])
        for rows in np.split(np.arange(len(self.tested)), ends[:-1]):
            known = rows[self.known[rows]]
            yield self.tested[known], self.scores[known], taken(self.weights, known)

    @property
    def has_time(self) -> bool:
        """Whether every row has an as-of."""
        return not bool(self.panel.frame["as_of"].isna().any())

    @property
    def ignores_time(self) -> bool:
        """Whether the split assigns rows to training and test without regard to time."""
        return any(fold.as_of is None for fold in self.folds)
