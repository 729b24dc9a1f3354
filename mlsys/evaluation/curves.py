"""The data behind the plots, in plain NumPy: gain, ROC, precision-recall and reliability curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlsys.evaluation.ranking import TieGroups

Floats = NDArray[np.float64]
Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Ranking:
    """Cumulative counts of a ranking, one entry per distinct score, in descending order of score.

    Rows with the same score share one entry, because their order is undefined.

    Attributes
    ----------
    rows : ndarray of float64, shape (n_distinct,)
        Number of rows at or above each score, each counted as often as its weight says.
    positives : ndarray of float64, shape (n_distinct,)
        Number of positive rows at or above each score.

    Examples
    --------
    >>> ranking = Ranking.of([0.9, 0.8, 0.8, 0.1], [1, 0, 1, 0])
    >>> ranking.average_precision(), ranking.roc_auc()
    (0.8333333333333333, 0.875)
    """

    rows: Floats
    positives: Floats

    @classmethod
    def of(cls, score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None) -> Ranking:
        """Rank rows by score, highest first; rows without a score come last.

        Parameters
        ----------
        score : array-like of float, shape (n_rows,)
            Scores; NaN if missing.
        label : array-like of {0, 1}, shape (n_rows,)
            Labels of the rows.
        weight : array-like of float, shape (n_rows,), optional
            Rows that each row stands for.
        """
        scores = np.asarray(score, dtype=np.float64)
        scores = np.where(np.isnan(scores), -np.inf, scores)
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        last = np.append(ranked[1:] != ranked[:-1], True)[: ranked.size]
        labels = np.asarray(label, dtype=np.float64)[order]
        if weight is None:
            return cls(rows=np.flatnonzero(last).astype(np.float64) + 1, positives=np.cumsum(labels)[last])
        weights = np.asarray(weight, dtype=np.float64)[order]
        return cls(rows=np.cumsum(weights)[last], positives=np.cumsum(weights * labels)[last])

    @property
    def drawable(self) -> bool:
        """Whether both classes are present; otherwise no curve is defined."""
        return bool(self.rows.size) and 0 < self.positives[-1] < self.rows[-1]

    @property
    def base_rate(self) -> float:
        """Fraction of positive rows; NaN without rows."""
        return float(self.positives[-1] / self.rows[-1]) if self.rows.size else float("nan")

    @property
    def recall(self) -> Floats:
        """Recall at each distinct score, shape (n_distinct,)."""
        recall: Floats = self.positives / self.positives[-1]
        return recall

    def gain_at(self, fraction: Floats) -> Floats:
        """Return the recall in the top ``fraction`` of all rows, with ties in random order."""
        return _through_origin(fraction, self.rows / self.rows[-1], self.recall)

    def sensitivity_at(self, false_positive_rate: Floats) -> Floats:
        """Return the ROC curve: the true positive rate at the given false positive rates."""
        negatives = self.rows - self.positives
        return _through_origin(false_positive_rate, negatives / negatives[-1], self.recall)

    def precision_at(self, recall: Floats) -> Floats:
        """Return the precision at the given recall, as a step function.

        The mean of this function over recall is the average precision.
        """
        at_least_one = np.maximum(recall, 1 / self.positives[-1])
        reached = np.searchsorted(self.recall, at_least_one - 1e-12, side="left")
        precision: Floats = (self.positives / self.rows)[reached]
        return precision

    def average_precision(self) -> float:
        """Return the average precision, identical to that in metrics.json."""
        return float(self._tie_groups.average_precision())

    def roc_auc(self) -> float:
        """Return the area under the ROC curve, identical to that in metrics.json."""
        return float(self._tie_groups.roc_auc())

    @property
    def _tie_groups(self) -> TieGroups:
        return TieGroups.from_running(self.rows, self.positives)


@dataclass(frozen=True)
class Reliability:
    """Predicted and observed rates by bin of the prediction.

    Attributes
    ----------
    predicted, observed : ndarray of float64, shape (n_bins,)
        Mean prediction and fraction of positives in each bin.
    low, high : ndarray of float64, shape (n_bins,)
        95 % Wilson interval of the observed rate.
    rows : ndarray of float64, shape (n_bins,)
        Number of rows in each bin, or the sum of their weights.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    rows: Floats


