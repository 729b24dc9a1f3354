"""Every metric of one fold under any row weights, for many sets of weights at once."""

from __future__ import annotations

from collections.abc import Sequence
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
    """One fold's rows in order of falling score, ready to be measured under many sets of weights.

    A weight says how often a row is in the sample, so that weights drawn by a bootstrap give exactly the metrics of the
    rows so replicated. The rows are sorted once, in the constructor; each call is then a few running sums.

    Parameters
    ----------
    label : array-like of {0, 1}, shape (rows,)
        What happened.
    score : array-like of float, shape (rows,)
        What the rows are ranked by, highest first; no NaN.
    value : array-like of float, shape (rows,), or None
        Revenue of a row if its label is 1, in currency per month; NaN (unknown) counts 0, and so do rows with label 0.
        None if no revenue is known at all: revenue@k is then undefined.
    at : sequence of int
        The list lengths of the top-k metrics, each at least 1.
    is_probability : bool, default True
        Whether `score` is a probability, so that log_loss, brier and ece are measured too.

    Attributes
    ----------
    order : ndarray of int, shape (rows,)
        The given rows' positions in order of falling score. Weights are taken in this order.

    Raises
    ------
    DataError
        Where the columns differ in length, a label is neither 0 nor 1, a score is NaN or a probability outside [0, 1].

    Notes
    -----
    Rows that tie on the score form one group, so that no result depends on the order in which they are given:

    - ``roc_auc`` and ``average_precision`` are those of `mlsys.evaluation.ranking.TieGroups`.
    - The top-k metrics are expectations over all orders of the tied rows: of a group that straddles the k-th place, its
      share above that place counts. Constant scores thus get the base rate. A k past the rows uses all rows.
    - ``ece`` is the mean over ten bins of abs(mean label - mean probability), weighted by the bins' rows (Naeini,
      Cooper and Hauskrecht 2015), in bins of equal mass (the adaptive bins of Nixon et al. 2019), because nearly all
      probabilities of a rare outcome would fall into the first bin of equal width. A group of ties lies whole in the
      bin of its middle rank. Bins are set by the rows as given and stay where they are under any weights.
    - ``log_loss`` clips at the machine epsilon, as ``sklearn.metrics.log_loss``.

    Examples
    --------
    >>> import numpy as np
    >>> fold = ScoredFold([0, 1, 0], [0.2, 0.9, 0.4], [0, 50, 0], at=[1])
    >>> once_each_and_two_of_the_hit = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    >>> fold(once_each_and_two_of_the_hit)["brier"].round(4).tolist()
    [0.07, 0.02]
    """

    def __init__(
        self,
        label: npt.ArrayLike,
        score: npt.ArrayLike,
        value: npt.ArrayLike | None,
        *,
        at: Sequence[int],
        is_probability: bool = True,
    ) -> None:
        labels, scores = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
        values = np.full(labels.shape, np.nan) if value is None else np.asarray(value, dtype=np.float64)
        _check(labels, scores, values, is_probability=is_probability)
        self.order: IntArray = np.argsort(-scores, kind="stable")
        labels, scores, values = labels[self.order], scores[self.order], values[self.order]
        self._at = tuple(at)
        self._positive = np.flatnonzero(labels)
        self._revenue = None if value is None else np.nan_to_num(values[self._positive], nan=0.0)
        # Tied rows stand or fall together: group g holds the rows starts[g] up to starts[g + 1].
        starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
        self._starts = starts if FEW_GROUPS * len(starts) < len(scores) else None
        bounds = np.append(starts, len(scores))
        group = np.repeat(np.arange(len(starts)), np.diff(bounds))
        self._positives_before = np.searchsorted(self._positive, bounds)
        self._hit = np.flatnonzero(np.diff(self._positives_before))
        self._losses = _losses(labels, scores) if is_probability else None
        self._bins = _equal_mass_bins(bounds, group) if is_probability else []
        # Where the running sums reach each group's bounds, and the group that each of their steps belongs to.
        self._bounds = bounds if self._starts is None else np.arange(len(bounds))
        self._group = group if self._starts is None else np.arange(len(starts))

    def __call__(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Return every metric under each set of weights.

        Parameters
        ----------
        weights : ndarray of float64, shape (draws, rows)
            How often each row is in the sample, rows in the order of `order`.

        Returns
        -------
        dict of str to ndarray of float64, shape (draws,)
            NaN where a metric is undefined: roc_auc without positives or without negatives; average_precision,
            recall@k and lift@k without positives; revenue@k without known values; all of them without rows.
        """
        rows = _running(weights if self._starts is None else np.add.reduceat(weights, self._starts, axis=1))
        hits = np.take(weights, self._positive, axis=1)
        positives = _running(hits)
        revenue = None if self._revenue is None else _running(hits * self._revenue)
        return {
            **self._ranking(rows, positives),
            **self._probabilistic(weights, rows[:, -1]),
            **self._top(rows, positives, revenue),
        }

    def _ranking(self, rows: FloatArray, positives: FloatArray) -> dict[str, FloatArray]:
        groups = TieGroups(
            rows_above=rows[:, self._bounds[self._hit]],
            rows_through=rows[:, self._bounds[self._hit + 1]],
            positives_above=positives[:, self._positives_before[self._hit]],
            positives_through=positives[:, self._positives_before[self._hit + 1]],
            rows=rows[:, -1],
            positives=positives[:, -1],
        )
        return {"roc_auc": groups.roc_auc(), "average_precision": groups.average_precision()}

    def _probabilistic(self, weights: FloatArray, total: FloatArray) -> dict[str, FloatArray]:
        if self._losses is None:
            return {}
        log_loss, squared_error, residual = self._losses
        gaps = [np.abs(_dot(weights[:, rows], residual[rows])) for rows in self._bins]
        return {
            "log_loss": ratio(_dot(weights, log_loss), total),
            "brier": ratio(_dot(weights, squared_error), total),
            "ece": ratio(np.sum(gaps, axis=0), total),
        }

    def _top(self, rows: FloatArray, positives: FloatArray, revenue: FloatArray | None) -> dict[str, FloatArray]:
        total, total_hits = rows[:, -1], positives[:, -1]
        places = np.minimum(np.asarray(self._at, dtype=np.float64), total[:, None])
        group, share = self._straddling(rows, places)

        def down_to_place(sums: FloatArray) -> FloatArray:
            low, high = (np.take_along_axis(sums, self._positives_before[group + side], axis=1) for side in (0, 1))
            return low + share * (high - low)

        hits = down_to_place(positives)
        money = np.full_like(hits, np.nan) if revenue is None else down_to_place(revenue)
        metrics: dict[str, FloatArray] = {}
        for column, k in enumerate(self._at):
            precision = ratio(hits[:, column], places[:, column])
            metrics[f"precision@{k}"] = precision
            metrics[f"recall@{k}"] = ratio(hits[:, column], total_hits)
            metrics[f"lift@{k}"] = ratio(precision * total, total_hits)
            metrics[f"revenue@{k}"] = money[:, column]
        return metrics

    def _straddling(self, rows: FloatArray, places: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the group in which each place lies, and the share of the group down to that place."""
        last = np.stack([np.searchsorted(running, place) for running, place in zip(rows, places, strict=True)])
        group = self._group[np.maximum(last - 1, 0)]
        above, through = (np.take_along_axis(rows, self._bounds[group + side], axis=1) for side in (0, 1))
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
            f"{np.flatnonzero(wrong)[0]}): mend the model or the calibration that made them."
        )


def _losses(label: FloatArray, probability: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return each row's log loss, squared error and residual."""
    epsilon = np.finfo(np.float64).eps
    of_label = np.where(label == 1, probability, 1 - probability)
    residual = label - probability
    return -np.log(np.clip(of_label, epsilon, 1 - epsilon)), residual**2, residual


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
