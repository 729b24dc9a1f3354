"""What is audited."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.panel import Panel
from mlsys.data.rebuild import Rebuild
from mlsys.errors import DataError
from mlsys.evaluation.splits import Fold, Rows

Refit = Callable[[Panel, list[Fold]], NDArray[np.float64]]


@dataclass(frozen=True)
class AuditSubject:
    """A run, as far as the audit looks at it.

    Attributes
    ----------
    panel : Panel
    folds : sequence of Fold
    predictions : DataFrame
        Out-of-fold rows in the order of folds and their test rows, with ``score`` (float64) at least.
    horizon_days : int
        Length of the label window; 0 for a flat table.
    rebuild : Rebuild or None
        Computes rows again with another future; None for flat tables.
    refit : callable or None
        Fits and scores another panel by the same protocol: takes panel and folds, returns the out-of-fold scores in the
        order of ``predictions``. Only the full audit calls it.
    forbidden : mapping of str to str
        Names of raw columns that no feature may be, and what they are.
    seed : int
        Of every draw.

    Raises
    ------
    DataError
        If the predictions are not those of the folds' test rows.
    """

    panel: Panel
    folds: Sequence[Fold]
    predictions: pd.DataFrame
    horizon_days: int
    rebuild: Rebuild | None
    refit: Refit | None
    forbidden: Mapping[str, str]
    seed: int

    def __post_init__(self) -> None:
        if len(self.tested) != len(self.predictions):
            raise DataError(
                f"The audit got {len(self.predictions)} predictions for {len(self.tested)} test rows of "
                f"{len(self.folds)} folds. Give one for each test row, in the order of the folds."
            )

    @cached_property
    def tested(self) -> Rows:
        """Positions of the test rows in the panel, fold after fold."""
        return np.concatenate([fold.test for fold in self.folds])

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which test rows have a complete label."""
        return self.complete[self.tested]

    @cached_property
    def labels(self) -> NDArray[np.bool_]:
        """The panel's labels."""
        return self.panel.frame["label"].to_numpy(dtype=bool)

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """Which of the panel's labels are complete."""
        return self.panel.frame["label_complete"].to_numpy(dtype=bool)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """A number for the group of each of the panel's rows."""
        return np.asarray(pd.factorize(self.panel.frame["group"])[0], dtype=np.int64)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Out-of-fold scores, shape (n_tested,)."""
        return self.predictions["score"].to_numpy(dtype=np.float64)

    def by_fold(self) -> Iterator[tuple[Rows, NDArray[np.float64]]]:
        """Yield the positions and scores of each fold's test rows with complete labels."""
        parts = np.split(self.scores, np.cumsum([len(fold.test) for fold in self.folds])[:-1])
        for fold, scores in zip(self.folds, parts, strict=True):
            known = self.complete[fold.test]
            yield fold.test[known], scores[known]

    @property
    def has_time(self) -> bool:
        """Whether every row has an as-of."""
        return not bool(self.panel.frame["as_of"].isna().any())

    @property
    def ignores_time(self) -> bool:
        """Whether training and test rows were told apart by anything but time."""
        return any(fold.as_of is None for fold in self.folds)
