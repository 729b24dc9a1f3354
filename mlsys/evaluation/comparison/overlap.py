"""Agreement of two rankings of the same rows: overlap of the top k, and rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two rankings, as means over folds.

    Attributes
    ----------
    shared : dict of int to float
        For each k, the fraction of the top k entities that both rankings have in common.
    jaccard : dict of int to float
        For each k, the Jaccard index of the two top-k lists.
    chance : dict of int to float
        For each k, the expected value of ``shared`` for two random rankings.
    correlation : float or None
        Spearman's rank correlation over all rows; None if a ranking is constant.
    """

    shared: dict[int, float]
    jaccard: dict[int, float]
    chance: dict[int, float]
    correlation: float | None


def agreement(first: Sequence[FloatArray], second: Sequence[FloatArray], top_k: Sequence[int]) -> Agreement:
    """Compare two rankings, fold by fold.

    Parameters
    ----------
    first, second : sequence of ndarray of float64, shape (rows,)
        For each fold, the scores of the same rows; higher scores rank first.
    top_k : sequence of int
        The list lengths k; a k beyond the number of rows means all rows.

    Notes
    -----
    Rows tied at the end of a list count fractionally, as in the metrics: the expectation over all orders of tied rows,
    so that a constant score agrees with any other as much as chance.

    Examples
    --------
    >>> import numpy as np
    >>> found = agreement([np.array([0.9, 0.8, 0.1, 0.2])], [np.array([0.9, 0.1, 0.8, 0.2])], top_k=[2])
    >>> found.shared[2], found.chance[2], round(found.correlation, 2)
    (0.5, 0.5, 0.2)
    """
    shared, jaccard, chance = {}, {}, {}
    for k in top_k:
        lengths = [min(k, len(scores)) for scores in first]
        both = [
            float(_membership(one, size) @ _membership(other, size)) / size
            for one, other, size in zip(first, second, lengths, strict=True)
        ]
        shared[k] = float(np.mean(both))
        jaccard[k] = float(np.mean([part / (2 - part) for part in both]))
        chance[k] = float(np.mean([size / len(scores) for size, scores in zip(lengths, first, strict=True)]))
    correlations = [_spearman(one, other) for one, other in zip(first, second, strict=True)]
    known = [value for value in correlations if value is not None]
    return Agreement(shared, jaccard, chance, float(np.mean(known)) if known else None)


def _membership(scores: FloatArray, k: int) -> FloatArray:
    """Return the degree (0 to 1) to which each row is in the top k, shape (rows,)."""
    last = np.partition(scores, len(scores) - k)[len(scores) - k]
    above, tied = scores > last, scores == last
    member: FloatArray = above.astype(np.float64)
    member[tied] = (k - above.sum()) / tied.sum()
    return member


def _spearman(first: FloatArray, second: FloatArray) -> float | None:
    ranks = [rankdata(scores) for scores in (first, second)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(centred[0] @ centred[1]) / scale if scale else None
