"""The sums that metrics of one fold are made of, under any row weights, for many sets of weights at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlsys.errors import DataError
from mlsys.evaluation.ranking import FloatArray, TieGroups, ratio

IntArray = npt.NDArray[np.intp]

ECE_BINS = 10

# With this many rows a tie group, on average, summing each group first is faster than a running sum over all rows.
FEW_GROUPS = 4


class ScoredFold:
    """One fold's rows in order of falling score, ready to be sampled under many sets of weights.

    A weight says how often a row is in the sample, so that weights drawn by a bootstrap give exactly the metrics of the
    rows so replicated. The rows are sorted once, in the constructor; each sample is then a few running sums.

    Parameters
    ----------
    label : array-like of {0, 1}, shape (rows,)
        What happened.
    score : array-like of float, shape (rows,)
        What the rows are ranked by, highest first; no NaN.
    value : array-like of float, shape (rows,), or None
        Revenue of a row if its label is 1, in currency per month; NaN (unknown) counts 0, and so do rows with label 0.
        None if no revenue is known at all.
    top_k : sequence of int
        The list lengths of the top-k metrics, each at least 1.
    is_probability : bool, default True
        Whether `score` is a probability.

    Attributes
    ----------
    order : ndarray of int, shape (rows,)
        The given rows' positions in order of falling score. Weights are taken in this order.
    labels, scores : ndarray of float64, shape (rows,)
        In that order.
    top_k : tuple of int
    is_probability, has_values : bool
        Which metrics the rows allow, see `mlsys.evaluation.metric_table.Metric.needs`.

    Raises
    ------
    DataError
        Where the columns differ in length, a label is neither 0 nor 1, a score is NaN or a probability outside [0, 1].

    Notes
    -----
    Rows that tie on the score form one group, so that no result depends on the order in which they are given.

    See Also
    --------
    mlsys.evaluation.metrics.measure : every metric of the table under every set of weights.

    Examples
    --------
    >>> import numpy as np
    >>> fold = ScoredFold([0, 1, 0], [0.2, 0.9, 0.4], [0, 50, 0], at=[1])
    >>> once_each_and_two_of_the_hit = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    >>> fold.sample(once_each_and_two_of_the_hit).total_hits.tolist()
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
    ) -> None:
        labels, scores = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
        values = np.full(labels.shape, np.nan) if value is None else np.asarray(value, dtype=np.float64)
        _check(labels, scores, values, is_probability=is_probability)
        self.order: IntArray = np.argsort(-scores, kind="stable")
        self.labels, self.scores, values = labels[self.order], scores[self.order], values[self.order]
        self.top_k, self.is_probability, self.has_values = tuple(top_k), is_probability, value is not None
        self.positive = np.flatnonzero(self.labels)
        self.revenue = np.nan_to_num(values[self.positive], nan=0.0)
        # Tied rows stand or fall together: group g holds the rows starts[g] up to starts[g + 1].
        starts = np.flatnonzero(np.append(True, self.scores[1:] != self.scores[:-1]))
        self.starts = starts if FEW_GROUPS * len(starts) < len(scores) else None
        bounds = np.append(starts, len(scores))
        group = np.repeat(np.arange(len(starts)), np.diff(bounds))
        self.positives_before = np.searchsorted(self.positive, bounds)
        self.hit_groups = np.flatnonzero(np.diff(self.positives_before))
        self.bins = _equal_mass_bins(bounds, group) if is_probability else []
        # Where the running sums reach each group's bounds, and the group that each of their steps belongs to.
        self.bounds = bounds if self.starts is None else np.arange(len(bounds))
        self.group = group if self.starts is None else np.arange(len(starts))

    @cached_property
    def log_losses(self) -> FloatArray:
        """Log loss of each row, shape (rows,), clipped at the machine epsilon as ``sklearn.metrics.log_loss`` does."""
        epsilon = np.finfo(np.float64).eps
        of_label = np.where(self.labels == 1, self.scores, 1 - self.scores)
        losses: FloatArray = -np.log(np.clip(of_label, epsilon, 1 - epsilon))
        return losses

    @cached_property
    def residuals(self) -> FloatArray:
        """Label minus probability of each row, shape (rows,)."""
        return self.labels - self.scores

    def sample(self, weights: FloatArray) -> Sample:
        """Return what metrics are computed from, under each set of weights.

        Parameters
        ----------
        weights : ndarray of float64, shape (resamples, rows)
            How often each row is in the sample, rows in the order of `order`.
        """
        return Sample(self, weights)


