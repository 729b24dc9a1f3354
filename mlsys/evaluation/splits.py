"""Splits: how training and test rows are told apart."""

from __future__ import annotations

import dataclasses
from datetime import date  # pydantic reads the annotation when it runs
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from mlsys.errors import ConfigError, DataError, Problem

Rows: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
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


@dataclass(frozen=True)
class Backtest:
    """Walk forward: predict each of the latest as-ofs from earlier ones whose label windows had ended by then.

    Where every row has a time of its own, as in a flat table, the latest ``folds`` of ``folds + 1`` equal parts by
    time are tested.

    Parameters
    ----------
    folds : int
        How many as-ofs are tested.
    until : date or None
        The last as-of that may be tested.
    horizon_days : int
        The embargo: a training row's label window must end by the test as-of.
    """

    folds: PositiveInt = 6
    until: date | None = None
    horizon_days: NonNegativeInt = 0

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return one fold per tested as-of."""
        times = _times(frame, "backtest")
        edges = self._edges(times)
        folds = []
        for number, (start, end) in enumerate(edges):
            train = _complete(frame, np.flatnonzero(_known(times, start, self.horizon_days)))
            test = np.flatnonzero(((times >= start) & (times < end)).to_numpy())
            if len(train) == 0:
                raise DataError(
                    f"Fold {number} (as-of {start:%Y-%m-%d}) has no training row: none of the earlier as-ofs' "
                    f"label windows of {self.horizon_days} days ends by then. Use fewer split.folds, or an earlier "
                    "data.spine.start."
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
        # Where most rows share the first moment, no cut lies after it: then only the last moment can be tested.
        starts = [pd.Timestamp(cut) for cut in sorted(set(cuts)) if cut > before.min()] or [pd.Timestamp(moments[-1])]
        return list(zip(starts, [*starts[1:], last], strict=True))


@dataclass(frozen=True)
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

    share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    order: Literal["time", "random"] = "time"
    horizon_days: NonNegativeInt = 0
    seed: int = 0

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return the one fold."""
        if self.order == "random":
            places, codes = _shuffled_groups(frame, self.seed)
            _check_groups(len(places), 2, "data.group to name a column with more groups, or none")
            held_out = _held_out(places, self.share)[codes]
            return [Fold(0, _complete(frame, np.flatnonzero(~held_out)), np.flatnonzero(held_out))]
        times = _times(frame, "holdout split.order=time", "split.order=random")
        start: Any = times.quantile(1 - self.share, interpolation="higher")
        known = _known(times, start, self.horizon_days)
        train = _complete(frame, np.flatnonzero(known))
        if len(train) == 0:
            raise DataError(
                f"split=holdout: no training row's label window ends by {start:%Y-%m-%d}. Use a smaller split.share, "
                "or split.order=random."
            )
        return [Fold(0, train, np.flatnonzero((times >= start).to_numpy()), start)]


