"""Folds within training rows: members of a stack score rows whose labels they had not seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.pipeline.composites import MemberRows

Mask = NDArray[np.bool_]


class InnerFold(NamedTuple):
    """Rows to fit on, and rows to score.

    Attributes
    ----------
    known, scored : ndarray of bool, shape (n_rows,)
        Masks; no row is in both.
    start : Timestamp or None
        Time of the earliest row to score; None where rows have no time.
    """

    known: Mask
    scored: Mask
    start: pd.Timestamp | None = None

    def seen(self, rows: MemberRows) -> MemberRows:
        """Return the rows to fit on, with those that are known in part when the scored rows begin."""
        return rows.take(self.known) if self.start is None else rows.seen_at(self.start, self.known)


def converters(rows: MemberRows) -> int:
    """Return the number of groups with a positive row."""
    return int(rows.details["group"][rows.labels == 1].nunique())


def inner_folds(rows: MemberRows, folds: int, min_converters: int, *, seed: int) -> list[InnerFold]:
    """Return the folds that have enough converters to fit on; there may be none.

    With times, the rows are cut by time into ``folds + 1`` parts, and each part but the earliest is scored by a fit on
    the rows whose labels were known when it begins. If a row has no time, groups are assigned to folds at random.

    Parameters
    ----------
    rows : MemberRows
        With the details ``as_of``, ``known_at`` and ``group``.
    folds : int
        Number of folds, at least 1; without times, at least 2 are used.
    min_converters : int
        Converters that a fit needs, halved, as it has only a part of the rows.
    seed : int
        Seed of the random assignment.

    Examples
    --------
    >>> days = pd.Series(pd.date_range("2020-01-01", periods=6))
    >>> details = pd.DataFrame({"as_of": days, "known_at": days + pd.Timedelta(days=2), "group": range(6)})
    >>> rows = MemberRows(pd.DataFrame(index=range(6)), np.array([1, 0, 1, 0, 1, 0], dtype=np.int8), details)
    >>> [(fold.known.astype(int), fold.scored.astype(int)) for fold in inner_folds(rows, 1, 2, seed=0)]
    [(array([1, 1, 0, 0, 0, 0]), array([0, 0, 0, 1, 1, 1]))]
    """
    needed = min_converters / 2
    found = _by_group(rows, folds, seed) if rows.details["as_of"].isna().any() else _by_time(rows, folds)
    return [
        fold
        for fold in found
        if converters(rows.take(fold.known)) >= needed and not rows.labels[fold.known].all() and fold.scored.any()
    ]


def shuffled_groups(
    groups: NDArray[Any], labels: NDArray[Any], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Shuffle the groups, positive ones first, so that taking them in turn stratifies the folds.

    Parameters
    ----------
    groups, labels : ndarray of shape (n_rows,)
        Group and label of each row.
    seed : int

    Returns
    -------
    ranks : ndarray of int64, shape (n_groups,)
        Position of each group in the shuffled order.
    codes : ndarray of int, shape (n_rows,)
        Group of each row, as a position in ``ranks``.

    Examples
    --------
    >>> shuffled_groups(np.array(["a", "b", "b"]), np.array([0, 0, 1]), seed=0)
    (array([1, 0]), array([0, 1, 1]))
    """
    names, codes = np.unique(groups, return_inverse=True)
    positive = np.bincount(codes, weights=labels, minlength=len(names)) > 0
    order = np.random.default_rng(seed).permutation(len(names))
    order = np.concatenate([order[positive[order]], order[~positive[order]]])
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[order] = np.arange(len(names))
    return ranks, codes


def _by_time(rows: MemberRows, folds: int) -> list[InnerFold]:
    times, known_at = rows.details["as_of"], rows.details["known_at"]
    cuts = times.quantile(np.arange(1, folds + 1) / (folds + 1), interpolation="higher")
    starts: list[Any] = [cut for cut in sorted(set(cuts)) if cut > times.min()]
    edges = [*starts, times.max() + pd.Timedelta(days=1)]
    return [
        InnerFold((known_at <= start).to_numpy(), ((times >= start) & (times < end)).to_numpy(), start)
        for start, end in zip(starts, edges[1:], strict=True)
    ]


def _by_group(rows: MemberRows, folds: int, seed: int) -> list[InnerFold]:
    """Spread groups over the folds, those of converters evenly."""
    ranks, codes = shuffled_groups(rows.details["group"].to_numpy(), rows.labels, seed)
    count = max(folds, 2)
    fold_of = (ranks % count)[codes]
    return [InnerFold(fold_of != number, fold_of == number) for number in range(count)]
