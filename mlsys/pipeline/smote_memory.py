"""Estimates the memory that SMOTE needs, so that it is refused before it starts rather than killed in the middle.

imbalanced-learn's SMOTENC gathers all neighbours of all new rows at once, with a column for each level of each
category; its SMOTEN has a matrix of the distances between all minority rows.
"""

from __future__ import annotations

import os
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTEN, SMOTENC
from numpy.typing import NDArray

from mlsys.errors import RowsError
from mlsys.pipeline.smote import BATCH, SmoteMixed
from mlsys.text import counted

GB = 1e9
NUMBER = 8  # bytes
COPIES = 2  # of what is gathered, while the new rows are made of it


def check_memory(sampler: Any, X: Any, y: NDArray[np.int8], free: float | None = None) -> None:  # noqa: ANN401
    """Check that a sampler of categories fits into memory; other samplers need little beyond their result.

    Parameters
    ----------
    sampler : imbalanced-learn sampler
    X : DataFrame or ndarray of shape (n_rows, n_columns)
        Encoded rows.
    y : ndarray of int8, shape (n_rows,)
        Labels.
    free : float, optional
        Available bytes; by default those of this machine.

    Raises
    ------
    RowsError
        If it does not fit.
    """
    if not isinstance(sampler, SmoteMixed | SMOTENC | SMOTEN):
        return
    needed, available = needed_bytes(sampler, X, y), available_bytes() if free is None else free
    if needed <= available:
        return
    positives = int(np.count_nonzero(y == 1))
    bound = "sampler.max_minority=20000 (sampler=smotenc)"
    if isinstance(sampler, SmoteMixed) and sampler.max_minority is not None:
        bound = "a smaller sampler.sampling_strategy"
    raise RowsError(
        f"{type(sampler).__name__} needs about {needed / GB:.1f} GB to add {counted(new_rows(sampler, y), 'row')} to "
        f"{counted(positives, 'positive row')} among {len(y):,}, but {available / GB:.1f} GB are free. Set {bound}, "
        "data.negatives=auto, or sampler=random_over, which repeats rows."
    )


def new_rows(sampler: Any, y: NDArray[np.int8]) -> int:  # noqa: ANN401
    """Return how many rows a sampler adds to the minority.

    Examples
    --------
    >>> new_rows(SmoteMixed(sampling_strategy=0.5), np.array([0] * 100 + [1] * 10, dtype=np.int8))
    40
    """
    sizes = np.bincount(y, minlength=2)
    fewer, more = int(sizes.min()), int(sizes.max())
    strategy = sampler.sampling_strategy
    if isinstance(strategy, dict):
        return sum(max(int(target) - int(sizes[int(label)]), 0) for label, target in strategy.items())
    ratio = float(strategy) if isinstance(strategy, Real) else 1.0
    return max(int(ratio * more) - fewer, 0)


def needed_bytes(sampler: Any, X: Any, y: NDArray[np.int8]) -> float:  # noqa: ANN401
    """Return about how much memory a sampler needs: for its result, and at most for making it.

    Parameters
    ----------
    sampler, X, y
        See `check_memory`.
    """
    added, minority = new_rows(sampler, y), int(np.bincount(y, minlength=2).min())
    neighbours = sampler.k_neighbors if isinstance(sampler.k_neighbors, int) else sampler.k_neighbors.n_neighbors
    result = NUMBER * (len(y) + added) * X.shape[1] * COPIES
    at_once, compared = added, minority
    if isinstance(sampler, SmoteMixed) and sampler.max_minority is not None and minority > sampler.max_minority:
        at_once, compared = min(added, BATCH), sampler.max_minority
    gathered = NUMBER * at_once * neighbours * _columns(X) * COPIES
    categories = isinstance(X, pd.DataFrame) and all(isinstance(kind, pd.CategoricalDtype) for kind in X.dtypes)
    distances = NUMBER * compared**2 * COPIES if isinstance(sampler, SMOTEN) or categories else 0
    return float(result + max(gathered, distances))


def available_bytes() -> float:
    """Return the memory that is free on this machine, with what its caches would give back where the system says so."""
    status = Path("/proc/meminfo")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _columns(X: Any) -> int:  # noqa: ANN401
    """Return the number of columns with one for each level of each category."""
    if not isinstance(X, pd.DataFrame):
        return int(X.shape[1])
    return sum(len(kind.categories) if isinstance(kind, pd.CategoricalDtype) else 1 for kind in X.dtypes)
