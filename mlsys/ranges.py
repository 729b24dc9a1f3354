"""Positions of rows, as slices where they are ranges: taking those copies nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def positions_of(rows: NDArray[Any]) -> slice | NDArray[np.int64]:
    """Return the positions of a mask, or positions themselves, as a slice where they are a range.

    Examples
    --------
    >>> positions_of(np.array([False, True, True])), positions_of(np.array([2, 0]))
    (slice(1, 3, None), array([2, 0]))
    """
    positions = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    if not len(positions):
        return slice(0, 0)
    first, last = int(positions[0]), int(positions[-1])
    is_range = last - first + 1 == len(positions) and bool((np.diff(positions) == 1).all())
    return slice(first, last + 1) if is_range else positions


def take_values(values: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return the values at a mask or at positions: without a copy where they are a range."""
    taken: NDArray[Any] = values[positions_of(rows)]
    return taken
