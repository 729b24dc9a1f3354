"""ROC-AUC and average precision of a ranking, with row weights, for many sets of labels or weights at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TieGroups:
    """Cumulative counts of a ranking, one entry per group of rows with tied scores, in descending order of score.

    Tied rows are counted together, so that no result depends on the order of the input. A leading axis is for several
    sets of weights or labels of the same ranking. Groups without a positive row may be omitted.

    Attributes
    ----------
    rows_above, rows_through : ndarray of float64, shape (n_groups,) or (n_sets, n_groups)
        Number (or total weight) of the rows above each group, and of those down to and including it.
    positives_above, positives_through : ndarray of float64, shape (n_groups,) or (n_sets, n_groups)
        Number (or total weight) of the positive rows above each group, and of those down to and including it.
    rows, positives : ndarray of float64, shape () or (n_sets,)
        Number (or total weight) of all rows and of all positive rows.

    Examples
    --------
    >>> groups = tie_groups(np.array([0.1, 0.6, 0.6, 0.2]), np.array([False, True, False, False]))
    >>> float(groups.roc_auc()), float(groups.average_precision())
    (0.8333333333333334, 0.5)
    """

    rows_above: FloatArray
    rows_through: FloatArray
    positives_above: FloatArray
    positives_through: FloatArray
    rows: FloatArray
    positives: FloatArray

    @classmethod
    def from_running(cls, rows: FloatArray, positives: FloatArray) -> TieGroups:
        """Return the groups with these running counts at their last rows; there must be at least one group."""
        return cls(
            rows_above=_shifted(rows),
            rows_through=rows,
            positives_above=_shifted(positives),
            positives_through=positives,
            rows=rows[..., -1],
            positives=positives[..., -1],
        )

    def roc_auc(self) -> FloatArray:
        """Return the probability that a positive row ranks above a negative one; NaN with a single class.

        Returns
        -------
        ndarray of float64, shape () or (n_sets,)

        Notes
        -----
        This is the weighted Mann-Whitney statistic, in which a tied pair counts half: Hanley and McNeil (1982), The
        meaning and use of the area under a receiver operating characteristic (ROC) curve, Radiology 143.
        """
        negatives = self.rows - self.positives
        negatives_above = self.rows_above - self.positives_above
        negatives_through = self.rows_through - self.positives_through
        pairs_won = self._positives * (negatives[..., None] - (negatives_above + negatives_through) / 2)
        return ratio(pairs_won.sum(axis=-1), self.positives * negatives)

    def average_precision(self) -> FloatArray:
        """Return the average precision, as defined by scikit-learn; NaN without positive rows.

        It is the sum over the groups of (increase in recall) x (precision through the group).

        Returns
        -------
        ndarray of float64, shape () or (n_sets,)
        """
        hits, rows = np.broadcast_arrays(self.positives_through, self.rows_through)
        precision = np.divide(hits, rows, out=np.zeros_like(hits), where=rows > 0)
        return ratio((self._positives * precision).sum(axis=-1), self.positives)

    @property
    def _positives(self) -> FloatArray:
        return self.positives_through - self.positives_above


def tie_groups(score: FloatArray, positive: npt.NDArray[np.bool_], weight: FloatArray | None = None) -> TieGroups:
    """Rank rows by a score, highest first.

    Parameters
    ----------
    score : ndarray of float64, shape (n_rows,)
        Scores without NaN.
    positive : ndarray of bool, shape (n_rows,) or (n_sets, n_rows)
        One or several sets of labels.
    weight : ndarray of float64, shape (n_rows,), optional
        Rows that each row stands for.

    Examples
    --------
    >>> labels = np.array([[True, False, True], [False, False, False]])
    >>> tie_groups(np.array([0.9, 0.4, 0.2]), labels).average_precision().round(2)
    array([0.83,  nan])
    """
    if not len(score):
        zero = np.zeros((*positive.shape[:-1], 1))
        return TieGroups.from_running(zero, zero)
    order = np.argsort(-score)
    ranked = score[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    if weight is None:
        running = np.cumsum(positive[..., order], axis=-1)[..., last]
        return TieGroups.from_running((last + 1).astype(np.float64), running.astype(np.float64))
    weights = weight[order]
    return TieGroups.from_running(
        np.cumsum(weights)[last], np.cumsum(weights * positive[..., order], axis=-1)[..., last]
    )


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient; NaN where the denominator is 0.

    Examples
    --------
    >>> ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0]))
    array([0.25,  nan])
    """
    quotient = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _shifted(running: FloatArray) -> FloatArray:
    """Return the running counts before each group."""
    return np.concatenate([np.zeros((*running.shape[:-1], 1)), running[..., :-1]], axis=-1)
