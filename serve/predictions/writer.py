"""The thread that brings predictions into the database, behind the answers."""

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

from serve.predictions.errors import LogError, LogUnavailable, RowRefusedError
from serve.predictions.health import Health
from serve.predictions.row import Cells, Row, to_cells
from serve.predictions.store import PredictionStore

logger = logging.getLogger("serve.predictions")

BATCH = 1_000  # rows in one transaction
AT_ONCE = 100  # rows that are made ready before other threads get their turn
PAUSE = 20e-6  # seconds; one who sleeps for 0 takes the interpreter lock back before another thread wakes up


class Awaited:
    """Rows whose answer waits for the commit; made in the event loop that waits."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()


@dataclass
class Batch:
    """What goes into the database in one transaction.

    Attributes
    ----------
    rows : list of Row
        Nobody waits for these: they are tried until they are written.
    awaited : list of Awaited
        These are tried once, then given back.
    number : int or None
        Given at the first attempt and kept for all; the store writes no number twice.
    """

    rows: list[Row]
    awaited: list[Awaited]
    number: int | None = None

    @property
    def all_rows(self) -> list[Row]:
        """The rows, those that are awaited last."""
        return [*self.rows, *(row for each in self.awaited for row in each.rows)]

    def halves(self) -> list[Batch]:
        """Part the batch in two; one that cannot be parted gives one."""
        if self.rows and self.awaited:
            return [Batch(self.rows, []), Batch([], self.awaited)]
        row, one = (len(self.rows) + 1) // 2, (len(self.awaited) + 1) // 2
        parts = [Batch(self.rows[:row], self.awaited[:one]), Batch(self.rows[row:], self.awaited[one:])]
        return [part for part in parts if part.rows or part.awaited]


class Writer(threading.Thread):
    """Writes what is in its queues until it is told to stop.

    Parameters
    ----------
    store : PredictionStore
        Used by this thread only.
    features : bool
        Whether the inputs are logged.
    linger : float
        Seconds in which rows gather before they are written, where nobody waits for the commit.

    Attributes
    ----------
    queue : deque of Row
    awaited : deque of Awaited
    wake : Event
        To be set after something was put into a queue.
    opened : Event
        Set once the first attempt to open the database is over.
    refusal : LogError or None
        Why the database cannot be used as it is, found by that attempt.
    """

    def __init__(self, store: PredictionStore, *, features: bool, linger: float) -> None:
        super().__init__(name="prediction-log", daemon=True)  # a dead database must not keep the process alive
        self.queue: deque[Row] = deque()
        self.awaited: deque[Awaited] = deque()
        self.wake, self.opened = threading.Event(), threading.Event()
        self.health = Health(store.name)
        self.refusal: LogError | None = None
        self._store = store
        self._features = features
        self._linger = linger
        self._batches: deque[Batch] = deque()
        self._numbers = count(1)
        self._in_hand = 0  # rows taken from the queue and not yet written; the oldest of them
        self._oldest = 0.0
        self._stopping = threading.Event()
        self._deadline = float("inf")

    @property
    def depth(self) -> int:
        """Rows that wait and that nobody waits for."""
        return len(self.queue) + self._in_hand

    @property
    def lag(self) -> float:
        """Age of the oldest of them, in seconds."""
        if self._in_hand:
            return max(0.0, time.time() - self._oldest)
        with contextlib.suppress(IndexError):  # nothing there, or just taken
            return max(0.0, time.time() - self.queue[0].time)
        return 0.0

    def stop(self, timeout: float) -> None:
        """Write what is left, for so many seconds at most; rows that are left then count as lost."""
        self._deadline = time.monotonic() + timeout
        self._stopping.set()
        self.wake.set()
        self.join(timeout)
        if self.depth:
            self.health.abandons(self.depth)

    def run(self) -> None:
        """Open the database and write until told to stop."""
        self._open()
        while not self._stopping.is_set():
            self.wake.wait()
            if not self.awaited:
                self._stopping.wait(self._linger)
            self.wake.clear()  # before the queues are read, so that what comes later wakes again
            self._drain()
        self._drain()
        _settle(self._newly_awaited(), "the service ends")
        self._store.close()

    def _open(self) -> None:
        try:
            self._store.open()
        except LogError as error:
            self.refusal = error
        except LogUnavailable as error:
            self.health.fails(str(error), self.depth)
        finally:
            self.opened.set()

    def _drain(self) -> None:
        while (self.queue or self.awaited) and time.monotonic() < self._deadline:
            rows = [self.queue.popleft() for _ in range(min(len(self.queue), BATCH))]
            self._in_hand = len(rows)
            self._batches.append(Batch(rows, self._newly_awaited()))
            try:
                self._oldest = rows[0].time if rows else 0.0
                self._write()
            except Exception:  # a mistake of ours may cost these rows, but not all that come later
                logger.exception("predictions were not logged, by a mistake in mlsys")
                self.health.refuses(self._in_hand, "see above")
                self._give_back("a mistake in mlsys")
                self._batches.clear()
                self._in_hand = 0

    def _write(self) -> None:
        """Write the batches: once for who waits, for the others until it is done or the time is over."""
        while self._batches:
            batch = self._batches[0]
            batch.number = batch.number or next(self._numbers)
            try:
                self._store.open()
                self._store.write(self._cells(batch), batch.number)
            except RowRefusedError as error:
                self._part(self._batches.popleft(), str(error))
            except (LogError, LogUnavailable) as error:
                self._store.close()
                self.health.fails(str(error), self.depth)
                self._give_back(str(error))
                if self._batches and not self._pause():
                    return
            else:
                self._batches.popleft()
                self._in_hand -= len(batch.rows)
                self.health.works()
                _settle(batch.awaited)

    def _cells(self, batch: Batch) -> list[Cells]:
        rows, cells = batch.all_rows, []
        for start in range(0, len(rows), AT_ONCE):
            cells += [to_cells(row, features=self._features) for row in rows[start : start + AT_ONCE]]
            time.sleep(PAUSE)  # for the event loop, which would wait 5 ms for a thread that computes
        return cells

    def _part(self, batch: Batch, reason: str) -> None:
        """Halve a batch that has a row which no database takes, until that row stands alone and can be left out."""
        halves = batch.halves()
        if len(halves) > 1:
            self._batches.extendleft(reversed(halves))
            return
        if batch.rows:
            self._in_hand -= len(batch.rows)
            self.health.refuses(len(batch.rows), reason)
        _settle(batch.awaited, reason)

    def _give_back(self, reason: str) -> None:
        """Tell all who wait that it failed, and keep the rows that nobody waits for."""
        _settle([*(each for batch in self._batches for each in batch.awaited), *self._newly_awaited()], reason)
        for batch in self._batches:
            batch.awaited = []
        self._batches = deque(batch for batch in self._batches if batch.rows)

    def _newly_awaited(self) -> list[Awaited]:
        return [self.awaited.popleft() for _ in range(len(self.awaited))]

    def _pause(self) -> bool:
        """Wait until the next attempt is due; return whether there is time for it."""
        if not self._stopping.wait(self.health.wait):
            return True
        time.sleep(min(self.health.wait, max(0.0, self._deadline - time.monotonic())))
        return time.monotonic() < self._deadline


def _settle(awaited: Sequence[Awaited], reason: str | None = None) -> None:
    """Tell who waits that the rows are committed, or why not; one call for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for each in awaited:
        by_loop.setdefault(each.loop, []).append(each.done)
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it all who waited
            loop.call_soon_threadsafe(_resolve, futures, reason)


def _resolve(futures: Sequence[asyncio.Future[None]], reason: str | None) -> None:
    for future in futures:
        if future.done():  # cancelled: the client has gone
            continue
        if reason is None:
            future.set_result(None)
        else:
            future.set_exception(LogUnavailable(reason))