@dataclass(frozen=True)
class GroupKFold:
    """Every row is tested once; rows of one group stay together, and each fold gets its share of positive rows.

    Parameters
    ----------
    folds : int
        How many parts.
    seed : int
        Of the shuffle.
    """

    folds: Annotated[int, Field(ge=2)] = 5
    seed: int = 0

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return one fold per part."""
        places, codes = _shuffled_groups(frame, self.seed)
        _check_groups(len(places), self.folds, f"split.folds={max(len(places), 2)} at most")
        parts = (places % self.folds)[codes]
        return [
            Fold(number, _complete(frame, np.flatnonzero(parts != number)), np.flatnonzero(parts == number))
            for number in range(self.folds)
        ]


def reported_folds(split: Split, frame: pd.DataFrame, search: tuple[int, int] | None) -> list[Fold]:
    """Return the folds that a run reports: all of the split, or those that the search which chose it did not see.

    Parameters
    ----------
    split : Split
    frame : DataFrame
        A panel's rows.
    search : (int, int) or None
        How many folds the search saw, and how many it did not; where those are none, the former are all there is.
    """
    if search is None:
        return split.split(frame)
    seen, unseen = search_and_holdout_folds(split, frame, searched=search[0], held_out=search[1])
    return unseen or seen


def search_and_holdout_folds(
    split: Split, frame: pd.DataFrame, *, searched: int, held_out: int
) -> tuple[list[Fold], list[Fold]]:
    """Part a panel's rows for a search: folds that its trials are judged on, and later ones that no trial sees.

    Parameters
    ----------
    split : Backtest or GroupKFold
        Its own number of folds gives way to the two below.
    frame : DataFrame
        A panel's rows.
    searched, held_out : int
        How many folds of each kind.

    Returns
    -------
    searched, held_out : list of Fold
        Each numbered from 0. By time, every held-out fold comes after every searched one.

    Raises
    ------
    ConfigError
        Where the split has one fold only.
    DataError
        Where the rows do not suffice for so many folds.
    """
    if not isinstance(split, Backtest | GroupKFold):
        problem = Problem("split", type(split).__name__, "backtest or group_kfold: a search needs several folds")
        raise ConfigError("The search", [problem], "Nothing was run.")
    try:
        folds = dataclasses.replace(split, folds=searched + held_out).split(frame)
    except DataError as error:
        few = f"The search wants search.folds={searched} and search.holdout_folds={held_out}"
        raise DataError(f"{few}, {searched + held_out} folds together. {error}") from error
    late = [dataclasses.replace(fold, number=number) for number, fold in enumerate(folds[searched:])]
    return folds[:searched], late


def split_off_latest(
    frame: pd.DataFrame, train: Rows, *, share: float, horizon_days: int, seed: int
) -> tuple[Mask, Mask]:
    """Part training rows into earlier and latest ones.

    Parameters
    ----------
    frame : DataFrame
        A panel's rows.
    train : ndarray of int64, shape (n_train,)
        Positions of the training rows.
    share : float
        Of the training rows, about how many are the latest.
    horizon_days : int
        The embargo between the two.
    seed : int
        Where the rows have no time: then groups are parted at random.

    Returns
    -------
    early, validation : ndarray of bool, shape (n_train,)
        Rows whose labels were known when the validation rows begin, and the validation rows. Either may be all False.
    """
    rows = frame.iloc[train]
    times = rows["as_of"]
    if times.isna().any():
        places, codes = _shuffled_groups(rows, seed)
        validation = _held_out(places, share)[codes]
        return ~validation, validation
    start = times.quantile(1 - share, interpolation="lower")
    return _known(times, start, horizon_days), (times >= start).to_numpy()


def _known(times: pd.Series[Any], start: Any, horizon_days: int) -> Mask:  # noqa: ANN401 - a Timestamp, as pandas' stubs say
    """Tell which rows' labels were known at a moment: their window had ended; without one, the rows before it."""
    known = times + pd.Timedelta(days=horizon_days) <= start if horizon_days else times < start
    return np.asarray(known, dtype=np.bool_)


def _shuffled_groups(frame: pd.DataFrame, seed: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Shuffle the groups, those with positive rows first, so that dealing them in turn gives each part its share.

    Returns
    -------
    places : ndarray of int64, shape (n_groups,)
        Each group's place in the order.
    codes : ndarray of int, shape (n_rows,)
        Each row's group.
    """
    groups, codes = np.unique(frame["group"].to_numpy(), return_inverse=True)
    positive = np.bincount(codes, weights=frame["label"].to_numpy(), minlength=len(groups)) > 0
    order = np.random.default_rng(seed).permutation(len(groups))
    order = np.concatenate([order[positive[order]], order[~positive[order]]])
    places = np.empty(len(groups), dtype=np.int64)
    places[order] = np.arange(len(groups))
    return places, codes


def _held_out(places: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Deal a share of the places out, evenly along the order, the first one included but never all."""
    taken: Mask = np.ceil((places + 1) * share) > np.ceil(places * share)
    return taken & (places < len(places) - 1) if taken.all() else taken


def _check_groups(groups: int, parts: int, advice: str) -> None:
    if groups < parts:
        few = f"{groups} group{'s' if groups != 1 else ''}"
        raise DataError(f"The split wants {parts} parts, but the rows form only {few}. Use {advice}.")


def _times(frame: pd.DataFrame, split: str, otherwise: str = "split=group_kfold") -> pd.Series[Any]:
    times = frame["as_of"]
    if times.isna().any():
        raise DataError(
            f"split={split} needs a time for each row; {int(times.isna().sum())} of {len(times)} rows have none. "
            f"Name the time column (data.time), or use {otherwise}."
        )
    return times


def _complete(frame: pd.DataFrame, rows: Rows) -> Rows:
    known: Rows = rows[frame["label_complete"].to_numpy()[rows]]
    return known
