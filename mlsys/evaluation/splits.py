"""Splits: assign rows to training and test."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from datetime import date  # needed at run time by pydantic
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from mlsys.data.compact import columns_of, take_rows
from mlsys.data.negatives import WholeTests
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.errors import ConfigError, DataError, Problem
from mlsys.pipeline.inner_folds import shuffled_groups
from mlsys.ranges import take_values
from mlsys.text import counted, is_or_are

Rows: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
TestNegatives: TypeAlias = Literal["auto", "same", "all"]

MORE_GROUPS = "Set data.group to a column with more groups, or to null"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Training and test rows of one fold.

    Attributes
    ----------
    number : int
        Number of the fold, from 0.
    train, test : ndarray of int64
        Positions of the rows in the panel.
    as_of : Timestamp or None
        Test as-of, or the earliest time of the test rows; None for splits that ignore time.
    partial : ndarray of int64
        Positions of the other rows that are earlier than the test rows, or, in splits that ignore time, on the side of
        the training rows: their outcomes are known in part only. Models of when the outcome comes use what is known.
    """

    number: int
    train: Rows
    test: Rows
    as_of: pd.Timestamp | None = None
    partial: Rows = dataclasses.field(default_factory=lambda: np.empty(0, dtype=np.int64))


class Split(Protocol):
    """Interface of the components in the ``split`` config group."""

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Split the rows of a panel into folds; see :class:`mlsys.data.panel.Panel` for the columns."""
        ...


@dataclass(frozen=True)
class Backtest:
    """Walk-forward backtest: test each of the latest as-ofs on earlier ones whose label windows had ended by then.

    If each row has its own time, as in a flat table, the rows are cut by time into ``folds + 1`` equal parts, and all
    but the earliest are tested.

    Parameters
    ----------
    folds : int
        Number of as-ofs to test.
    until : date or None
        Latest as-of to test.
    horizon_days : int
        Days of embargo: the label window of a training row must end by the test as-of.
    test_negatives : {"auto", "same", "all"}
        With a sample of the negatives, what is tested: see :class:`mlsys.data.negatives.WholeTests`.
    """

    folds: PositiveInt = 6
    until: date | None = None
    horizon_days: NonNegativeInt = 0
    test_negatives: TestNegatives = "auto"

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return one fold per tested as-of."""
        times = _times(frame, "backtest")
        edges = self._edges(times)
        folds = []
        for number, (start, end) in enumerate(edges):
            train, partial = _by_knowledge(frame, times, start, self.horizon_days)
            test = np.flatnonzero(((times >= start) & (times < end)).to_numpy())
            if len(train) == 0:
                raise DataError(
                    f"Fold {number} (as-of {start:%Y-%m-%d}) has no training rows: no label window of "
                    f"{counted(self.horizon_days, 'day')} of an earlier as-of ends by then. Use fewer split.folds, or "
                    "an earlier data.spine.start."
                )
            folds.append(Fold(number, train, test, start, partial))
        return folds

    def _edges(self, times: pd.Series[Any]) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
        last = pd.Timestamp(self.until) + pd.Timedelta(days=1) if self.until else times.max() + pd.Timedelta(days=1)
        as_ofs = np.sort(times[times < last].unique())
        if len(as_ofs) < 2:
            raise DataError(
                f"split=backtest needs at least two as-ofs{f' up to {self.until}' if self.until else ''}, but there "
                f"{is_or_are(len(as_ofs))} {len(as_ofs)}. Use split=group_kfold, or add as-ofs."
            )
        if self.horizon_days:
            starts = [pd.Timestamp(as_of) for as_of in as_ofs[-self.folds :]]
            return [(start, start + pd.Timedelta(microseconds=1)) for start in starts]
        before = times[times < last]
        cuts = before.quantile(np.arange(1, self.folds + 1) / (self.folds + 1), interpolation="higher")
        # If most rows share the earliest time, no cut lies after it, and only the latest time can be tested.
        starts = [pd.Timestamp(cut) for cut in sorted(set(cuts)) if cut > before.min()] or [pd.Timestamp(as_ofs[-1])]
        return list(zip(starts, [*starts[1:], last], strict=True))


