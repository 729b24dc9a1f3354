"""Thread that writes predictions to the database after the responses are sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from serve.predictions.errors import LogError, LogUnavailableError, RowRejectedError
from serve.predictions.health import Health
from serve.predictions.row import Cells, PredictionRow, to_cells
from serve.predictions.store import PredictionStore

logger = logging.getLogger("serve.predictions")

BATCH_ROWS = 1_000  # rows per transaction
CHUNK_ROWS = 100  # rows converted before yielding to other threads
YIELD_SECONDS = 20e-6  # after sleep(0) this thread would reacquire the GIL before another wakes up


class PendingCommit:
    """Rows whose response waits for the commit; created in the event loop that waits."""

    def __init__(self, rows: Sequence[PredictionRow]) -> None:
        self.rows = rows
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()


@dataclass
class Batch:
    """Rows to write in one transaction.

    Attributes
    ----------
    rows : list of PredictionRow
        Rows that no caller waits for: retried until they are written.
    pending_commits : list of PendingCommit
        Rows that a caller waits for: written at the first attempt or reported as failed.
    number : int or None
        Number assigned at the first attempt and kept for retries; the store writes no number twice.
    """

    rows: list[PredictionRow]
    pending_commits: list[PendingCommit]
    number: int | None = None

    @property
    def all_rows(self) -> list[PredictionRow]:
        """All rows of the batch; those of pending commits come last."""
        return [*self.rows, *(row for each in self.pending_commits for row in each.rows)]

    def halves(self) -> list[Batch]:
        """Split the batch in two; a batch that cannot be split is returned as it is."""
        if self.rows and self.pending_commits:
            return [Batch(self.rows, []), Batch([], self.pending_commits)]
        row, one = (len(self.rows) + 1) // 2, (len(self.pending_commits) + 1) // 2
        parts = [Batch(self.rows[:row], self.pending_commits[:one]), Batch(self.rows[row:], self.pending_commits[one:])]
        return [part for part in parts if part.rows or part.pending_commits]


class Writer(threading.Thread):
    """Write the rows in its queues until told to stop.

    Parameters
    ----------
    store : PredictionStore
        Store used by this thread only.
    features : bool
        Whether the model's inputs are logged.
    linger : float
        Seconds for which rows are collected into a batch, unless a caller waits for a commit.

    Attributes
    ----------
    queue : deque of PredictionRow
    pending_commits : deque of PendingCommit
    wake : Event
        Set it after adding to a queue.
    opened : Event
        Set after the first attempt to open the database.
    open_error : LogError or None
        Why the database cannot be used as configured, found by that attempt.
    """

    def __init__(self, store: PredictionStore, *, features: bool, linger: float) -> None:
        super().__init__(name="prediction-log", daemon=True)  # a dead database must not keep the process alive
        self.queue: deque[PredictionRow] = deque()
        self.pending_commits: deque[PendingCommit] = deque()
        self.wake, self.opened = threading.Event(), threading.Event()
        self.health = Health(store.name)
        self.open_error: LogError | None = None
        self._store = store
        self._features = features
        self._linger = linger
        self._batches: deque[Batch] = deque()
        self._numbers = count(1)
        self._in_progress = 0  # rows taken from the queue and not yet written
        self._oldest = 0.0  # time of the oldest of these rows
        self._stopping = threading.Event()
        self._deadline = float("inf")

    @property
    def depth(self) -> int:
        """Number of rows waiting to be written, without those of pending commits."""
        return len(self.queue) + self._in_progress

    @property
    def lag(self) -> float:
        """Age of the oldest of these rows in seconds."""
        if self._in_progress:
            return max(0.0, time.time() - self._oldest)
        with contextlib.suppress(IndexError):  # empty, or just emptied
            return max(0.0, time.time() - self.queue[0].time)
        return 0.0

    def stop(self, timeout: float) -> None:
        """Write the remaining rows, for at most ``timeout`` seconds; count the rest as lost."""
        self._deadline = time.monotonic() + timeout
        self._stopping.set()
        self.wake.set()
        self.join(timeout)
        if self.depth:
            self.health.record_abandoned(self.depth)

    def run(self) -> None:
        """Open the database and write until told to stop."""
        self._open()
        while not self._stopping.is_set():
            self.wake.wait()
            if not self.pending_commits:
                self._stopping.wait(self._linger)
            self.wake.clear()  # before reading the queues, so that later rows wake the thread again
            self._drain()
        self._drain()
        _complete_commits(self._take_pending_commits(), "the service is shutting down")
        self._store.close()

    def _open(self) -> None:
        try:
            self._store.open()
        except LogError as error:
            self.open_error = error
        except LogUnavailableError as error:
            self.health.record_failure(str(error), self.depth)
        finally:
            self.opened.set()

    def _drain(self) -> None:
        while (self.queue or self.pending_commits) and time.monotonic() < self._deadline:
            rows = [self.queue.popleft() for _ in range(min(len(self.queue), BATCH_ROWS))]
            self._in_progress = len(rows)
            self._batches.append(Batch(rows, self._take_pending_commits()))
            try:
                self._oldest = rows[0].time if rows else 0.0
                self._write()
            except Exception:  # a bug may lose these rows, but not all later ones
                logger.exception("internal error; predictions were not logged")
                self.health.record_rejection(self._in_progress, "internal error; see above")
                self._fail_pending_commits("internal error; see the log")
                self._batches.clear()
                self._in_progress = 0

    def _write(self) -> None:
        """Write the batches; rows that no caller waits for are retried until written or until the deadline."""
        while self._batches:
            batch = self._batches[0]
            batch.number = batch.number or next(self._numbers)
            try:
                self._store.open()
                self._store.write(self._cells(batch), batch.number)
            except RowRejectedError as error:
                self._bisect(self._batches.popleft(), str(error))
            except (LogError, LogUnavailableError) as error:
                self._store.close()
                self.health.record_failure(str(error), self.depth)
                self._fail_pending_commits(str(error))
                if self._batches and not self._pause():
                    return
            else:
                self._batches.popleft()
                self._in_progress -= len(batch.rows)
                self.health.record_success()
                _complete_commits(batch.pending_commits)

    def _cells(self, batch: Batch) -> list[Cells]:
        rows, cells = batch.all_rows, []
        for start in range(0, len(rows), CHUNK_ROWS):
            cells += [to_cells(row, features=self._features) for row in rows[start : start + CHUNK_ROWS]]
            time.sleep(YIELD_SECONDS)  # lets the event loop run, which would otherwise wait 5 ms for the GIL
        return cells

    def _bisect(self, batch: Batch, reason: str) -> None:
        """Split a batch with a rejected row until that row is alone and can be left out."""
        halves = batch.halves()
        if len(halves) > 1:
            self._batches.extendleft(reversed(halves))
            return
        if batch.rows:
            self._in_progress -= len(batch.rows)
            self.health.record_rejection(len(batch.rows), reason)
        _complete_commits(batch.pending_commits, reason)

    def _fail_pending_commits(self, reason: str) -> None:
        """Fail all pending commits, and keep the rows that no caller waits for."""
        _complete_commits(
            [*(each for batch in self._batches for each in batch.pending_commits), *self._take_pending_commits()],
            reason,
        )
        for batch in self._batches:
            batch.pending_commits = []
        self._batches = deque(batch for batch in self._batches if batch.rows)

    def _take_pending_commits(self) -> list[PendingCommit]:
        return [self.pending_commits.popleft() for _ in range(len(self.pending_commits))]

    def _pause(self) -> bool:
        """Wait until the next attempt is due; return whether the deadline allows it."""
        if not self._stopping.wait(self.health.wait):
            return True
        time.sleep(min(self.health.wait, max(0.0, self._deadline - time.monotonic())))
        return time.monotonic() < self._deadline


def _complete_commits(pending_commits: Sequence[PendingCommit], reason: str | None = None) -> None:
    """Complete or fail the futures of pending commits, with one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for each in pending_commits:
        by_loop.setdefault(each.loop, []).append(each.done)
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has ended, and its callers with it
            loop.call_soon_threadsafe(_resolve, futures, reason)


def _resolve(futures: Sequence[asyncio.Future[None]], reason: str | None) -> None:
    for future in futures:
        if future.done():  # cancelled: the client disconnected
            continue
        if reason is None:
            future.set_result(None)
        else:
            future.set_exception(LogUnavailableError(reason))
