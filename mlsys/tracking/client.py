"""Tracking as seen from the training process: it reports when a run starts and ends, and waits for a limited time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from typing import IO

from mlsys.launch import NO_TRACKING
from mlsys.tracking import messages
from mlsys.tracking.base import MultiTracker, Receipt, Tracker, members
from mlsys.tracking.process import Message
from mlsys.tracking.receipts import new_id, write_receipt
from mlsys.tracking.run_data import sweep_of

CLOSE_TIMEOUT = 2.0


class TrackingClient:
    """Client of one tracker's process.

    The end of a run is sent without waiting. The client waits for the receipt before the next run starts and before
    this process exits, but never longer than ``finish_timeout`` seconds after the run ended; after that it kills the
    tracker's process and tracks no further runs.

    Parameters
    ----------
    tracker : Tracker
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._ended: tuple[Path, float] | None = None
        self._failure = ""  # reason why tracking stopped

    def start(self, folder: Path) -> None:
        """Report the start of a run; flush the previous run first."""
        self._send(Message("start", folder))

    def finish(self, folder: Path) -> None:
        """Report the end of a run, successful or not."""
        self._send(Message("finish", folder))
        self._ended = (folder, time.monotonic())

    def flush(self) -> tuple[Path, Receipt] | None:
        """Wait for the receipt of the run that ended, if any; save it in the run directory and return both."""
        if self._ended is None:
            return None
        (folder, since), self._ended = self._ended, None
        receipt = Receipt("failed", reason=self._failure) if self._failure else self._await(since)
        write_receipt(folder, self.tracker.name, receipt)
        return folder, receipt

    def close(self) -> None:
        """End the tracker's process; flush first."""
        if self._connection is not None:
            self._connection.close()  # the process exits when its pipe closes
            self._connection = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_TIMEOUT)
            self._kill(self._process)
        self._output.close()

    def _await(self, since: float) -> Receipt:
        assert self._connection is not None
        left = max(since + self.tracker.finish_timeout - time.monotonic(), 0.0)
        try:
            if self._connection.poll(left):
                receipt: Receipt = self._connection.recv()
                return receipt
            self._fail(f"no answer within {self.tracker.finish_timeout:g} s")
        except (EOFError, OSError):
            self._fail(self._exit_reason())
        except KeyboardInterrupt:  # the user need not wait for the upload
            self._fail("interrupted")
        return Receipt("failed", reason=self._failure)

    def _send(self, message: Message) -> None:
        if self._failure:
            return
        try:
            if self._connection is None:
                self._connection = self._launch()
            self._connection.send(message)  # small enough for the pipe's buffer, so that it does not block
        except OSError as error:  # the process could not be started, or has died since
            started = self._process is not None
            self._fail(self._exit_reason() if started else f"{error.strerror or error}{self._last_line()}")

    def _launch(self) -> Connection:
        parent, child = Pipe()
        with child:
            os.set_inheritable(child.fileno(), True)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlsys.tracking.process", str(child.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
                pass_fds=[child.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,  # Ctrl-C goes to training only, which then reports how the run ended
            )
        parent.send(self.tracker)
        return parent

    def _fail(self, reason: str) -> None:
        self._failure = reason
        if self._process is not None:
            self._kill(self._process)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _exit_reason(self) -> str:
        assert self._process is not None
        if self._process.wait() == -signal.SIGALRM:  # see `mlsys.tracking.process.time_limit`
            return f"no answer within {self.tracker.start_timeout:g} s"
        return f"the tracker's process died{self._last_line()}"

    def _last_line(self) -> str:
        self._output.seek(0)
        lines = [line for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1].strip()}" if lines else ""


_clients: dict[Tracker, TrackingClient] = {}  # one per tracker, shared by all runs of this process


@contextmanager
def tracked(tracker: Tracker | MultiTracker, folder: Path) -> Iterator[None]:
    """Track a run, however it ends; a tracker that fails, hangs or is unreachable does not affect the run.

    Parameters
    ----------
    tracker : Tracker or MultiTracker
    folder : Path
        Run directory. It must hold the config when the context is entered, and all other files when it exits.
    """
    clients = [] if os.environ.get(NO_TRACKING) else [_client(each) for each in members(tracker)]
    if clients:
        new_id(folder)
    for client in clients:
        _flush(client)
        client.start(folder)
    try:
        yield
    finally:
        for client in clients:
            client.finish(folder)


def flush() -> None:
    """Wait, for a limited time, until the runs of this process were sent, and report the result."""
    for client in _clients.values():
        _flush(client)


def _flush(client: TrackingClient) -> None:
    flushed = client.flush()
    if flushed is not None and sweep_of(flushed[0]) is None:  # a sweep reports once for all its runs
        sys.stderr.write(messages.run_message(flushed[0], client.tracker.name, flushed[1]) + "\n")


def _client(tracker: Tracker) -> TrackingClient:
    if not _clients:
        Finalize(None, _close_all, exitpriority=1)  # unlike atexit, it also runs in the processes of multiprocessing
    if tracker not in _clients:
        _clients[tracker] = TrackingClient(tracker)
    return _clients[tracker]


def _close_all() -> None:
    flush()
    for client in _clients.values():
        client.close()
    _clients.clear()
