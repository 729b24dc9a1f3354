"""Which rows two runs share: the same entity, scored at the same as-of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Shared:
    """Rows that two runs both scored.

    Attributes
    ----------
    first, second : ndarray of int, shape (rows,)
        The positions of each shared row in the predictions of either run, in the order of the first.
    """

    first: IntArray
    second: IntArray

    def __len__(self) -> int:
        return len(self.first)


class Alignment:
    """The rows of several runs, matched by id and as-of.

    An id that occurs several times at one as-of (a flat table with a column of ids) is matched in the order of the
    rows, which `is_certain` tells.

    Parameters
    ----------
    predictions : sequence of DataFrame
        With the columns id and as_of, NaT where there is no time.

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

    def shared(self, first: int, second: int) -> Shared:
        """Return the rows that two runs share."""
        ours, theirs = self._codes[first], self._codes[second]
        place = np.full(self._size, -1, dtype=np.intp)
        place[theirs] = np.arange(len(theirs))
        matched = place[ours]
        both = matched >= 0
        return Shared(np.flatnonzero(both), matched[both])

    def is_certain(self, first: int, second: int) -> bool:
        """Return whether each shared row is surely the same in both: no id is repeated, or all rows are alike."""
        if not self._repeated & {first, second}:
            return True
        return np.array_equal(self._codes[first], self._codes[second])

    def common(self, runs: Sequence[int]) -> list[IntArray]:
        """Return the positions of the rows that all of some runs share, in each of them and in the same order."""
        count = np.zeros(self._size, dtype=np.intp)
        for run in runs:
            count[self._codes[run]] += 1
        wanted = np.flatnonzero(count == len(runs))
        positions = []
        for run in runs:
            place = np.full(self._size, -1, dtype=np.intp)
            place[self._codes[run]] = np.arange(len(self._codes[run]))
            positions.append(place[wanted])
        return positions
