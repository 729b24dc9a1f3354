"""The prediction log as the service calls it: it takes rows at once and writes them behind the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from serve.predictions.errors import LogUnavailable
from serve.predictions.open_store import store_from_url
from serve.predictions.row import Row
from serve.predictions.writer import Awaited, Writer

LINGER = 0.05  # seconds in which rows gather before they are written
FIRST_OPENING = 1.0  # seconds to wait for the database at the start
COMMIT_SECONDS = 5.0  # after which who waits for a commit is told that it failed


class PredictionLog:
    """Logs predictions for later impact and drift, without ever holding up or failing an answer.

    Made by `open`. Rows go into a bounded queue, from which a thread writes them in batches. While the database cannot
    be written, rows wait, attempts are repeated, and what no longer fits into the queue is dropped; each of this is
    counted, and said once a minute in the service's log.

    Examples
    --------
    >>> from serve.predictions import Row, read_predictions
    >>> url = f"sqlite:///{getfixture('tmp_path')}/predictions.db"
    >>> log = PredictionLog.open(url)
    >>> log.put([Row(1_600_000_000.0, 0.25, "conversion", "1.0.0", "r1", id=7, as_of="2020-09-13")])
    >>> log.close()
    >>> read_predictions(url)[["id", "as_of", "probability"]].to_dict("records")
    [{'id': '7', 'as_of': Timestamp('2020-09-13 00:00:00'), 'probability': 0.25}]
    """

    def __init__(self, writer: Writer | None, *, durable: bool, queue: int, features: bool) -> None:
        self.durable = durable and writer is not None
        self.features = features and writer is not None
        self._writer = writer
        self._max_pending = queue

    @classmethod
    def open(
        cls, url: str | Path | None, *, durable: bool = False, queue: int = 50_000, features: bool = False
    ) -> Self:
        """Open a log and start its thread; call it in the process that logs.

        Parameters
        ----------
        url : str, Path or None
            ``sqlite:///predictions.db``, ``postgresql://…``, or None: nothing is logged.
        durable : bool
            For a service that calls `commit`: rows do not gather, and a commit survives a power failure.
        queue : int
            Rows that may wait; about 300 bytes each, more with features.
        features : bool
            Log the model's inputs too.

        Raises
        ------
        LogError
            Where it can never work as it is set: a wrong URL, a table that is not ours, a newer version. A database
            that is only out of reach is no error here.
        """
        if url is None:
            return cls(None, durable=False, queue=0, features=False)
        store = store_from_url(url, durable=durable)
        writer = Writer(store, features=features, linger=0.0 if durable else LINGER)
        writer.start()
        writer.opened.wait(FIRST_OPENING)
        if writer.refusal is not None:
            writer.stop(FIRST_OPENING)
            raise writer.refusal
        return cls(writer, durable=durable, queue=queue, features=features)

    @property
    def name(self) -> str | None:
        """The database for people, without secrets; None where nothing is logged."""
        return None if self._writer is None else self._writer.health.name

    @property
    def depth(self) -> int:
        """Rows that wait to be written."""
        return 0 if self._writer is None else self._writer.depth

    @property
    def lag(self) -> float:
        """Age of the oldest row that waits, in seconds; 0 where none does."""
        return 0.0 if self._writer is None else self._writer.lag

    @property
    def dropped(self) -> int:
        """Rows that will never be written."""
        return 0 if self._writer is None else self._writer.health.lost

    @property
    def failed(self) -> int:
        """Attempts to write that failed."""
        return 0 if self._writer is None else self._writer.health.failed

    def put(self, rows: Sequence[Row]) -> None:
        """Take rows to be written soon; from any thread. Never waits and never fails: see `dropped`."""
        writer = self._writer
        if writer is None:
            return
        free = self._max_pending - len(writer.queue)
        if len(rows) > free:
            free = max(0, free)
            writer.health.overflows(len(rows) - free)
            rows = rows[:free]
        writer.queue.extend(rows)
        if not writer.wake.is_set():
            writer.wake.set()

    def send(self) -> None:
        """Do nothing: the thread takes what waits."""

    async def commit(self, rows: Sequence[Row]) -> None:
        """Return once rows are in the database; callers at the same time share a transaction.

        Raises
        ------
        LogUnavailable
            Where they could not be written at the first attempt, or in time. They are not tried again; after a time-out
            they may still be found in the log.
        """
        writer = self._writer
        if writer is None:
            return
        if (seconds := writer.health.wait) > 0:
            raise LogUnavailable(f"{writer.health.reason} (tried again in {seconds:.1f} s)")
        if self._max_pending <= len(writer.awaited):
            raise LogUnavailable(f"{len(writer.awaited)} requests wait for the prediction log already")
        awaited = Awaited(rows)
        writer.awaited.append(awaited)
        writer.wake.set()
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await awaited.done
        except TimeoutError:
            raise LogUnavailable(f"{writer.health.name} did not commit within {COMMIT_SECONDS:.0f} s") from None

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, for so many seconds at most, and end the thread; what comes later is dropped."""
        self._max_pending = 0
        if self._writer is not None and self._writer.is_alive():
            self._writer.stop(timeout)
