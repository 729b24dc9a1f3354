"""Following runs from the training process: it says when one starts and ends, and waits a bounded time, no more."""

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
from mlsys.tracking import words
from mlsys.tracking.base import Receipt, Several, Tracker, members
from mlsys.tracking.child import Message
from mlsys.tracking.facts import sweep_of
from mlsys.tracking.notes import new_id, note_receipt

CLOSE_SECONDS = 2.0


class Follower:
    """One tracker's process, and what the training process awaits from it.

    A run's end is sent without waiting. The receipt is awaited before the next run starts and before this process ends,
    and never longer than ``finish_timeout`` seconds after the run's end; then the tracker's process is killed, and this
    process tracks no more.

    Parameters
    ----------
    tracker : Tracker
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._noise: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._ended: tuple[Path, float] | None = None
        self._lost = ""  # why nothing is tracked any more

    def start(self, folder: Path) -> None:
        """Tell that a run began; the one before must be settled."""
        self._send(Message("start", folder))

    def finish(self, folder: Path) -> None:
        """Tell that it ended, well or not."""
        self._send(Message("finish", folder))
        self._ended = (folder, time.monotonic())

    def settle(self) -> tuple[Path, Receipt] | None:
        """Wait for the receipt of the run that ended, if any; note it in the run directory, and return both."""
        if self._ended is None:
            return None
        (folder, since), self._ended = self._ended, None
        receipt = Receipt("failed", reason=self._lost) if self._lost else self._await(since)
        note_receipt(folder, self.tracker.name, receipt)
        return folder, receipt

    def close(self) -> None:
        """End the tracker's process, which has nothing more to do once it is settled."""
        if self._connection is not None:
            self._connection.close()  # it goes when nobody is left to write to it
            self._connection = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_SECONDS)
            self._kill(self._process)
        self._noise.close()

    def _await(self, since: float) -> Receipt:
        assert self._connection is not None
        left = max(since + self.tracker.finish_timeout - time.monotonic(), 0.0)
        try:
            if self._connection.poll(left):
                receipt: Receipt = self._connection.recv()
                return receipt
            self._give_up(f"no answer within {self.tracker.finish_timeout:g} s")
        except (EOFError, OSError):
            self._give_up(self._why_it_died())
        except KeyboardInterrupt:  # whoever waits for the last bytes may say that they are not worth it
            self._give_up("interrupted")
        return Receipt("failed", reason=self._lost)

    def _send(self, message: Message) -> None:
        if self._lost:
            return
        try:
            if self._connection is None:
                self._connection = self._launch()
            self._connection.send(message)  # a few bytes, which the pipe takes at once
        except OSError as error:  # it could not be started, or died since
            why = f"{error.strerror or error}{self._last_words()}" if self._process is None else self._why_it_died()
            self._give_up(why)

    def _launch(self) -> Connection:
        ours, theirs = Pipe()
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlsys.tracking.child", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._noise,
                stderr=self._noise,
                start_new_session=True,  # Ctrl-C is for training, which then says how the run ended
            )
        ours.send(self.tracker)
        return ours

    def _give_up(self, why: str) -> None:
        self._lost = why
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

    def _why_it_died(self) -> str:
        assert self._process is not None
        if self._process.wait() == -signal.SIGALRM:  # see `mlsys.tracking.child.bounded`
            return f"no answer within {self.tracker.start_timeout:g} s"
        return f"its process died{self._last_words()}"

    def _last_words(self) -> str:
        self._noise.seek(0)
        lines = [line for line in self._noise.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1].strip()}" if lines else ""


_followers: dict[Tracker, Follower] = {}  # a process that does many runs has one process for each tracker


@contextmanager
def followed(tracker: Tracker | Several, folder: Path) -> Iterator[None]:
    """Follow a run, however it ends; a tracker that fails, hangs or is unreachable costs the run nothing.

    Parameters
    ----------
    tracker : Tracker or Several
    folder : Path
        The run directory, which holds the config already; when this context ends it holds all that will be.
    """
    following = [] if os.environ.get(NO_TRACKING) else [_follower(each) for each in members(tracker)]
    if following:
        new_id(folder)
    for follower in following:
        _settle(follower)
        follower.start(folder)
    try:
        yield
    finally:
        for follower in following:
            follower.finish(folder)


def settle() -> None:
    """Wait, a bounded time, until what this process sent of its runs has arrived, and say what became of it."""
    for follower in _followers.values():
        _settle(follower)


def _settle(follower: Follower) -> None:
    settled = follower.settle()
    if settled is not None and sweep_of(settled[0]) is None:  # of a sweep's runs, its end says it once for all
        sys.stderr.write(words.of_run(settled[0], follower.tracker.name, settled[1]) + "\n")


def _follower(tracker: Tracker) -> Follower:
    if not _followers:
        Finalize(None, _leave, exitpriority=1)  # unlike atexit, it also runs in the processes of multiprocessing
    if tracker not in _followers:
        _followers[tracker] = Follower(tracker)
    return _followers[tracker]


def _leave() -> None:
    settle()
    for follower in _followers.values():
        follower.close()
    _followers.clear()
