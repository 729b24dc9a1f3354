"""Process of one tracker, separate from training so that a tracker can neither delay nor end a run.

The training process sends a message when a run starts and when it ends, and gets a receipt for each end. When training
dies, the pipe breaks, and the current run is finished as killed.
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

GRACE_SECONDS = 5.0  # for the training process to stop this one, before the alarm does
NICENESS = 5  # training comes first if there are few cores


@dataclass(frozen=True)
class Message:
    """Message of the training process about a run directory."""

    kind: Literal["start", "finish"]
    folder: Path


class TrackingProcess:
    """Log runs to the tracker as messages arrive."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._run: TrackedRun | None = None
        self._error = ""

    def start(self, folder: Path) -> None:
        """Start a run; after one failure no further start is attempted, because each could take the full timeout."""
        self._run = None
        if self._error:
            return
        try:
            with time_limit(self._tracker.start_timeout):
                self._run = log_run.start_run(self._tracker, folder)
        except Exception as error:  # noqa: BLE001 - a tracker may raise anything; reported when the run ends
            self._error = error_line(error)

    def finish(self, folder: Path) -> Receipt:
        """Finish the current run and return its receipt."""
        run, self._run = self._run, None
        if run is None:
            return Receipt("failed", reason=self._error)
        try:
            with time_limit(self._tracker.finish_timeout):
                return log_run.finish_run(run, folder)
        except Exception as error:  # noqa: BLE001 - as above
            return Receipt("failed", reason=error_line(error))

    def abort(self) -> None:
        """Finish the current run as killed, because its process died."""
        if self._run is not None:
            with time_limit(self._tracker.finish_timeout):
                log_run.finish_killed(self._run)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Kill this process with SIGALRM if it takes longer, wherever it is stuck."""
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def error_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    text = next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), "")
    return text if isinstance(error, MlsysError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def serve(connection: Connection) -> None:
    """Serve the training process until it exits."""
    process = TrackingProcess(connection.recv())
    while True:
        try:
            message: Message = connection.recv()
        except (EOFError, OSError):
            process.abort()
            return
        if message.kind == "start":
            process.start(message.folder)
        else:
            receipt = process.finish(message.folder)
            try:
                connection.send(receipt)
            except OSError:  # training died after the run was complete
                return


if __name__ == "__main__":
    os.nice(NICENESS)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    serve(Connection(int(sys.argv[1])))
    os._exit(0)  # do not wait for threads that libraries left running
