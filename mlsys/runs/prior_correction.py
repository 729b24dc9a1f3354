"""The correction of probabilities for a change of the class prior, for arrays and for single numbers.

Saerens, Latinne & Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities", Neural
Computation 14(1), equation 4. With a = target_prior / train_prior and b = (1 - target_prior) / (1 - train_prior), the
probability is p a / (p a + (1 - p) b). It is computed as 1 / (1 + (1 - p) / p (b / a)), each step of which is monotone
in floating point too, so rounding never swaps two rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def correct_prior(score: NDArray[np.float64], train_prior: float, target_prior: float) -> NDArray[np.float64]:
    """Return the corrected probability of each score.

    Parameters
    ----------
    score : ndarray of float64
        Scores in [0, 1], of any shape.
    train_prior, target_prior : float
        Fraction of positives in the rows fitted on and in the rows to score; each in (0, 1).

    Examples
    --------
    >>> correct_prior(np.array([0.0, 0.5, 1.0]), 0.5, 0.2).tolist()
    [0.0, 0.2, 1.0]
    """
    ratio = _odds_ratio(train_prior, target_prior)
    with np.errstate(divide="ignore", over="ignore"):  # a score of 0 has infinite odds against it
        return np.asarray(1 / (1 + (1 - score) / score * ratio))


def scalar_prior_correction(train_prior: float, target_prior: float) -> Callable[[float], float]:
    """Return a function that corrects one score; much faster than an array of one.

    Parameters
    ----------
    train_prior, target_prior : float
        As in `correct_prior`.

    Examples
    --------
    >>> correct = scalar_prior_correction(0.5, 0.2)
    >>> correct(0.0), correct(0.5), correct(1.0)
    (0.0, 0.2, 1.0)
    """
    ratio = _odds_ratio(train_prior, target_prior)
    return lambda score: 1 / (1 + (1 - score) / score * ratio) if score > 0 else 0.0


def _odds_ratio(train_prior: float, target_prior: float) -> float:
    """Return the factor by which the odds against the outcome change: b / a."""
    a = target_prior / train_prior
    b = (1 - target_prior) / (1 - train_prior)
    return b / a
