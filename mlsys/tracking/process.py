"""The process in which one tracker works, so that nothing that it does can hold up or end a run.

The training process writes two kinds of messages, a run's start and its end, and gets a receipt for each end. When it
dies, the pipe breaks: a run that is then under way was killed, and is shown as such.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from mlsys.errors import MlsysError
from mlsys.tracking import log_run
from mlsys.tracking.base import Receipt, TrackedRun, Tracker

logger = logging.getLogger(__name__)

SPARE = 5.0  # seconds that the training process is given to stop this one before the system does
NICE = 5  # training comes first where cores are few


@dataclass(frozen=True)
class Message:
    """What the training process says of a run directory."""

    kind: Literal["start", "finish"]
    folder: Path


class TrackingProcess:
    """Feeds the tracker as messages come in."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._run: TrackedRun | None = None
        self._trouble = ""

    def start(self, folder: Path) -> None:
        """Begin with a run; where that failed once it is not tried again, which would take its time every time."""
        self._run = None
        if self._trouble:
            return
        try:
            with bounded(self._tracker.start_timeout):
                self._run = log_run.begin(self._tracker, folder)
        except Exception as error:  # noqa: BLE001 - a tracker may raise anything; it is said at the run's end
            self._trouble = reason(error)

    def finish(self, folder: Path) -> Receipt:
        """End it; return what became of it."""
        run, self._run = self._run, None
        if run is None:
            return Receipt("failed", reason=self._trouble)
        try:
            with bounded(self._tracker.finish_timeout):
                return log_run.complete(run, folder)
        except Exception as error:  # noqa: BLE001 - as above
            return Receipt("failed", reason=reason(error))

    def leave(self) -> None:
        """End the run under way, whose process is dead."""
        if self._run is not None:
            with bounded(self._tracker.finish_timeout):
                log_run.killed(self._run)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Let the system end this process if it takes longer: SIGALRM reaches it wherever it is stuck."""
    signal.setitimer(signal.ITIMER_REAL, seconds + SPARE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def reason(error: Exception) -> str:
    """Return what an error says, in one line."""
    text = next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), "")
    return text if isinstance(error, MlsysError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def serve(connection: Connection) -> None:
    """Answer the training process until it is gone."""
    desk = TrackingProcess(connection.recv())
    while True:
        try:
            message: Message = connection.recv()
        except (EOFError, OSError):
            desk.leave()
            return
        if message.kind == "start":
            desk.start(message.folder)
        else:
            receipt = desk.finish(message.folder)
            try:
                connection.send(receipt)
            except OSError:  # it died while the last words of a whole run were sent
                return


if __name__ == "__main__":
    os.nice(NICE)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    serve(Connection(int(sys.argv[1])))
    os._exit(0)  # whatever a library left running has had its time
