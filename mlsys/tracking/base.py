"""What a tracker is: where a run's numbers and files are shown beside its run directory, which stays the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mlsys.runs.manifest import Status

if TYPE_CHECKING:
    import pandas as pd

JobType = Literal["train", "trial", "refit"]
Ending = Status | Literal["killed"]  # a run that left no manifest was killed


@dataclass(frozen=True)
class RunData:
    """What is known of a run when it starts.

    Attributes
    ----------
    id : str
        Tells this run from all others; the same for whoever sends it again.
    name : str
        For people: the end of its path.
    folder : Path
        The run directory.
    group : str or None
        Name of the sweep directory that it lies in.
    sweep : Path or None
        That directory.
    job_type : {"train", "trial", "refit"}
    trial : int or None
        Number of the trial.
    tags : sequence of str
    commit : str or None
        Git commit of the working folder.
    dirty : bool or None
        Whether files differed from that commit.
    """

    id: str
    name: str
    folder: Path
    group: str | None
    sweep: Path | None
    job_type: JobType
    trial: int | None
    tags: Sequence[str]
    commit: str | None
    dirty: bool | None


@dataclass(frozen=True)
class Receipt:
    """What became of a run in a tracker.

    Attributes
    ----------
    state : {"online", "offline", "failed"}
        Shown to others; only written to this disk; or neither, or not all of it.
    where : str
        An address or a folder; "" if there is none.
    reason : str
        Why it is not online, for people; "" if it is.
    advice : str
        Commands that bring it online; "" leaves it to `mlsys track`.
    """

    state: Literal["online", "offline", "failed"]
    where: str = ""
    reason: str = ""
    advice: str = ""


class TrackedRun(Protocol):
    """One run in a tracker, from its start to its end. Any method may raise: the run itself is never touched."""

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Take the resolved config, nested."""
        ...

    def log_labels(self, labels: Mapping[str, str]) -> None:
        """Take words to filter by: how the run ended, what the audit said, …."""
        ...

    def log_metrics(self, overall: Mapping[str, float], folds: Sequence[Mapping[str, Any]]) -> None:
        """Take numbers.

        Parameters
        ----------
        overall : mapping
            By name; bounds of intervals are ``NAME/low`` and ``NAME/high``, the first objective is ``objective``.
        folds : sequence of mapping
            ``fold`` (from 0), ``as_of`` (ISO date or None), and each fold's numbers by name.
        """
        ...

    def log_figures(self, figures: Mapping[str, Path]) -> None:
        """Take PNG files by name."""
        ...

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Take small tables by name."""
        ...

    def log_curves(self, curves: Mapping[str, pd.DataFrame]) -> None:
        """Take lines to be drawn, by name: the first column over x, the second over y."""
        ...

    def log_files(self, folder: Path, names: Sequence[str]) -> None:
        """Take files of the run directory, by their names in it."""
        ...

    def finish(self, status: Ending) -> Receipt:
        """End."""
        ...


class Tracker(Protocol):
    """A place where runs are shown; a frozen dataclass of settings, which can be pickled.

    It is used in a process of its own (see `mlsys.tracking.client`), so it may block, crash or take its time.

    Attributes
    ----------
    name : str
        One word, for messages and for ``mlsys track --to``.
    start_timeout, finish_timeout : float
        Seconds that it is given to begin, beside the run, and to end, after it.
    """

    @property
    def name(self) -> str:  # noqa: D102
        ...

    @property
    def start_timeout(self) -> float:  # noqa: D102
        ...

    @property
    def finish_timeout(self) -> float:  # noqa: D102
        ...

    def start(self, facts: RunData) -> TrackedRun:
        """Begin with a run; the same id again takes the place of what was sent before."""
        ...


@dataclass(frozen=True)
class MultiTracker:
    """Several trackers, each on its own: one that fails costs the others nothing.

    Parameters
    ----------
    **members : Tracker
        By any name.
    """

    members: tuple[Tracker, ...]

    def __init__(self, **members: Tracker) -> None:
        object.__setattr__(self, "members", tuple(members.values()))


class NoTracker(MultiTracker):
    """Tracks nothing."""

    def __init__(self) -> None:
        super().__init__()


def members(tracker: Tracker | MultiTracker) -> tuple[Tracker, ...]:
    """Return the trackers that one config stands for."""
    return tracker.members if isinstance(tracker, MultiTracker) else (tracker,)
