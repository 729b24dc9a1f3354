"""Conversion rates of both arms at the top of a ranking by uplift, for many sets of row weights at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from mlsys.errors import DataError
from mlsys.evaluation.ranking import FloatArray, ratio

IntArray = npt.NDArray[np.intp]

FRACTIONS = np.arange(1, 11) / 10  # of the rows, at which the curve is computed


class UpliftFold:
    """Rows of one fold in descending order of uplift, prepared for many sets of row weights.

    Parameters
    ----------
    label, treated : array-like of {0, 1}, shape (rows,)
        Labels, and whether each row was treated.
    uplift : array-like of float, shape (rows,)
        Predicted uplifts; rows with the same one are taken in random order.
    weight : array-like of float, shape (rows,), optional
        Rows that each row stands for.

    Attributes
    ----------
    order : ndarray of int, shape (rows,)
        Positions of the input rows in descending order of uplift. Weights must have this order.

    Raises
    ------
    DataError
        If an uplift or a treatment is missing.
    """

    def __init__(
        self,
        label: npt.ArrayLike,
        treated: npt.ArrayLike,
        uplift: npt.ArrayLike,
        weight: npt.ArrayLike | None = None,
    ) -> None:
        labels, arms, scores = (np.asarray(column, dtype=np.float64) for column in (label, treated, uplift))
        if not (np.isfinite(scores).all() and np.isin(arms, (0, 1)).all()):
            raise DataError(
                "Uplift metrics need an uplift and a treatment, 0 or 1, in every row: leave the others out."
            )
        self.order: IntArray = np.argsort(-scores, kind="stable")
        self.labels, self.arms, scores = labels[self.order], arms[self.order], scores[self.order]
        self.weights = None if weight is None else np.asarray(weight, dtype=np.float64)[self.order]
        self.starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))

    def sample(self, weights: FloatArray) -> UpliftSample:
        """Return the sums that metrics are computed from, under each set of weights, shape (resamples, rows)."""
        return UpliftSample(self, weights if self.weights is None else weights * self.weights)

    def rarest(self, fraction: float) -> float:
        """Return the rows of the rarest combination of arm and class among the top fraction of the rows."""
        if self.weights is None:
            count = round(fraction * len(self.labels))
        else:
            count = int(np.searchsorted(np.cumsum(self.weights), fraction * self.weights.sum()))
        top = slice(0, max(1, count))
        cells = 2 * self.arms[top] + self.labels[top]
        return float(np.bincount(cells.astype(np.intp), minlength=4).min())


class UpliftSample:
    """Conversion rates of both arms at the top of a ranking by uplift, under many sets of weights.

    Parameters
    ----------
    fold : UpliftFold
    weights : ndarray of float64, shape (resamples, rows)
        Weights of the rows, in the order of ``fold.order``.
    """

    def __init__(self, fold: UpliftFold, weights: FloatArray) -> None:
        self.fold, self.weights = fold, weights

    @cached_property
    def curve(self) -> FloatArray:
        """Gain from treating each of `FRACTIONS` of the rows, in conversions per row, shape (resamples, 10).

        It is the fraction times the difference of the conversion rates of treated and of control rows among the top
        fraction by uplift: Gutierrez and Gérardy (2017), Causal inference and uplift modelling, PMLR 67, equation 5,
        divided by the number of rows. It equals the Qini curve of Radcliffe (2007), Using control groups to target on
        predicted lift, where the arms have the same size, and does not depend on their sizes otherwise. NaN where an
        arm has no rows among the top fraction.
        """
        fold = self.fold
        rows, treated, hits, control_hits = (
            self._running(columns)
            for columns in (None, fold.arms, fold.arms * fold.labels, (1 - fold.arms) * fold.labels)
        )
        gains = np.empty((len(self.weights), len(FRACTIONS)))
        for number in range(len(self.weights)):
            at = FRACTIONS * rows[number, -1]
            in_arm, positive, in_control = (
                np.interp(at, rows[number], sums[number]) for sums in (treated, hits, control_hits)
            )
            gains[number] = FRACTIONS * (ratio(positive, in_arm) - ratio(in_control, at - in_arm))
        return gains

    def uplift(self, fraction: float) -> FloatArray:
        """Return the difference of the conversion rates among the top fraction, one of `FRACTIONS`."""
        at: FloatArray = self.curve[:, round(10 * fraction) - 1] / fraction
        return at

    def qini(self) -> FloatArray:
        """Return the area between the curve and the straight line of random targeting, by trapezoids.

        It is not normalised by that of a perfect ranking, which nobody knows: it is the mean gain over random
        targeting, in conversions per row, over all list lengths.
        """
        above = self.curve - FRACTIONS * self.curve[:, -1:]
        area: FloatArray = above[:, :-1].sum(axis=1) / len(FRACTIONS)  # it is 0 at both ends
        return area

    def _running(self, numbers: FloatArray | None) -> FloatArray:
        """Return the sums of the weighted numbers through each group of ties, from 0, shape (resamples, groups + 1)."""
        weighted = self.weights if numbers is None else self.weights * numbers
        sums = np.cumsum(np.add.reduceat(weighted, self.fold.starts, axis=1), axis=1)
        return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