@dataclass(frozen=True)
class Holdout:
    """Hold out a single test set.

    Parameters
    ----------
    test_fraction : float
        Fraction of the rows to hold out for testing.
    order : {"time", "random"}
        Whether to hold out the latest rows by time, or whole groups of rows at random.
    horizon_days : int
        Days of embargo for a split by time.
    seed : int
        Seed for a random split.
    test_negatives : {"auto", "same", "all"}
        As in `Backtest`.
    """

    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    order: Literal["time", "random"] = "time"
    horizon_days: NonNegativeInt = 0
    seed: int = 0
    test_negatives: TestNegatives = "auto"

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return the single fold."""
        if self.order == "random":
            ranks, codes = _shuffled_groups(frame, self.seed)
            _check_groups(len(ranks), 2, MORE_GROUPS)
            held_out = _held_out(ranks, self.test_fraction)[codes]
            return [_fold_without_time(frame, 0, held_out)]
        times = _times(frame, "holdout split.order=time", "split.order=random")
        start: Any = times.quantile(1 - self.test_fraction, interpolation="higher")
        train, partial = _by_knowledge(frame, times, start, self.horizon_days)
        if len(train) == 0:
            raise DataError(
                f"split=holdout has no training rows: no label window ends by {start:%Y-%m-%d}. Use a smaller "
                "split.test_fraction, or split.order=random."
            )
        return [Fold(0, train, np.flatnonzero((times >= start).to_numpy()), start, partial)]


@dataclass(frozen=True)
class GroupKFold:
    """Test every row once; groups stay together, and positive groups are spread evenly over the folds.

    Parameters
    ----------
    folds : int
        Number of folds.
    seed : int
        Seed of the shuffle.
    test_negatives : {"auto", "same", "all"}
        As in `Backtest`.
    """

    folds: Annotated[int, Field(ge=2)] = 5
    seed: int = 0
    test_negatives: TestNegatives = "auto"

    def split(self, frame: pd.DataFrame) -> list[Fold]:
        """Return the folds."""
        ranks, codes = _shuffled_groups(frame, self.seed)
        fewer = f"Use split.folds={len(ranks)} or less" if len(ranks) > 1 else MORE_GROUPS
        _check_groups(len(ranks), self.folds, fewer)
        parts = (ranks % self.folds)[codes]
        return [_fold_without_time(frame, number, parts == number) for number in range(self.folds)]


def in_sample(folds: Sequence[Fold], frame: pd.DataFrame) -> list[Fold]:
    """Return folds that learn only from the sampled rows, where all rows are tested.

    Parameters
    ----------
    folds : sequence of Fold
    frame : DataFrame
        Rows of a panel.
    """
    if SAMPLING_WEIGHT not in frame:
        return list(folds)
    is_sampled = frame[SAMPLING_WEIGHT].to_numpy() > 0
    return [
        dataclasses.replace(
            fold,
            train=fold.train[take_values(is_sampled, fold.train)],
            partial=fold.partial[take_values(is_sampled, fold.partial)],
        )
        for fold in folds
    ]


def whole_tests(split: Split, search: tuple[int, int] | None) -> WholeTests:
    """Return which as-ofs a run tests, and whether on all of their rows.

    Parameters
    ----------
    split : Split
        A class of the user's own tests the sampled rows.
    search : (int, int) or None
        As in `reported_folds`.
    """
    match split:
        case Backtest() if split.horizon_days:
            return WholeTests(split.test_negatives, split.folds if search is None else sum(search), split.until)
        case Backtest() | Holdout() | GroupKFold():
            return WholeTests(split.test_negatives)
        case _:
            return WholeTests()


def reported_folds(
    split: Split, frame: pd.DataFrame, search: tuple[int, int] | None, selection: int | None = None
) -> list[Fold]:
    """Return the folds that a run reports: all folds, or, if its model was chosen, those that the choice did not use.

    Parameters
    ----------
    split : Split
        Configured split.
    frame : DataFrame
        Rows of a panel.
    search : (int, int) or None
        Numbers of search folds and holdout folds; without holdout folds, the search folds are reported.
    selection : int or None
        Number of folds that a model was chosen on among candidates; see `selection_and_reported_folds`.
    """
    if selection is not None:
        return selection_and_reported_folds(split, frame, selection)[1]
    if search is None:
        return in_sample(split.split(frame), frame)
    searched, held_out = search_and_holdout_folds(split, frame, searched=search[0], held_out=search[1])
    return held_out or searched


def search_and_holdout_folds(
    split: Split, frame: pd.DataFrame, *, searched: int, held_out: int
) -> tuple[list[Fold], list[Fold]]:
    """Split the rows of a panel for a search: folds to evaluate trials on, and holdout folds that no trial sees.

    Parameters
    ----------
    split : Backtest or GroupKFold
        Configured split; its own number of folds is ignored.
    frame : DataFrame
        Rows of a panel.
    searched, held_out : int
        Numbers of search folds and holdout folds.

    Returns
    -------
    searched, held_out : list of Fold
        Folds of each kind, both numbered from 0. In a split by time, all holdout folds come after all search folds.

    Raises
    ------
    ConfigError
        If the split cannot have several folds.
    DataError
        If there are too few rows for that many folds.
    """
    if not isinstance(split, Backtest | GroupKFold):
        problem = Problem("split", type(split).__name__, "backtest or group_kfold: a search needs several folds")
        raise ConfigError("The search", [problem], "Nothing was run.")
    try:
        folds = dataclasses.replace(split, folds=searched + held_out).split(frame)
    except DataError as error:
        raise DataError(
            f"search.folds={searched} and search.holdout_folds={held_out} need "
            f"{counted(searched + held_out, 'fold')} in total. {error}"
        ) from error
    holdout = [dataclasses.replace(fold, number=number) for number, fold in enumerate(folds[searched:])]
    return in_sample(folds[:searched], frame), in_sample(holdout, frame)


def label_known_at(times: pd.Series[Any], horizon_days: int) -> pd.Series[Any]:
    """Return the time from which each row's label is known: when its window ends, or, without windows, just after.

    Parameters
    ----------
    times : Series of datetime64
        Missing where rows have no time.
    horizon_days : int
        Length of the label window.

    Examples
    --------
    >>> label_known_at(pd.Series([pd.Timestamp("2020-01-01")]), 30)[0]
    Timestamp('2020-01-31 00:00:00')
    """
    return times + (pd.Timedelta(days=horizon_days) if horizon_days else pd.Timedelta(microseconds=1))


def selection_and_reported_folds(split: Split, frame: pd.DataFrame, count: int) -> tuple[list[Fold], list[Fold]]:
    """Split the rows of a panel into folds to choose a model on, and folds to report.

    The choice uses only rows that are training rows of every reported fold: in a split by time, what was known at the
    first reported test; otherwise, the rows that no reported fold tests.

    Parameters
    ----------
    split : Backtest, Holdout or GroupKFold
        Configured split. As-ofs and single test sets are reported as without a choice. Otherwise, the rows are cut into
        ``count`` more parts, and the last ones are reported.
    frame : DataFrame
        Rows of a panel.
    count : int
        Number of folds to choose on.

    Returns
    -------
    selection, reported : list of Fold
        Both numbered from 0.

    Raises
    ------
    ConfigError
        If the split is another class.
    DataError
        If there are too few rows for that many folds.
    """
    inner: Backtest | GroupKFold
    try:
        match split:
            case Backtest() if split.horizon_days:
                reported, inner = split.split(frame), dataclasses.replace(split, folds=count, until=None)
            case Backtest() | GroupKFold():
                parts = dataclasses.replace(split, folds=count + split.folds).split(frame)
                latest = parts[-split.folds :]
                reported = [dataclasses.replace(fold, number=number) for number, fold in enumerate(latest)]
                inner = dataclasses.replace(split, folds=count)
            case Holdout(order="time"):
                reported, inner = split.split(frame), Backtest(count, horizon_days=split.horizon_days)
            case Holdout():
                reported, inner = split.split(frame), GroupKFold(count, split.seed)
            case _:
                problem = Problem("split", type(split).__name__, "backtest, holdout or group_kfold, with model=auto")
                raise ConfigError("The config", [problem], "Nothing was trained.")
        rows = functools.reduce(np.intersect1d, [fold.train for fold in reported])
        nested = inner.split(frame.iloc[rows])
    except DataError as error:
        raise DataError(
            f"model=auto chooses on model.folds={count} folds of rows that are not reported. {error} Or set fewer "
            "model.folds to choose on, at least 2."
        ) from error
    selection = [
        dataclasses.replace(fold, train=rows[fold.train], test=rows[fold.test], partial=rows[fold.partial])
        for fold in nested
    ]
    return in_sample(selection, frame), in_sample(reported, frame)


def split_off_latest(
    frame: pd.DataFrame, train: Rows, *, fraction: float, horizon_days: int, seed: int
) -> tuple[Mask, Mask]:
    """Split off the latest training rows as a validation set.

    Parameters
    ----------
    frame : DataFrame
        Rows of a panel.
    train : ndarray of int64, shape (n_train,)
        Positions of the training rows.
    fraction : float
        Approximate fraction of the training rows in the validation set.
    horizon_days : int
        Days of embargo between the earlier rows and the validation set.
    seed : int
        Seed for a random choice of groups, if the rows have no time.

    Returns
    -------
    early, validation : ndarray of bool, shape (n_train,)
        Mask of the rows whose labels were known when the validation set begins, and mask of the validation set. Either
        may be empty.
    """
    rows = take_rows(columns_of(frame, ("as_of", "group", "label")), train)
    times = rows["as_of"]
    if times.isna().any():
        ranks, codes = _shuffled_groups(rows, seed)
        validation = _held_out(ranks, fraction)[codes]
        return ~validation, validation
    start = times.quantile(1 - fraction, interpolation="lower")
    return _known(times, start, horizon_days), (times >= start).to_numpy()


def _known(times: pd.Series[Any], start: Any, horizon_days: int) -> Mask:  # noqa: ANN401 - a Timestamp, as pandas' stubs say
    """Return which labels are known at ``start``."""
    return np.asarray(label_known_at(times, horizon_days) <= start, dtype=np.bool_)


def _shuffled_groups(frame: pd.DataFrame, seed: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    return shuffled_groups(frame["group"].to_numpy(), frame["label"].to_numpy(), seed)


def _held_out(ranks: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
    """Return an evenly spaced fraction of the ranks, including the first, but never all of them."""
    held_out: Mask = np.ceil((ranks + 1) * fraction) > np.ceil(ranks * fraction)
    return held_out & (ranks < len(ranks) - 1) if held_out.all() else held_out


def _check_groups(groups: int, parts: int, advice: str) -> None:
    if groups < parts:
        raise DataError(f"The split needs at least {parts} groups, but there {is_or_are(groups)} {groups}. {advice}.")


def _times(frame: pd.DataFrame, split: str, alternative: str = "split=group_kfold") -> pd.Series[Any]:
    times = frame["as_of"]
    without_time = int(times.isna().sum())
    if without_time:
        raise DataError(
            f"split={split} needs a time for every row, but {without_time:,} of {counted(len(times), 'row')} "
            f"{'has' if without_time == 1 else 'have'} none. Set the time column (data.time), or use {alternative}."
        )
    return times


def _by_knowledge(frame: pd.DataFrame, times: pd.Series[Any], start: Any, horizon_days: int) -> tuple[Rows, Rows]:  # noqa: ANN401
    """Return the earlier rows whose labels are known at ``start``, and, of rows with label windows, the others."""
    known = _known(times, start, horizon_days) & frame["label_complete"].to_numpy(dtype=np.bool_)
    earlier = (times < start).to_numpy() if horizon_days else known
    return np.flatnonzero(known), np.flatnonzero(earlier & ~known)


def _fold_without_time(frame: pd.DataFrame, number: int, tested: Mask) -> Fold:
    """Return a fold that tests these rows; of the others, it trains on those with complete labels."""
    complete = frame["label_complete"].to_numpy(dtype=np.bool_)
    train, partial = np.flatnonzero(~tested & complete), np.flatnonzero(~tested & ~complete)
    return Fold(number, train, np.flatnonzero(tested), None, partial)
