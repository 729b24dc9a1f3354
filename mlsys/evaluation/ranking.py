"""ROC-AUC and average precision of a ranking, for any row weights and for many sets of labels at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TieGroups:
    """Cumulative counts down a ranking, one entry per group of rows that tie on the score, best score first.

    Rows that tie count together, so no result depends on the order in which they are given. A leading axis holds
    several sets of weights or labels of the same ranking. Groups without a positive row may be left out.

    Attributes
    ----------
    rows_above, rows_through : ndarray of float64, shape (n_groups,) or (n_sets, n_groups)
        Rows above each group, and down to and with it; their weights where rows have weights.
    positives_above, positives_through : ndarray of float64, shape (n_groups,) or (n_sets, n_groups)
        Positive rows likewise.
    rows, positives : ndarray of float64, shape () or (n_sets,)
        All rows and all positive rows.

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
        """Return the groups whose last rows have these running counts, at least one group."""
        return cls(
            rows_above=_shifted(rows),
            rows_through=rows,
            positives_above=_shifted(positives),
            positives_through=positives,
            rows=rows[..., -1],
            positives=positives[..., -1],
        )

    def roc_auc(self) -> FloatArray:
        """Return the chance that a positive row ranks above another; NaN with one class only.

        Returns
        -------
        ndarray of float64, shape () or (n_sets,)

        Notes
        -----
        The weighted Mann-Whitney statistic, in which a tied pair counts half: Hanley and McNeil (1982), The meaning and
        use of the area under a receiver operating characteristic (ROC) curve, Radiology 143.
        """
        negatives = self.rows - self.positives
        negatives_above = self.rows_above - self.positives_above
        negatives_through = self.rows_through - self.positives_through
        pairs_won = self._positives * (negatives[..., None] - (negatives_above + negatives_through) / 2)
        return ratio(pairs_won.sum(axis=-1), self.positives * negatives)

    def average_precision(self) -> FloatArray:
        """Return the sum over groups of (gain in recall) x (precision through the group); NaN without positive rows.

        As in ``sklearn.metrics.average_precision_score``.

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


def tie_groups(score: FloatArray, positive: npt.NDArray[np.bool_]) -> TieGroups:
    """Rank rows by a score, highest first.

    Parameters
    ----------
    score : ndarray of float64, shape (n_rows,)
        No NaN.
    positive : ndarray of bool, shape (n_rows,) or (n_sets, n_rows)
        One set of labels, or several.

    Examples
    --------
    >>> labels = np.array([[True, False, True], [False, False, False]])
    >>> tie_groups(np.array([0.9, 0.4, 0.2]), labels).average_precision().round(2)
    array([0.83,  nan])
    """
    if not len(score):
        nothing = np.zeros((*positive.shape[:-1], 1))
        return TieGroups.from_running(nothing, nothing)
    order = np.argsort(-score)
    ranked = score[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    running = np.cumsum(positive[..., order], axis=-1)[..., last]
    return TieGroups.from_running((last + 1).astype(np.float64), running.astype(np.float64))


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where the denominator is 0.

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
