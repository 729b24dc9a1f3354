"""How candidates are compared: by one metric, averaged over folds, with paired intervals of differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.metric_table import find_metric, split_name
from mlsys.evaluation.metrics import Entry, compare_scores, measure
from mlsys.evaluation.weighted_metrics import ScoredFold

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 200  # the intervals need only a standard error


@dataclass(frozen=True)
class Judge:
    """Compares probabilities of the same rows.

    Attributes
    ----------
    objective : str
        Name of the metric.
    seed : int
        Seed of the bootstrap.
    confidence : float
        Confidence level of the intervals.

    Examples
    --------
    >>> rows = pd.DataFrame({"label": [0, 1, 0], "value": np.nan})
    >>> Judge("roc_auc").value(rows, np.array([0.1, 0.3, 0.2]))
    1.0
    """

    objective: str
    seed: int = 0
    confidence: float = 0.95

    @property
    def metric(self) -> Metric:
        """The metric."""
        return find_metric(self.objective)

    @property
    def sign(self) -> int:
        """1 if higher values are better, else -1."""
        return 1 if self.metric.higher_is_better else -1

    @property
    def top_k(self) -> list[int]:
        """List lengths that the metric needs."""
        return [split_name(self.objective)[1] or 1]

    def value(self, rows: pd.DataFrame, probability: FloatArray) -> float:
        """Return the metric of a fold; NaN if it is undefined.

        Parameters
        ----------
        rows : DataFrame of shape (n_rows, n_columns)
            Columns label and value, and optionally sampling_weight.
        probability : ndarray of float64, shape (n_rows,)
        """
        revenue = None if rows["value"].isna().all() else rows["value"]
        fold = ScoredFold(rows["label"], probability, revenue, top_k=self.top_k, weight=rows.get(SAMPLING_WEIGHT))
        return float(measure(fold, np.ones((1, len(rows))), self.objective)[self.objective][0])

    def best(self, values: Sequence[float]) -> int:
        """Return the position of the best value, the first of equal ones; NaN is the worst."""
        return int(np.argmax(np.nan_to_num(self.sign * np.asarray(values), nan=-np.inf)))

    def differences(self, rows: pd.DataFrame, scores: Mapping[str, FloatArray]) -> dict[str, Entry]:
        """Return how much each score differs from the first, with an interval.

        Parameters
        ----------
        rows : DataFrame of shape (n_rows, n_columns)
            Columns id, fold, label and value, and optionally sampling_weight.
        scores : mapping of str to ndarray of float64, shape (n_rows,)
            Probabilities by name.
        """
        columns = {name: f"score of {name}" for name in scores}
        known = [name for name in ("id", "fold", "label", "value", SAMPLING_WEIGHT) if name in rows]
        frame = rows[known].assign(**{columns[name]: scores[name] for name in scores})
        compared = compare_scores(
            frame,
            list(columns.values()),
            top_k=self.top_k,
            bootstrap_resamples=RESAMPLES,
            seed=self.seed,
            confidence=self.confidence,
            only=self.objective,
        )
        return {name: compared[column].difference[self.objective] for name, column in columns.items()}


def defined_mean(values: npt.ArrayLike) -> float:
    """Return the mean of the values that are defined; NaN if none is.

    Examples
    --------
    >>> defined_mean([1.0, float("nan"), 2.0]), defined_mean([])
    (1.5, nan)
    """
    numbers = np.asarray(values, dtype=np.float64)
    defined = numbers[~np.isnan(numbers)]
    return float(defined.mean()) if len(defined) else float("nan")
