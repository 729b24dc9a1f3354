"""Stages of a run: how long they take, how much memory they need, and how far they are."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from mlsys.memory import peak_memory_mb, release_memory, reset_peak_memory

DELAY = 2.0  # seconds before a stage is shown
EVERY = 30.0  # seconds between two lines in a log

logger = logging.getLogger(__name__)


class Stopwatch:
    """Measures how long named stages take, and the peak memory of the process during each.

    Examples
    --------
    >>> clock = Stopwatch()
    >>> with clock("fit"):
    ...     pass
    >>> list(clock.seconds), list(clock.peak_mb)
    (['fit', 'total'], ['fit', 'total'])
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._peaks: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure a stage."""
        reset_peak_memory()
        start = time.perf_counter()
        try:
            with progress(stage):
                yield
        finally:
            self._seconds[stage] = time.perf_counter() - start
            self._peaks[stage] = peak_memory_mb()
            release_memory()
            log_to_files(f"{stage}: {self._seconds[stage]:,.1f} s, peak memory {self._peaks[stage]:,.0f} MB")

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per stage, and in total since the stopwatch was created."""
        rounded = {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}
        return {**rounded, "total": round(time.perf_counter() - self._start, 3)}

    @property
    def peak_mb(self) -> dict[str, int]:
        """Peak memory of the process in MB during each stage, and the highest of these."""
        rounded = {stage: round(peak) for stage, peak in self._peaks.items()}
        return {**rounded, "total": max(rounded.values(), default=round(peak_memory_mb()))}


def log_to_files(message: str) -> None:
    """Write a line to the log files only, not to the terminal."""
    record = logging.LogRecord(__name__, logging.INFO, __file__, 0, message, None, None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


class Display(Protocol):
    """Shows how far a stage is."""

    def show(self, name: str, unit: str, done: int, total: int | None) -> None:
        """Show the stage, whose total is None if it is unknown."""
        ...

    def hide(self) -> None:
        """Show nothing, as the stage has ended."""
        ...


@dataclass
class _Stage:
    """A stage that is running."""

    name: str
    unit: str
    total: int | None
    start: float
    done: int = 0

    def text(self, now: float) -> str:
        """Return how far the stage is, and when it will be done if that can be said."""
        seconds = now - self.start
        if self.total is None:
            return f"{self.name}: running for {_duration(seconds)}"
        far = f"{self.name}: {self.done} of {self.total} {self.unit} after {_duration(seconds)}"
        if not self.done:
            return far
        return f"{far}, about {_duration(seconds / self.done * (self.total - self.done))} left"


class StageProgress:
    """Shows the innermost stage that is running: on a terminal as a bar, in the log as a line every half minute.

    Parameters
    ----------
    display : Display or None
        The terminal; None if there is none.
    """

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self._stages: list[_Stage] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show progress until the block ends."""
        token = _current.set(self)
        self._thread.start()
        try:
            yield
        finally:
            _current.reset(token)
            self._ended.set()
            self._thread.join()

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Callable[[], None]]:
        """Run a stage; yield a function to call after each of its steps, from any thread."""
        stage = _Stage(name, unit, total, time.monotonic())

        def advance() -> None:
            with self._lock:
                stage.done += 1

        with self._lock:
            self._stages.append(stage)
        try:
            yield advance
        finally:
            with self._lock:
                self._stages.remove(stage)

    def _run(self) -> None:
        logged = time.monotonic()
        while not self._ended.wait(0.2 if self._display else 1.0):
            now = time.monotonic()
            with self._lock:
                stage = self._stages[-1] if self._stages else None
                shown = stage is not None and now - self._stages[0].start >= DELAY
                if self._display is not None:
                    if stage is not None and shown:
                        self._display.show(stage.name, stage.unit, stage.done, stage.total)
                    else:
                        self._display.hide()
            if stage is not None and now - logged >= EVERY and now - stage.start >= DELAY:
                logged = now
                log = log_to_files if self._display is not None else logger.info
                log(stage.text(now))
        if self._display is not None:
            self._display.hide()


_current: ContextVar[StageProgress | None] = ContextVar("progress", default=None)


@contextmanager
def progress(name: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[], None]]:
    """Run a stage of whatever shows progress; yield a function to call after each of its steps, from any thread.

    Parameters
    ----------
    name : str
        What is done, such as "folds".
    total : int, optional
        Number of steps, if it is known.
    unit : str
        Plural noun of the steps.

    Examples
    --------
    >>> with progress("fit", total=2, unit="folds") as advance:
    ...     advance()
    """
    current = _current.get()
    if current is None:
        yield lambda: None
        return
    with current.stage(name, total, unit) as advance:
        yield advance


def _duration(seconds: float) -> str:
    """Return a duration with its two largest units.

    Examples
    --------
    >>> _duration(7.2), _duration(125), _duration(7300)
    ('7 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
