"""Interface of a tracker, which shows a run's numbers and files; the run directory stays the record."""

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
    """What a tracker needs to know when a run starts.

    Attributes
    ----------
    id : str
        Unique id; the same each time the run is sent.
    name : str
        Display name: the end of the run directory's path.
    folder : Path
        Run directory.
    group : str or None
        Name of the sweep directory.
    sweep : Path or None
        Path of the sweep directory; None outside a sweep.
    job_type : {"train", "trial", "refit"}
    trial : int or None
        Trial number.
    tags : sequence of str
    commit : str or None
        Git commit of the working folder.
    dirty : bool or None
        Whether the working folder had uncommitted changes.
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
    """Result of sending a run to a tracker.

    Attributes
    ----------
    state : {"online", "offline", "failed"}
        "online" if it was sent in full, "offline" if it was written to local files, "failed" otherwise.
    where : str
        Address or folder; "" if there is none.
    reason : str
        Why the run is not online; "" if it is.
    advice : str
        Commands that bring it online; "" means `mlsys track`.
    """

    state: Literal["online", "offline", "failed"]
    where: str = ""
    reason: str = ""
    advice: str = ""


class TrackedRun(Protocol):
    """One run in a tracker, from start to finish. Any method may raise; the run itself is not affected."""

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Log the resolved config, nested."""
        ...

    def log_labels(self, labels: Mapping[str, str]) -> None:
        """Log labels to filter by, such as the run's status and the audit's."""
        ...

    def log_metrics(self, overall: Mapping[str, float], folds: Sequence[Mapping[str, Any]]) -> None:
        """Log numbers.

        Parameters
        ----------
        overall : mapping
            Numbers by name; bounds of intervals are ``NAME/low`` and ``NAME/high``, and the first objective is also
            logged as ``objective``.
        folds : sequence of mapping
            For each fold ``fold`` (from 0), ``as_of`` (ISO date or None) and numbers by name.
        """
        ...

    def log_figures(self, figures: Mapping[str, Path]) -> None:
        """Log PNG files by name."""
        ...

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Log small tables by name."""
        ...

    def log_curves(self, curves: Mapping[str, pd.DataFrame]) -> None:
        """Log line plots by name; the first column of each table is x, the second y."""
        ...

    def log_files(self, folder: Path, names: Sequence[str]) -> None:
        """Log files of the run directory; names are relative to it."""
        ...

    def finish(self, status: Ending) -> Receipt:
        """Finish the run."""
        ...


class Tracker(Protocol):
    """Settings of a tracker, as a frozen dataclass that can be pickled.

    It works in a process of its own (see `mlsys.tracking.client`), so it may block or crash.

    Attributes
    ----------
    name : str
        Name in messages and in ``mlsys track --to``.
    start_timeout, finish_timeout : float
        Seconds allowed to start a run, in parallel with training, and to finish it, after training.
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

    def start(self, data: RunData) -> TrackedRun:
        """Start a run; a run with the same id is updated."""
        ...


@dataclass(frozen=True)
class MultiTracker:
    """Several independent trackers; if one fails, the others continue.

    Parameters
    ----------
    **members : Tracker
        Trackers under any names.
    """

    members: tuple[Tracker, ...]

    def __init__(self, **members: Tracker) -> None:
        object.__setattr__(self, "members", tuple(members.values()))


class NoTracker(MultiTracker):
    """No tracking."""

    def __init__(self) -> None:
        super().__init__()


def members(tracker: Tracker | MultiTracker) -> tuple[Tracker, ...]:
    """Return the trackers of a config."""
    return tracker.members if isinstance(tracker, MultiTracker) else (tracker,)
