"""Intervals of metrics from their bootstrap resamples: how each kind of metric is distributed, by simulation.

An interval covers the expected value of the metric: its mean over future folds of the same size, of accounts from the
same process. For metrics with few positives, that is not the value in an infinite sample: average precision, for
example, is higher in a small fold.

Percentiles of the resamples do not cover it. A resample contains copies of positives, which inflate average precision
and the calibration error, and its spread among a few positives is skewed. The methods here take only the standard error
from the resamples, and the shape from the kind of metric. `mlsys.evaluation.metric_table` chooses one for each metric,
by their coverage in ``benchmarks/coverage.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

NONE: Interval = (float("nan"), float("nan"))
MIN_FREEDOM = 4  # degrees of freedom below which no method covers the expected value


@dataclass(frozen=True)
class Uncertainty:
    """What an interval is made of, apart from the metric's kind.

    Attributes
    ----------
    samples : ndarray of float64, shape (resamples,)
        Values in the resamples; NaN (undefined) is skipped.
    confidence : float
        Confidence level, in (0, 1).
    freedom : int
        Degrees of freedom of the standard error; see `degrees_of_freedom`.
    """

    samples: FloatArray
    confidence: float
    freedom: int

    @property
    def defined(self) -> FloatArray:
        """Values that are defined."""
        return self.samples[~np.isnan(self.samples)]

    @property
    def error(self) -> float:
        """Bootstrap standard error (Efron and Tibshirani 1993, chapter 6)."""
        return float(self.defined.std(ddof=1)) if self.defined.size > 1 else float("nan")

    @property
    def quantile(self) -> float:
        """Quantile of Student's t distribution: the standard error itself is uncertain with few positives."""
        return float(special.stdtrit(self.freedom, (1 + self.confidence) / 2))

    @property
    def tails(self) -> tuple[float, float]:
        """Probabilities of the two ends."""
        return (1 - self.confidence) / 2, (1 + self.confidence) / 2


def degrees_of_freedom(rows: FloatArray, positives: FloatArray, entities: int) -> int:
    """Return how many independent values of the rarer class a standard error is estimated from.

    Parameters
    ----------
    rows, positives : ndarray of float64, shape (folds,)
        Rows and positive rows of each fold.
    entities : int
        Distinct entities with a row of the rarer class.

    Returns
    -------
    int
        Rows of the rarer class minus one per fold, for the fold's own mean; at most one less than the entities.

    Examples
    --------
    >>> degrees_of_freedom(np.array([100.0, 100.0]), np.array([8.0, 6.0]), 14)
    12
    """
    rarer = min(positives.sum(), (rows - positives).sum())
    return int(min(rarer - len(rows), entities - 1))


def logit_interval(value: float, known: Uncertainty, *, folds: int = 0) -> Interval:
    """Return a t interval on the logit scale, for a metric between 0 and 1 (Agresti 2013, section 1.4).

    Parameters
    ----------
    value : float
    known : Uncertainty
    folds : int
        Number of folds whose means the standard error underestimates: in a fold of n positives, a resample varies by
        (n - 1) / n of the variance. 0 leaves it as it is.

    Examples
    --------
    >>> samples = np.random.default_rng(0).normal(0.9, 0.03, 1000)
    >>> np.round(logit_interval(0.9, Uncertainty(samples, 0.95, 40)), 3).tolist()
    [0.823, 0.946]
    """
    error = known.error * np.sqrt((known.freedom + folds) / known.freedom)
    if not 0 < value < 1:
        return (value, value) if error == 0 else NONE
    centre, half = special.logit(value), known.quantile * error / (value * (1 - value))
    return float(special.expit(centre - half)), float(special.expit(centre + half))


def log_interval(value: float, known: Uncertainty) -> Interval:
    """Return a t interval on the logarithmic scale, for a positive metric without an upper limit.

    Examples
    --------
    >>> samples = np.random.default_rng(0).normal(500, 100, 1000)
    >>> np.round(log_interval(500.0, Uncertainty(samples, 0.95, 40))).tolist()
    [337.0, 742.0]
    """
    if value <= 0:
        return NONE
    half = known.quantile * known.error / value
    return float(value * np.exp(-half)), float(value * np.exp(half))


def proportion_interval(value: float, known: Uncertainty, *, trials: float, scale: float = 1.0) -> Interval:
    """Return a beta interval for a proportion, from the number of independent trials that its error amounts to.

    This is the interval of Korn and Graubard (1998), Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data, Survey Methodology 24, with the prior of Jeffreys.

    Parameters
    ----------
    value : float
    known : Uncertainty
    trials : float
        Largest number of independent trials: rows in the lists, or positives.
    scale : float
        Value of a proportion of 1.

    Examples
    --------
    >>> known = Uncertainty(np.zeros(100), 0.95, 40)
    >>> np.round(proportion_interval(0.0, known, trials=60), 3).tolist()
    [0.0, 0.041]
    """
    share, error = min(value / scale, 1.0), known.error / scale
    effective = min(trials, share * (1 - share) / error**2) if error > 0 and 0 < share < 1 else trials
    hits = share * effective
    low, high = special.betaincinv(hits + 0.5, effective - hits + 0.5, known.tails)
    return float(low * scale) if hits else 0.0, float(high * scale) if hits < effective else scale


def shifted_interval(value: float, known: Uncertainty) -> Interval:
    """Return percentiles of the resamples, shifted so that their mean is the value; at least 0 if no resample is below.

    Parameters
    ----------
    value : float
    known : Uncertainty

    Examples
    --------
    >>> shifted_interval(40.0, Uncertainty(np.arange(101.0), 0.5, 10))
    (15.0, 65.0)
    """
    low, high = np.quantile(known.defined, known.tails) + (value - known.defined.mean())
    lowest = 0.0 if known.defined.min() >= 0 else -np.inf
    return float(max(low, lowest)), float(max(high, lowest))


def percentile_interval(known: Uncertainty) -> Interval:
    """Return percentiles of the resamples (Efron and Tibshirani 1993, chapter 13).

    Examples
    --------
    >>> percentile_interval(Uncertainty(np.arange(101.0), 0.5, 10))
    (25.0, 75.0)
    """
    low, high = np.quantile(known.defined, known.tails)
    return float(low), float(high)


def t_interval(value: float, known: Uncertainty) -> Interval:
    """Return a t interval, for a difference between two scores of the same rows.

    Examples
    --------
    >>> samples = np.random.default_rng(0).normal(0.1, 0.03, 1000)
    >>> np.round(t_interval(0.1, Uncertainty(samples, 0.95, 40)), 3).tolist()
    [0.041, 0.159]
    """
    half = known.quantile * known.error
    return float(value - half), float(value + half)
