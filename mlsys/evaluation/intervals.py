"""Confidence intervals by a bootstrap that resamples entities, the same ones in every fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

# Weights held at once: 4 MB, near the processor's caches, yet enough that the interpreter's share stays small.
CHUNK = 2**19


class Statistic(Protocol):
    """Whatever can be computed from the rows of one fold under many sets of weights."""

    def __call__(self, weights: FloatArray, /) -> Mapping[str, FloatArray]:
        """Return named numbers, each of shape (resamples,), from weights of shape (resamples, rows)."""
        ...


def bootstrap(
    statistics: Sequence[Statistic], entities: Sequence[IntArray], *, resamples: int, seed: int
) -> list[dict[str, FloatArray]]:
    """Compute statistics on samples of entities drawn with replacement.

    One draw picks as many entities as there are, with replacement, out of all that occur; a row counts as often as its
    entity was picked. An entity's rows in several folds therefore move together, which keeps the correlation between
    folds in the intervals (the cluster bootstrap of Field and Welsh 2007).

    Parameters
    ----------
    statistics : sequence of Statistic
        What to compute, for example all metrics of each fold and model. All see the same draws, so that
        differences between them are paired.
    entities : sequence of ndarray of int, shape (rows,)
        For each statistic the entity of each of its rows, as codes that start at 0 over all statistics together.
    resamples : int
        How many samples to draw, at least 1.
    seed : int
        Seed of the draws. The same seed gives the same draws whatever the statistics are.

    Returns
    -------
    list of dict of str to ndarray of float64, shape (resamples,)
        The numbers of each statistic, in the order of `statistics`.

    Examples
    --------
    >>> import numpy as np
    >>> total = lambda weights: {"rows": weights.sum(axis=1)}
    >>> bootstrap([total], [np.array([0, 1, 2])], draws=4, seed=0)[0]["rows"].tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    population = 1 + max(int(codes.max()) for codes in entities)
    chunk = max(1, CHUNK // max(population, *map(len, entities)))
    generator = np.random.default_rng(seed)
    parts: list[list[Mapping[str, FloatArray]]] = [[] for _ in statistics]
    for start in range(0, resamples, chunk):
        counts = _draw(generator, population, min(chunk, resamples - start))
        for part, statistic, codes in zip(parts, statistics, entities, strict=True):
            part.append(statistic(np.take(counts, codes, axis=1)))
    return [{name: np.concatenate([numbers[name] for numbers in part]) for name in part[0]} for part in parts]


def _draw(generator: np.random.Generator, population: int, resamples: int) -> FloatArray:
    """Return how often each entity was picked in each draw, shape (resamples, population)."""
    picked = generator.integers(0, population, size=(resamples, population))
    picked += population * np.arange(resamples)[:, None]
    counts = np.bincount(picked.ravel(), minlength=resamples * population)
    return counts.reshape(resamples, population).astype(np.float64)


def mean_over_folds(numbers: FloatArray) -> FloatArray:
    """Return the unweighted mean over the folds in which a number is defined.

    Parameters
    ----------
    numbers : ndarray of float64, shape (folds, resamples)
        NaN where undefined.

    Returns
    -------
    ndarray of float64, shape (resamples,)
        NaN where no fold has the number.

    Examples
    --------
    >>> import numpy as np
    >>> mean_over_folds(np.array([[1.0, 2.0], [3.0, np.nan]])).tolist()
    [2.0, 2.0]
    """
    defined = ~np.isnan(numbers)
    count = defined.sum(axis=0)
    total = np.where(defined, numbers, 0.0).sum(axis=0)
    mean = np.full(count.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def percentile_interval(samples: FloatArray, confidence: float, centre: float | None = None) -> tuple[float, float]:
    """Return the interval that holds the middle of the samples.

    Parameters
    ----------
    samples : ndarray of float64, shape (resamples,)
        A number in each draw; draws in which it is NaN (undefined) are left out.
    confidence : float
        Share of the samples inside, in (0, 1).
    centre : float, optional
        Shift the samples so that this is their mean, for a number that resampling biases.

    Returns
    -------
    low, high : float
        Percentile interval (Efron and Tibshirani 1993, chapter 13; chapter 10 for the bias); NaN without any sample.

    Examples
    --------
    >>> import numpy as np
    >>> percentile_interval(np.arange(101.0), 0.5), percentile_interval(np.arange(101.0), 0.5, centre=40)
    ((25.0, 75.0), (15.0, 65.0))
    """
    defined = samples[~np.isnan(samples)]
    if not defined.size:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    shift = 0.0 if centre is None else centre - defined.mean()
    low, high = np.quantile(defined, [tail, 1 - tail]) + shift
    return float(low), float(high)