class Sample:
    """Sums over one fold's rows under many sets of weights, which the metrics share; each is computed when first used.

    Parameters
    ----------
    fold : ScoredFold
    weights : ndarray of float64, shape (resamples, rows)
        How often each row is in the sample, in the order of ``fold.order``.

    Attributes
    ----------
    fold : ScoredFold
        Its ``labels``, ``scores``, ``residuals`` and ``log_losses`` are per row.
    weights : ndarray of float64, shape (resamples, rows)
    """

    def __init__(self, fold: ScoredFold, weights: FloatArray) -> None:
        self.fold, self.weights = fold, weights

    @staticmethod
    def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
        """Return the quotient, NaN (undefined) where the denominator is 0."""
        return ratio(numerator, denominator)

    @property
    def total(self) -> FloatArray:
        """Rows in each sample, shape (resamples,)."""
        return self._rows[:, -1]

    @property
    def total_hits(self) -> FloatArray:
        """Positive rows in each sample, shape (resamples,)."""
        return self._positives[:, -1]

    def mean(self, numbers: FloatArray) -> FloatArray:
        """Return the mean of a number per row in each sample.

        Parameters
        ----------
        numbers : ndarray of float64, shape (rows,)
            In the order of ``fold.order``.

        Returns
        -------
        ndarray of float64, shape (resamples,)
            NaN for a sample without rows.
        """
        return ratio(_dot(self.weights, numbers), self.total)

    def places(self, k: int) -> FloatArray:
        """Return the length of a list of k rows, shape (resamples,): k, or all rows where there are fewer."""
        return self._places[:, self.fold.top_k.index(k)]

    def hits(self, k: int) -> FloatArray:
        """Return the positives among the k rows ranked first, shape (resamples,).

        It is the expectation over all orders of the tied rows: of a group that straddles the k-th place, the share
        above that place counts.
        """
        return self._hits[:, self.fold.top_k.index(k)]

    def revenue(self, k: int) -> FloatArray:
        """Return the revenue of the positives among the k rows ranked first, shape (resamples,); ties as in `hits`."""
        return self._revenue[:, self.fold.top_k.index(k)]

    @cached_property
    def tie_groups(self) -> TieGroups:
        """The groups of tied rows that hold a positive row, in each sample."""
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
        """The mean over ten bins of abs(mean label - mean probability), weighted by the bins' rows, shape (resamples,).

        It is the ECE of Naeini, Cooper and Hauskrecht (2015) in bins of equal mass (the adaptive bins of Nixon et al.
        2019), because nearly all probabilities of a rare outcome would fall into the first bin of equal width. A group
        of ties lies whole in the bin of its middle rank. Bins are set by the rows as given and stay where they are
        under any weights.
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
    def _places(self) -> FloatArray:
        return np.minimum(np.asarray(self.fold.top_k, dtype=np.float64), self.total[:, None])

    @cached_property
    def _hits(self) -> FloatArray:
        return self._down_to_place(self._positives)

    @cached_property
    def _revenue(self) -> FloatArray:
        return self._down_to_place(_running(self._hit_weights * self.fold.revenue))

    def _down_to_place(self, sums: FloatArray) -> FloatArray:
        group, share = self._straddling
        before = self.fold.positives_before
        low, high = (np.take_along_axis(sums, before[group + side], axis=1) for side in (0, 1))
        return low + share * (high - low)

    @cached_property
    def _straddling(self) -> tuple[IntArray, FloatArray]:
        """The group in which each place lies, and the share of the group down to that place."""
        rows, places = self._rows, self._places
        last = np.stack([np.searchsorted(running, place) for running, place in zip(rows, places, strict=True)])
        group = self.fold.group[np.maximum(last - 1, 0)]
        above, through = (np.take_along_axis(rows, self.fold.bounds[group + side], axis=1) for side in (0, 1))
        return group, ratio(places - above, through - above)


def _check(label: FloatArray, score: FloatArray, value: FloatArray, *, is_probability: bool) -> None:
    if not (label.shape == score.shape == value.shape and label.ndim == 1 and label.size):
        raise DataError(
            f"label, score and value must be columns of one length, at least 1; got shapes {label.shape}, "
            f"{score.shape} and {value.shape}. Give one entry per scored row."
        )
    strange = label[(label != 0) & (label != 1)]
    if strange.size:
        raise DataError(
            f"{strange.size} of {label.size} labels are neither 0 nor 1 (first: {strange[0]}): leave them out."
        )
    wrong = np.isnan(score) | ((score < 0) | (score > 1) if is_probability else False)
    if wrong.any():
        allowed = "probabilities in [0, 1]" if is_probability else "numbers"
        raise DataError(
            f"{wrong.sum()} of {score.size} scores are not {allowed} (first: {score[wrong][0]} in row "
            f"{np.flatnonzero(wrong)[0]}): fix the model or the calibration that made them."
        )


def _equal_mass_bins(bounds: IntArray, group: IntArray) -> list[slice]:
    """Return the rows of each bin that has any; tied rows share the bin of their middle rank."""
    middle = (bounds[:-1] + bounds[1:]) / 2
    bins = np.floor(ECE_BINS * middle / bounds[-1])[group]
    edges = np.append(np.flatnonzero(np.diff(bins, prepend=-1)), bounds[-1])
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]


def _running(weights: FloatArray) -> FloatArray:
    """Return the running sums along each draw, from 0 before the first row to the total after the last."""
    sums = np.empty((weights.shape[0], weights.shape[1] + 1))
    sums[:, 0] = 0
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _dot(weights: FloatArray, numbers: FloatArray) -> FloatArray:
    # Not the BLAS product: its sums may change in the last bit with the number of threads.
    sums: FloatArray = np.einsum("dn,n->d", weights, numbers)
    return sums