def reliability(
    probability: ArrayLike, label: ArrayLike, bins: int = 8, weight: ArrayLike | None = None
) -> Reliability:
    """Compare predicted with observed rates, in bins with equal expected numbers of positives.

    If positives are rare, bins of equal width or equal size are useless: nearly all of them contain no positives. Rows
    with the same prediction stay in one bin, so there may be fewer than the maximum number of bins.

    Parameters
    ----------
    probability : array-like of float, shape (n_rows,)
        Predicted probabilities.
    label : array-like of {0, 1}, shape (n_rows,)
        Labels of the rows.
    bins : int
        Maximum number of bins.
    weight : array-like of float, shape (n_rows,), optional
        Rows that each row stands for. The intervals are then those of as many independent rows as have the same
        precision (Kish 1965, Survey Sampling).

    Returns
    -------
    Reliability
        Bins in ascending order of prediction.

    References
    ----------
    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).

    Examples
    --------
    >>> reliability([0.1, 0.1, 0.1, 0.1, 0.4], [0, 0, 1, 0, 1], bins=2).observed
    array([0.25, 1.  ])
    """
    order = np.argsort(np.asarray(probability, dtype=np.float64), kind="stable")
    values = np.asarray(probability, dtype=np.float64)[order]
    labels = np.asarray(label, dtype=np.float64)[order]
    weights = None if weight is None else np.asarray(weight, dtype=np.float64)[order]
    starts = _bin_starts(values, bins, weights)
    if weights is None:
        rows = trials = np.diff(np.append(starts, values.size)).astype(np.float64)
        observed, predicted = np.add.reduceat(labels, starts) / rows, np.add.reduceat(values, starts) / rows
    else:
        rows = np.add.reduceat(weights, starts)
        observed, predicted = (np.add.reduceat(weights * column, starts) / rows for column in (labels, values))
        trials = _effective_trials(
            weights, labels - np.repeat(observed, np.diff(np.append(starts, values.size))), starts
        )
    centre = (observed + Z95**2 / (2 * trials)) / (1 + Z95**2 / trials)
    half = Z95 / (1 + Z95**2 / trials) * np.sqrt(observed * (1 - observed) / trials + Z95**2 / (4 * trials**2))
    return Reliability(predicted, observed, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0), rows)


def _effective_trials(weights: Floats, residuals: Floats, starts: NDArray[np.intp]) -> Floats:
    """Return the number of independent rows whose rate would have the same standard error as that of each bin."""
    rows = np.add.reduceat(weights, starts)
    variance = np.add.reduceat((weights * residuals) ** 2, starts) / rows**2
    independent = np.add.reduceat(weights * residuals**2, starts) / rows  # p (1 - p)
    counts = rows.copy()  # where all rows have the same label, there is no other error to compare with
    np.divide(independent, variance, out=counts, where=variance > 0)
    return np.minimum(counts, rows)


def _bin_starts(ascending: Floats, bins: int, weights: Floats | None = None) -> NDArray[np.intp]:
    """Return the first row of each bin; equal values never straddle two bins."""
    expected = ascending if weights is None else weights * ascending
    mass = np.cumsum(expected)
    total = mass[-1] if mass[-1] > 0 else 1.0
    number = np.minimum((mass - expected) / total * bins, bins - 1).astype(np.intp)
    first_of_value = np.append(0, np.flatnonzero(ascending[1:] != ascending[:-1]) + 1)
    changes = np.append(True, number[first_of_value][1:] != number[first_of_value][:-1])
    starts: NDArray[np.intp] = first_of_value[changes]
    return starts


def _through_origin(x: Floats, known_x: Floats, known_y: Floats) -> Floats:
    y: Floats = np.interp(x, np.append(0.0, known_x), np.append(0.0, known_y))
    return y
