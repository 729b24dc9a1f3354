"""The cluster bootstrap: resamples of entities, the same ones in every fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlsys.stages import progress

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

# Weights per chunk: 4 MB, small enough for the processor's caches and large enough to amortise Python's overhead.
CHUNK = 2**19


class Statistic(Protocol):
    """Function that computes named statistics of one fold's rows for many sets of row weights."""

    def __call__(self, weights: FloatArray, /) -> Mapping[str, FloatArray]:
        """Return named statistics, each of shape (resamples,), for weights of shape (resamples, rows)."""
        ...


def bootstrap(
    statistics: Sequence[Statistic], entities: Sequence[IntArray], *, resamples: int, seed: int
) -> list[dict[str, FloatArray]]:
    """Compute statistics on bootstrap resamples of entities.

    A resample draws as many entities as there are, with replacement; a row counts as often as its entity was drawn. All
    rows of an entity, in any fold, are therefore resampled together, so that the intervals account for the correlation
    between folds (the cluster bootstrap of Field and Welsh 2007).

    Parameters
    ----------
    statistics : sequence of Statistic
        Statistics to compute, for example all metrics of each fold and model. All of them use the same resamples, so
        that differences between them are paired.
    entities : sequence of ndarray of int, shape (rows,)
        For each statistic, the entity of each row, as codes from 0 that all statistics share.
    resamples : int
        Number of resamples, at least 1.
    seed : int
        Seed of the resamples, which do not depend on the statistics.

    Returns
    -------
    list of dict of str to ndarray of float64, shape (resamples,)
        Values of each statistic, in the order of `statistics`.

    Examples
    --------
    >>> import numpy as np
    >>> total = lambda weights: {"rows": weights.sum(axis=1)}
    >>> bootstrap([total], [np.array([0, 1, 2])], resamples=4, seed=0)[0]["rows"].tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    population = 1 + max(int(codes.max()) for codes in entities)
    chunk = max(1, CHUNK // max(population, *map(len, entities)))
    generator = np.random.default_rng(seed)
    parts: list[list[Mapping[str, FloatArray]]] = [[] for _ in statistics]
    starts = range(0, resamples, chunk)
    with progress("bootstrap", len(starts), "batches") as advance:
        for start in starts:
            counts = _resample(generator, population, min(chunk, resamples - start))
            for part, statistic, codes in zip(parts, statistics, entities, strict=True):
                part.append(statistic(np.take(counts, codes, axis=1)))
            advance()
    return [{name: np.concatenate([numbers[name] for numbers in part]) for name in part[0]} for part in parts]


def _resample(generator: np.random.Generator, population: int, resamples: int) -> FloatArray:
    """Return how often each entity was drawn in each resample, shape (resamples, population)."""
    drawn = generator.integers(0, population, size=(resamples, population))
    drawn += population * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * population)
    return counts.reshape(resamples, population).astype(np.float64)


def mean_over_folds(numbers: FloatArray) -> FloatArray:
    """Return the unweighted mean over the folds in which a value is defined.

    Parameters
    ----------
    numbers : ndarray of float64, shape (folds, resamples)
        Values by fold; NaN if undefined.

    Returns
    -------
    ndarray of float64, shape (resamples,)
        Means; NaN if the value is undefined in every fold.

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
