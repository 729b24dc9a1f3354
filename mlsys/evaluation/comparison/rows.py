"""Matching the rows of runs: the same entity at the same as-of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlsys.data.weight_column import SAMPLING_WEIGHT

IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SharedRows:
    """Rows that two runs both scored.

    Attributes
    ----------
    first, second : ndarray of int, shape (rows,)
        Positions of the shared rows in the predictions of the two runs, in the order of the first run.
    """

    first: IntArray
    second: IntArray

    def __len__(self) -> int:
        return len(self.first)


def joint_weights(rows: Sequence[pd.DataFrame], seeds: Sequence[object]) -> FloatArray | None:
    """Return how many rows each of the rows that several runs share stands for; None if no run sampled its negatives.

    Samples with the same seed contain each other, so the smallest decides. Samples with different seeds are
    independent, so their weights multiply.

    Parameters
    ----------
    rows : sequence of DataFrame
        The shared rows of each run, in the same order.
    seeds : sequence
        Seed of each run's sample.

    Examples
    --------
    >>> few, more = (pd.DataFrame({"sampling_weight": [1.0, weight]}) for weight in (10.0, 2.0))
    >>> joint_weights([few, more], [0, 0]), joint_weights([few, more], [0, 1])
    (array([ 1., 10.]), array([ 1., 20.]))
    """
    by_seed: dict[object, FloatArray] = {}
    for frame, seed in zip(rows, seeds, strict=True):
        if SAMPLING_WEIGHT in frame:
            weights = frame[SAMPLING_WEIGHT].to_numpy(dtype=np.float64)
            by_seed[seed] = np.maximum(weights, by_seed.get(seed, weights))
    return np.prod(list(by_seed.values()), axis=0) if by_seed else None


def with_weights(rows: pd.DataFrame, weights: FloatArray | None) -> pd.DataFrame:
    """Return rows with these `joint_weights`."""
    return rows if weights is None else rows.assign(**{SAMPLING_WEIGHT: weights})


class Alignment:
    """The rows of several runs, matched by id and as-of.

    If an id is repeated at one as-of, as in a flat table with an id column, its rows are matched in order, which
    may be wrong; see `is_certain`.

    Parameters
    ----------
    predictions : sequence of DataFrame
        Columns id and as_of; as_of is NaT if the split is not by time.

    Examples
    --------
    >>> rows = [pd.DataFrame({"id": ids, "as_of": pd.NaT}) for ids in ([1, 2, 3], [3, 1])]
    >>> shared = Alignment(rows).shared(0, 1)
    >>> shared.first.tolist(), shared.second.tolist()
    ([0, 2], [1, 0])
    """

    def __init__(self, predictions: Sequence[pd.DataFrame]) -> None:
        keys = pd.concat([rows[["id", "as_of"]].astype({"id": object}) for rows in predictions], ignore_index=True)
        keys["run"] = np.repeat(np.arange(len(predictions)), [len(rows) for rows in predictions])
        keys["occurrence"] = keys.groupby(["run", "id", "as_of"], dropna=False, sort=False).cumcount()
        codes = keys.groupby(["id", "as_of", "occurrence"], dropna=False, sort=False).ngroup().to_numpy(dtype=np.intp)
        ends = np.cumsum([len(rows) for rows in predictions])
        self._size = int(codes.max(initial=-1)) + 1
        self._codes: list[IntArray] = np.split(codes, ends[:-1])
        repeated = keys.loc[keys["occurrence"] > 0, "run"].unique()
        self._repeated = {int(run) for run in repeated}

    def shared(self, first: int, second: int) -> SharedRows:
        """Return the rows that two runs share."""
        ours, theirs = self._codes[first], self._codes[second]
        positions = np.full(self._size, -1, dtype=np.intp)
        positions[theirs] = np.arange(len(theirs))
        matched = positions[ours]
        both = matched >= 0
        return SharedRows(np.flatnonzero(both), matched[both])

    def is_certain(self, first: int, second: int) -> bool:
        """Return whether the match is certain: no id is repeated, or both runs have the same rows in the same order."""
        if not self._repeated & {first, second}:
            return True
        return np.array_equal(self._codes[first], self._codes[second])

    def common(self, runs: Sequence[int]) -> list[IntArray]:
        """Return the positions, in each of the runs, of the rows that all of them share, in the same order."""
        count = np.zeros(self._size, dtype=np.intp)
        for run in runs:
            count[self._codes[run]] += 1
        shared = np.flatnonzero(count == len(runs))
        common = []
        for run in runs:
            positions = np.full(self._size, -1, dtype=np.intp)
            positions[self._codes[run]] = np.arange(len(self._codes[run]))
            common.append(positions[shared])
        return common
