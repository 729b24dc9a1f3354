"""Sums over the rows of one fold that metrics are computed from, for many sets of row weights at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsys.errors import DataError
from mlsys.evaluation.ranking import FloatArray, TieGroups, ratio
from mlsys.text import counted, is_or_are

IntArray = npt.NDArray[np.intp]

ECE_BINS = 10

# With fewer sampled rows in a list, or fewer positives than these per row that a sampled one stands for, the ranks at
# the head of the list are so vague that what depends on them would be too high by over 5 %: benchmarks/negatives.py.
MIN_SAMPLED_ROWS, MIN_POSITIVES = 10, 50

# From this mean number of rows per tie group on, summing each group first is faster than a running sum over all rows.
MIN_ROWS_PER_GROUP = 4


class ScoredFold:
    """Rows of one fold in descending order of score, prepared for many sets of row weights.

    A weight is the number of times that a row is in the sample, so that bootstrap weights give exactly the metrics of
    the resampled rows. Rows may also stand for others that were left out; they then count as that many rows. The
    constructor sorts the rows once; each sample then only takes a few running sums.

    Parameters
    ----------
    label : array-like of {0, 1}, shape (rows,)
        Labels.
    score : array-like of float, shape (rows,)
        Scores that rank the rows, highest first; no NaN.
    value : array-like of float, shape (rows,), or None
        Revenue of each row if its label is 1, in currency per month; NaN (unknown) counts as 0, and rows with label 0
        are ignored. None: revenue is unknown for all rows.
    top_k : sequence of int
        List lengths of the top-k metrics, each at least 1.
    is_probability : bool, default True
        Whether `score` is a probability.
    weight : array-like of float, shape (rows,), optional
        Rows that each row stands for; by default, each stands for itself.

    Attributes
    ----------
    order : ndarray of int, shape (rows,)
        Positions of the input rows in descending order of score. Weights must have this order.
    labels, scores : ndarray of float64, shape (rows,)
        Labels and scores in this order.
    top_k : tuple of int
        List lengths of the top-k metrics.
    weights : ndarray of float64, shape (rows,), or None
        Rows that each row stands for, in this order.
    is_probability, has_values : bool
        Which metrics can be computed; see `mlsys.evaluation.metric.Metric.needs`.

    Raises
    ------
    DataError
        If the columns differ in length, a label is neither 0 nor 1, or a score is NaN or a probability outside [0, 1].

    Notes
    -----
    Rows with tied scores form one group, so that no result depends on the order of the input.

    See Also
    --------
    mlsys.evaluation.metrics.measure : computes every metric of the table under every set of weights.

    Examples
    --------
    >>> import numpy as np
    >>> fold = ScoredFold([0, 1, 0], [0.2, 0.9, 0.4], [0, 50, 0], top_k=[1])
    >>> weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])  # all rows once; the positive twice, one negative
    >>> fold.sample(weights).total_hits.tolist()
    [1.0, 2.0]
    """

    def __init__(
        self,
        label: npt.ArrayLike,
        score: npt.ArrayLike,
        value: npt.ArrayLike | None,
        *,
        top_k: Sequence[int],
        is_probability: bool = True,
        weight: npt.ArrayLike | None = None,
    ) -> None:
        labels, scores = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
        values = np.full(labels.shape, np.nan) if value is None else np.asarray(value, dtype=np.float64)
        _check(labels, scores, values, is_probability=is_probability)
        self.order: IntArray = np.argsort(-scores, kind="stable")
        self.labels, self.scores, values = labels[self.order], scores[self.order], values[self.order]
        self.top_k, self.is_probability, self.has_values = tuple(top_k), is_probability, value is not None
        self.weights = None if weight is None else np.asarray(weight, dtype=np.float64)[self.order]
        self.positive = np.flatnonzero(self.labels)
        self.revenue = np.nan_to_num(values[self.positive], nan=0.0)
        # Rows with tied scores form a group: group g consists of the rows starts[g] up to starts[g + 1].
        starts = np.flatnonzero(np.append(True, self.scores[1:] != self.scores[:-1]))
        self.starts = starts if MIN_ROWS_PER_GROUP * len(starts) < len(scores) else None
        bounds = np.append(starts, len(scores))
        group = np.repeat(np.arange(len(starts)), np.diff(bounds))
        self.positives_before = np.searchsorted(self.positive, bounds)
        self.hit_groups = np.flatnonzero(np.diff(self.positives_before))
        mass = bounds if self.weights is None else np.append(0.0, np.cumsum(self.weights))[bounds]
        self.bins = _equal_mass_bins(mass, group) if is_probability else []
        # Positions of the group bounds in the running sums, and the group of each of their steps.
        self.bounds = bounds if self.starts is None else np.arange(len(bounds))
        self.group = group if self.starts is None else np.arange(len(starts))

    @cached_property
    def log_losses(self) -> FloatArray:
        """Log loss of each row, shape (rows,), clipped at the machine epsilon, like ``sklearn.metrics.log_loss``."""
        epsilon = np.finfo(np.float64).eps
        of_label = np.where(self.labels == 1, self.scores, 1 - self.scores)
        losses: FloatArray = -np.log(np.clip(of_label, epsilon, 1 - epsilon))
        return losses

    @cached_property
    def residuals(self) -> FloatArray:
        """Label minus probability of each row, shape (rows,)."""
        return self.labels - self.scores

    def resolves(self, k: int | None = None) -> bool:
        """Return whether the top k rows can be told, or, without a k, the whole head of the list."""
        largest = 1.0 if self.weights is None else float(self.weights.max())
        enough = len(self.positive) / MIN_POSITIVES if k is None else k / MIN_SAMPLED_ROWS
        return largest <= 1.0 or largest <= enough

    def sample(self, weights: FloatArray) -> Sample:
        """Return the sums that metrics are computed from, under each set of weights.

        Parameters
        ----------
        weights : ndarray of float64, shape (resamples, rows)
            Weights of the rows, in the order of `order`; times the number of rows that each stands for.
        """
        return Sample(self, weights if self.weights is None else weights * self.weights)


class Sample:
    """Sums over the rows of one fold under many sets of weights; each is computed on first use and shared by metrics.

    Parameters
    ----------
    fold : ScoredFold
        Rows of the fold.
    weights : ndarray of float64, shape (resamples, rows)
        Weights of the rows, in the order of ``fold.order``.

    Attributes
    ----------
    fold : ScoredFold
        Rows of the fold, with ``labels``, ``scores``, ``residuals`` and ``log_losses`` per row.
    weights : ndarray of float64, shape (resamples, rows)
        Weights of the rows.
    """

    def __init__(self, fold: ScoredFold, weights: FloatArray) -> None:
        self.fold, self.weights = fold, weights

    @staticmethod
    def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
        """Return the quotient; NaN (undefined) where the denominator is 0."""
        return ratio(numerator, denominator)

    @property
    def total(self) -> FloatArray:
        """Total weight of the rows in each sample, shape (resamples,)."""
        return self._rows[:, -1]

    @property
    def total_hits(self) -> FloatArray:
        """Total weight of the positive rows in each sample, shape (resamples,)."""
        return self._positives[:, -1]

    def mean(self, numbers: FloatArray) -> FloatArray:
        """Return the weighted mean over the rows in each sample.

        Parameters
        ----------
        numbers : ndarray of float64, shape (rows,)
            Values to average, in the order of ``fold.order``.

        Returns
        -------
        ndarray of float64, shape (resamples,)
            Means; NaN for a sample without rows.
        """
        return ratio(_dot(self.weights, numbers), self.total)

    def list_length(self, k: int) -> FloatArray:
        """Return the number of rows in the top k, shape (resamples,): k, or all rows if there are fewer."""
        return self._list_lengths[:, self.fold.top_k.index(k)]

    def hits(self, k: int) -> FloatArray:
        """Return the number of positives in the top k rows, shape (resamples,).

        It is the expectation over all orders of tied rows: a group that straddles rank k counts proportionally.
        """
        return self._hits[:, self.fold.top_k.index(k)]

    def revenue(self, k: int) -> FloatArray:
        """Return the revenue of the positives in the top k rows, shape (resamples,), with ties as in `hits`."""
        return self._revenue[:, self.fold.top_k.index(k)]

    @cached_property
    def tie_groups(self) -> TieGroups:
        """Groups of tied rows with at least one positive row, in each sample."""
        fold = self.fold
        return TieGroups(
            rows_above=self._rows[:, fold.bounds[fold.hit_groups]],
            rows_through=self._rows[:, fold.bounds[fold.hit_groups + 1]],
            positives_above=self._positives[:, fold.positives_before[fold.hit_groups]],
            positives_through=self._positives[:, fold.positives_before[fold.hit_groups + 1]],
            rows=self.total,
            positives=self.total_hits,
        )

    @property
    def calibration_error(self) -> FloatArray:
        """Expected calibration error (ECE) in ten bins of equal mass, shape (resamples,).

        It is the mean over the bins of abs(mean label - mean probability), weighted by the bins' rows (Naeini, Cooper
        and Hauskrecht 2015). The bins have equal mass (the adaptive bins of Nixon et al. 2019), because nearly all
        probabilities of a rare outcome would fall into the first bin of equal width. A group of ties is in the bin of
        its middle rank. The bins are those of the original rows under any weights.
        """
        residual = self.fold.residuals
        gaps = [np.abs(_dot(self.weights[:, rows], residual[rows])) for rows in self.fold.bins]
        return ratio(np.sum(gaps, axis=0), self.total)

    @cached_property
    def _rows(self) -> FloatArray:
        starts = self.fold.starts
        return _running(self.weights if starts is None else np.add.reduceat(self.weights, starts, axis=1))

    @cached_property
    def _hit_weights(self) -> FloatArray:
        return np.take(self.weights, self.fold.positive, axis=1)

    @cached_property
    def _positives(self) -> FloatArray:
        return _running(self._hit_weights)

    @cached_property
    def _list_lengths(self) -> FloatArray:
        return np.minimum(np.asarray(self.fold.top_k, dtype=np.float64), self.total[:, None])

    @cached_property
    def _hits(self) -> FloatArray:
        return self._sum_of_top_k(self._positives)

    @cached_property
    def _revenue(self) -> FloatArray:
        return self._sum_of_top_k(_running(self._hit_weights * self.fold.revenue))

    def _sum_of_top_k(self, sums: FloatArray) -> FloatArray:
        group, fraction = self._straddling
        before = self.fold.positives_before
        low, high = (np.take_along_axis(sums, before[group + side], axis=1) for side in (0, 1))
        return low + fraction * (high - low)

    @cached_property
    def _straddling(self) -> tuple[IntArray, FloatArray]:
        """Group of ties at the end of each top-k list, and the fraction of the group that is in the list."""
        rows, lengths = self._rows, self._list_lengths
        last = np.stack([np.searchsorted(running, length) for running, length in zip(rows, lengths, strict=True)])
        group = self.fold.group[np.maximum(last - 1, 0)]
        above, through = (np.take_along_axis(rows, self.fold.bounds[group + side], axis=1) for side in (0, 1))
        return group, ratio(lengths - above, through - above)


def _check(label: FloatArray, score: FloatArray, value: FloatArray, *, is_probability: bool) -> None:
    if not (label.shape == score.shape == value.shape and label.ndim == 1 and label.size):
        raise DataError(
            f"label, score and value must be one-dimensional, not empty and of the same length; got the shapes "
            f"{label.shape}, {score.shape} and {value.shape}. Pass one entry per row."
        )
    other = label[(label != 0) & (label != 1)]
    if other.size:
        raise DataError(
            f"{other.size:,} of {counted(label.size, 'label')} {is_or_are(other.size)} neither 0 nor 1 (first: "
            f"{other[0]}). Leave these rows out."
        )
    invalid = np.isnan(score) | ((score < 0) | (score > 1) if is_probability else False)
    if invalid.any():
        problem, expected = ("NaN or outside [0, 1]", "probabilities") if is_probability else ("NaN", "numbers")
        raise DataError(
            f"{invalid.sum():,} of {counted(score.size, 'score')} {is_or_are(int(invalid.sum()))} {problem} (first: "
            f"{score[invalid][0]} in row {np.flatnonzero(invalid)[0]}); expected {expected}. Fix the model or the "
            "calibration."
        )


def _equal_mass_bins(mass: npt.NDArray[Any], group: IntArray) -> list[slice]:
    """Return the rows of each non-empty bin; a group of tied rows is in the bin of its middle rank.

    ``mass`` is the number of rows, or their weight, before each group, and that of all rows at last.
    """
    middle = (mass[:-1] + mass[1:]) / 2
    bins = np.floor(ECE_BINS * middle / mass[-1])[group]
    edges = np.append(np.flatnonzero(np.diff(bins, prepend=-1)), len(group))
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]


def _running(weights: FloatArray) -> FloatArray:
    """Return the running sums of each set of weights, from 0 before the first row to the total after the last."""
    sums = np.empty((weights.shape[0], weights.shape[1] + 1))
    sums[:, 0] = 0
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _dot(weights: FloatArray, numbers: FloatArray) -> FloatArray:
    # Not the BLAS product: the last bits of its sums may depend on the number of threads.
    sums: FloatArray = np.einsum("dn,n->d", weights, numbers)
    return sums
