"""ROC-AUC of a single column with missing values, and the standard error of a ROC-AUC."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlsys.evaluation.ranking import tie_groups


def best_roc_auc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the ROC-AUC of a column in its better direction, with missing values at the better end.

    Parameters
    ----------
    values : ndarray of float64, shape (n_rows,)
        Values of the column; NaN if missing.
    positive : ndarray of bool, shape (n_rows,)
        Labels, with both classes.

    Examples
    --------
    >>> best_roc_auc(np.array([3.0, 1.0, np.nan, np.nan]), np.array([False, True, True, True]))
    1.0
    """
    missing = np.isnan(values)
    ends = (-np.inf, np.inf) if missing.any() else (0.0,)
    aucs = [float(tie_groups(np.where(missing, end, values), positive).roc_auc()) for end in ends]
    return max(max(auc, 1 - auc) for auc in aucs)


def roc_auc_error(auc: float, positives: int, negatives: int) -> float:
    """Return the standard error of a ROC-AUC, given the numbers of positive and negative rows.

    Hanley and McNeil (1982), The meaning and use of the area under a receiver operating characteristic (ROC) curve,
    Radiology 143, equation 1, with their approximations of Q1 and Q2 from the exponential distribution.

    Examples
    --------
    >>> round(roc_auc_error(0.9, 20, 1000), 3)
    0.046
    """
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (positives * negatives)))
