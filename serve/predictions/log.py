"""Prediction log that writes to its database from a background thread, after the response."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from mlsys.text import counted
from serve.predictions.errors import LogUnavailableError
from serve.predictions.open_store import store_from_url
from serve.predictions.row import PredictionRow
from serve.predictions.writer import PendingCommit, Writer

LINGER = 0.05  # seconds for which rows are collected into a batch
OPEN_TIMEOUT = 1.0  # seconds to wait for the database at startup
COMMIT_TIMEOUT = 5.0  # seconds


class PredictionLog:
    """Log predictions for impact and drift reports without ever delaying or failing a response.

    Created by `open`. Rows go into a bounded queue, from which a thread writes them in batches. While the database
    cannot be written, rows stay queued, writes are retried, and rows that do not fit into the queue are dropped. All of
    this is counted, and reported in the service's log at most once a minute.

    Examples
    --------
    >>> from serve.predictions import PredictionRow, read_predictions
    >>> url = f"sqlite:///{getfixture('tmp_path')}/predictions.db"
    >>> log = PredictionLog.open(url)
    >>> log.put([PredictionRow(1_600_000_000.0, 0.25, "conversion", "1.0.0", "r1", id=7, as_of="2020-09-13")])
    >>> log.close()
    >>> read_predictions(url)[["id", "as_of", "probability"]].to_dict("records")
    [{'id': '7', 'as_of': Timestamp('2020-09-13 00:00:00'), 'probability': 0.25}]
    """

    def __init__(self, writer: Writer | None, *, durable: bool, max_pending: int, features: bool) -> None:
        self.durable = durable and writer is not None
        self.features = features and writer is not None
        self._writer = writer
        self._max_pending = max_pending

    @classmethod
    def open(
        cls, url: str | Path | None, *, durable: bool = False, max_pending: int = 50_000, features: bool = False
    ) -> Self:
        """Open a log and start its writer thread; call this in the process that logs.

        Parameters
        ----------
        url : str, Path or None
            ``sqlite:///predictions.db``, ``postgresql://…``, or None to log nothing.
        durable : bool
            Whether `commit` is used: rows are written at once, and a commit survives a power failure.
        max_pending : int
            Maximum number of queued rows; about 300 bytes each, more with features.
        features : bool
            Whether to log the model's inputs too.

        Raises
        ------
        LogError
            If the configuration can never work: invalid URL, foreign table, or newer version. A database that is only
            unreachable is not an error here.
        """
        if url is None:
            return cls(None, durable=False, max_pending=0, features=False)
        store = store_from_url(url, durable=durable)
        writer = Writer(store, features=features, linger=0.0 if durable else LINGER)
        writer.start()
        writer.opened.wait(OPEN_TIMEOUT)
        if writer.open_error is not None:
            writer.stop(OPEN_TIMEOUT)
            raise writer.open_error
        return cls(writer, durable=durable, max_pending=max_pending, features=features)

    @property
    def name(self) -> str | None:
        """URL of the database without secrets; None if logging is off."""
        return None if self._writer is None else self._writer.health.name

    @property
    def depth(self) -> int:
        """Number of rows waiting to be written."""
        return 0 if self._writer is None else self._writer.depth

    @property
    def lag(self) -> float:
        """Age of the oldest waiting row in seconds; 0 if there is none."""
        return 0.0 if self._writer is None else self._writer.lag

    @property
    def dropped(self) -> int:
        """Number of rows that will never be written."""
        return 0 if self._writer is None else self._writer.health.lost

    @property
    def failed(self) -> int:
        """Number of failed writes."""
        return 0 if self._writer is None else self._writer.health.failed

    def put(self, rows: Sequence[PredictionRow]) -> None:
        """Queue rows to be written; callable from any thread. Never waits and never fails: see `dropped`."""
        writer = self._writer
        if writer is None:
            return
        free = self._max_pending - len(writer.queue)
        if len(rows) > free:
            free = max(0, free)
            writer.health.record_overflow(len(rows) - free)
            rows = rows[:free]
        writer.queue.extend(rows)
        if not writer.wake.is_set():
            writer.wake.set()

    def send(self) -> None:
        """Do nothing: the writer thread reads the queue."""

    async def commit(self, rows: Sequence[PredictionRow]) -> None:
        """Return once rows are committed; concurrent callers share a transaction.

        Raises
        ------
        LogUnavailableError
            If the rows could not be written at the first attempt, or in time. They are not retried; after a timeout
            they may still be in the log.
        """
        writer = self._writer
        if writer is None:
            return
        if (seconds := writer.health.wait) > 0:
            raise LogUnavailableError(f"{writer.health.reason} (next attempt in {seconds:.1f} s)")
        if self._max_pending <= len(writer.pending_commits):
            raise LogUnavailableError(
                f"{counted(len(writer.pending_commits), 'request')} already waiting for the prediction log"
            )
        pending = PendingCommit(rows)
        writer.pending_commits.append(pending)
        writer.wake.set()
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await pending.done
        except TimeoutError:
            raise LogUnavailableError(f"{writer.health.name} did not commit within {COMMIT_TIMEOUT:.0f} s") from None

    def close(self, timeout: float = 5.0) -> None:
        """Write the queued rows, for at most ``timeout`` seconds, and stop the thread; later rows are dropped."""
        self._max_pending = 0
        if self._writer is not None and self._writer.is_alive():
            self._writer.stop(timeout)
