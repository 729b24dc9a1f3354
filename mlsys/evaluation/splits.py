"""Splits: how training and test rows are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as checked

from mlsys.errors import DataError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row positions of one fold.

    Attributes
    ----------
    number : int
        From 0.
    train, test : ndarray of int64
        Positions in the panel.
    as_of : Timestamp or None
        The test as-of, or the first moment of the test rows; None for splits that are blind to time.
    """

    number: int
    train: Rows
    test: Rows
    as_of: pd.Timestamp | None = None


class Split(Protocol):
    """What the ``split`` group gives."""

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Part a panel's rows; see :class:`mlsys.data.panel.Panel` for its columns."""
        ...


@checked(frozen=True)
class Backtest:
    """Walk forward: predict each of the latest as-ofs from earlier ones whose label windows had ended by then.

    Where every row has a time of its own, as in a flat table, the latest ``folds`` of ``folds + 1`` equal parts by time are tested.

    Parameters
    ----------
    folds : int
        How many as-ofs are tested.
    until : str or None
        ISO date of the last as-of that may be tested.
    horizon_days : int
        The embargo: a training row's label window must end by the test as-of.
    """

    folds: int = 6
    until: str | None = None
    horizon_days: int = 0

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return one fold per tested as-of."""
        times = _times(frame, "backtest")
        edges = self._edges(times)
        embargo = pd.Timedelta(days=self.horizon_days)
        complete = frame["label_complete"].to_numpy()
        folds = []
        for number, (start, end) in enumerate(edges):
            known = (times + embargo <= start) if self.horizon_days else (times < start)
            train = np.flatnonzero(known.to_numpy() & complete)
            test = np.flatnonzero(((times >= start) & (times < end)).to_numpy())
            if len(train) == 0:
                raise DataError(
                    f"Fold {number} (as-of {start:%Y-%m-%d}) has no training row: none of the earlier as-ofs' label windows of "
                    f"{self.horizon_days} days ends by then. Use fewer split.folds, or an earlier data.spine.start."
                )
            folds.append(Fold(number, train, test, start))
        return folds

    def _edges(self, times: pd.Series[Any]) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
        last = pd.Timestamp(self.until) + pd.Timedelta(days=1) if self.until else times.max() + pd.Timedelta(days=1)
        moments = np.sort(times[times < last].unique())
        if len(moments) < 2:
            raise DataError(
                f"split=backtest needs at least two as-ofs{f' up to {self.until}' if self.until else ''}, there "
                f"{'is' if len(moments) == 1 else 'are'} {len(moments)}. Use split=group_kfold, or more as-ofs."
            )
        if self.horizon_days:
            starts = [pd.Timestamp(moment) for moment in moments[-self.folds :]]
            return [(start, start + pd.Timedelta(microseconds=1)) for start in starts]
        before = times[times < last]
        cuts = before.quantile(np.arange(1, self.folds + 1) / (self.folds + 1), interpolation="higher")
        starts = [pd.Timestamp(cut) for cut in sorted(set(cuts)) if cut > before.min()]
        return list(zip(starts, [*starts[1:], last], strict=True))


@checked(frozen=True)
class Holdout:
    """One held-out part.

    Parameters
    ----------
    share : float
        Of the rows.
    order : {"time", "random"}
        The latest rows by time, or rows drawn at random, whole groups at once.
    horizon_days : int
        The embargo of a split by time.
    seed : int
        Of a random split.
    """

    share: float = 0.25
    order: Literal["time", "random"] = "time"
    horizon_days: int = 0
    seed: int = 0

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return the one fold."""
        if self.order == "random":
            parts = _parts(frame, max(round(1 / self.share), 2), self.seed)
            return [Fold(0, _complete(frame, np.flatnonzero(parts != 0)), np.flatnonzero(parts == 0))]
        times = _times(frame, "holdout split.order=time")
        start = pd.Timestamp(times.quantile(1 - self.share, interpolation="higher"))
        known = times + pd.Timedelta(days=self.horizon_days) <= start if self.horizon_days else times < start
        train = _complete(frame, np.flatnonzero(known.to_numpy()))
        if len(train) == 0:
            raise DataError(
                f"split=holdout: no training row's label window ends by {start:%Y-%m-%d}. Use a smaller split.share or order=random."
            )
        return [Fold(0, train, np.flatnonzero((times >= start).to_numpy()), start)]


@checked(frozen=True)
class GroupKFold:
    """Every row is tested once; rows of one group stay together, and each fold gets its share of positive rows.

    Parameters
    ----------
    folds : int
        How many parts.
    seed : int
        Of the shuffle.
    """

    folds: int = 5
    seed: int = 0

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return one fold per part."""
        parts = _parts(frame, self.folds, self.seed)
        return [
            Fold(number, _complete(frame, np.flatnonzero(parts != number)), np.flatnonzero(parts == number))
            for number in range(self.folds)
        ]


def latest(frame: pd.DataFrame, train: Rows, *, share: float, horizon_days: int, seed: int) -> tuple[Any, Any]:
    """Part training rows into earlier and latest ones.

    Returns
    -------
    early, validation : ndarray of bool, shape (n_train,), or None
        Rows whose labels were known when the validation rows begin, and the validation rows. By groups at random where the
        rows have no time.
    """
    rows = frame.iloc[train]
    if rows["as_of"].isna().any():
        parts = _parts(rows.reset_index(drop=True), max(round(1 / share), 2), seed)
        return parts != 0, parts == 0
    times = rows["as_of"]
    start = times.quantile(1 - share, interpolation="lower")
    early = (times + pd.Timedelta(days=horizon_days) <= start) if horizon_days else times < start
    return early.to_numpy(), (times >= start).to_numpy()


def _parts(frame: pd.DataFrame, count: int, seed: int) -> NDArray[np.int64]:
    """Deal groups to parts: shuffled, those with positive rows first, so that each part gets its share."""
    groups, codes = np.unique(frame["group"].to_numpy(), return_inverse=True)
    if len(groups) < count:
        raise DataError(
            f"The split wants {count} parts, but the rows form only {len(groups)} groups. Use fewer split.folds."
        )
    positive = np.bincount(codes, weights=frame["label"].to_numpy(), minlength=len(groups)) > 0
    order = np.random.default_rng(seed).permutation(len(groups))
    order = np.concatenate([order[positive[order]], order[~positive[order]]])
    part = np.empty(len(groups), dtype=np.int64)
    part[order] = np.arange(len(groups)) % count
    return part[codes]


def _times(frame: pd.DataFrame, split: str) -> pd.Series[Any]:
    times = frame["as_of"]
    if times.isna().any():
        raise DataError(
            f"split={split} needs a time for each row; {int(times.isna().sum())} of {len(times)} rows have none. "
            "Name the time column (data.time), or use split=group_kfold."
        )
    return times


def _complete(frame: pd.DataFrame, rows: Rows) -> Rows:
    return rows[frame["label_complete"].to_numpy()[rows]]
