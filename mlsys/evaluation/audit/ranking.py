"""How well one column ranks, for the checks: missing values and many sets of labels included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def roc_auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the chance that a positive row ranks above another, ties half; NaN with one class only.

    Examples
    --------
    >>> roc_auc(np.array([0.1, 0.6, 0.6, 0.2]), np.array([False, True, False, False]))
    0.8333333333333334
    """
    count, others = int(positive.sum()), int((~positive).sum())
    return _wins(score, positive) / (count * others) if count and others else float("nan")


def best_roc_auc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the ROC-AUC of a column taken in its better direction, its missing values at the better end.

    Parameters
    ----------
    values : ndarray of float64, shape (n_rows,)
        NaN where missing.
    positive : ndarray of bool, shape (n_rows,)
        Of both classes.

    Examples
    --------
    >>> best_roc_auc(np.array([3.0, 1.0, np.nan, np.nan]), np.array([False, True, True, True]))
    1.0
    """
    there = ~np.isnan(values)
    wins = _wins(values[there], positive[there])
    hits, others = int(positive.sum()), int((~positive).sum())
    hits_there, others_there = int(positive[there].sum()), int((~positive[there]).sum())
    ties = 0.5 * (hits - hits_there) * (others - others_there)
    lowest = (wins + hits_there * (others - others_there) + ties) / (hits * others)
    highest = (wins + (hits - hits_there) * others_there + ties) / (hits * others)
    return max(lowest, highest, 1 - lowest, 1 - highest)


def roc_auc_error(auc: float, count: int, others: int) -> float:
    """Return the standard error of a ROC-AUC of so many positive rows and others.

    Hanley and McNeil (1982), The meaning and use of the area under a receiver operating characteristic (ROC) curve,
    Radiology 143, equation 1, with their approximations of Q1 and Q2 from the exponential distribution.

    Examples
    --------
    >>> round(roc_auc_error(0.9, 20, 1000), 3)
    0.046
    """
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (count - 1) * (first - auc**2) + (others - 1) * (second - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (count * others)))


def average_precision(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the average precision of one ranking under many sets of labels.

    The sum over tie groups of (gain in recall) x (precision down to and with the group), as in
    ``sklearn.metrics.average_precision_score``.

    Parameters
    ----------
    score : ndarray of float64, shape (n_rows,)
    positive : ndarray of bool, shape (n_draws, n_rows)

    Returns
    -------
    ndarray of float64, shape (n_draws,)
        NaN where a set has no positive row.

    Examples
    --------
    >>> average_precision(np.array([0.9, 0.4, 0.2]), np.array([[True, False, True], [False, False, False]])).round(2)
    array([0.83,  nan])
    """
    if len(score) == 0:
        return np.full(len(positive), np.nan)
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    hits = np.cumsum(positive[:, order], axis=1)[:, ends]
    gained = np.diff(hits, axis=1, prepend=0)
    sums = (gained * hits / (ends + 1)).sum(axis=1)
    total = hits[:, -1].astype(np.float64)
    values: NDArray[np.float64] = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
    return values


def _wins(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Count the pairs of a positive row and another in which the positive one is higher, ties half."""
    everyone, hits = np.sort(score), np.sort(score[positive])
    below = np.searchsorted(everyone, hits, "left") + np.searchsorted(everyone, hits, "right")
    # Among themselves the positive rows win half of all pairs, each with itself included.
    return float(below.sum() / 2 - len(hits) ** 2 / 2)
