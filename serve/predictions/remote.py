"""Prediction log of the HTTP and batch workers: sends rows to the log worker.

A writer thread in each worker would cost a third of the throughput: while it waits for the GIL, it is woken in vain
each time that the event loop releases it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mlsys.text import counted
from serve.predictions.errors import LogUnavailableError
from serve.predictions.framing import LENGTH, as_text, to_frame
from serve.predictions.health import Health
from serve.predictions.row import PredictionRow

COMMIT_TIMEOUT = 6.0  # seconds, a little longer than the log worker waits for its database
FRAME_ROWS = 5_000  # rows per frame


class Log(Protocol):
    """Interface of a prediction log.

    Attributes
    ----------
    durable : bool
        Whether a response has to wait for `commit`.
    features : bool
        Whether the model's inputs are logged.
    """

    durable: bool
    features: bool

    @property
    def name(self) -> str | None:
        """URL of the database without secrets; None if logging is off."""
        ...

    @property
    def depth(self) -> int:
        """Number of rows waiting in this process."""
        ...

    @property
    def lag(self) -> float:
        """Age of the oldest waiting row in seconds; 0 if there is none."""
        ...

    @property
    def dropped(self) -> int:
        """Number of rows dropped in this process."""
        ...

    @property
    def failed(self) -> int:
        """Number of failed writes in this process."""
        ...

    def put(self, rows: Sequence[PredictionRow]) -> None:
        """Queue rows to be written; never waits and never fails."""
        ...

    async def commit(self, rows: Sequence[PredictionRow]) -> None:
        """Return once rows are committed; raise `LogUnavailableError` if they cannot be."""
        ...

    def send(self) -> None:
        """Send the queued rows as far as possible without blocking; call it a few times a second."""
        ...

    def close(self, timeout: float = 5.0) -> None:
        """Send or write the queued rows, for at most ``timeout`` seconds."""
        ...


class RemoteLog:
    """Send rows to the log worker over a Unix socket; see `serve.processes.log_worker`.

    While the log worker is down, rows are queued here; rows that exceed the queue are dropped and counted.

    Parameters
    ----------
    path : Path
        Socket of the log worker.
    name : str
        URL of the database without secrets.
    durable, features : bool
        See `Log`.
    max_pending : int
        Maximum number of queued rows.
    """

    failed = 0

    def __init__(self, path: Path, name: str, *, durable: bool, features: bool, max_pending: int = 50_000) -> None:
        self.durable, self.features = durable, features
        self._path, self._max_pending = path, max_pending
        self._health = Health(name)
        self._lock = threading.Lock()  # batches may be logged from another thread
        self._rows: list[PredictionRow] = []
        self._frames: deque[tuple[int, float, memoryview]] = (
            deque()
        )  # number of rows, time of the first, bytes not sent yet
        self._framed_rows = self._pending_commits = 0
        self._connection: socket.socket | None = None

    @property
    def name(self) -> str:
        """URL of the database without secrets."""
        return self._health.name

    @property
    def depth(self) -> int:
        """Number of rows waiting in this process."""
        return len(self._rows) + self._framed_rows

    @property
    def lag(self) -> float:
        """Age of the oldest waiting row in seconds; 0 if there is none."""
        with contextlib.suppress(IndexError):  # it was sent in the meantime
            oldest = self._frames[0][1] if self._frames else self._rows[0].time
            return max(0.0, time.time() - oldest)
        return 0.0

    @property
    def dropped(self) -> int:
        """Number of rows dropped in this process."""
        return self._health.lost

    def put(self, rows: Sequence[PredictionRow]) -> None:
        """Queue rows for the next `send`; callable from any thread."""
        free = self._max_pending - len(self._rows) - self._framed_rows
        if len(rows) > free:
            free = max(0, free)
            self._health.record_overflow(len(rows) - free)
            rows = rows[:free]
        with self._lock:
            self._rows.extend(rows)

    def send(self) -> None:
        """Send the queued rows as far as possible without blocking."""
        self._frame()
        while self._frames and self._connect():
            assert self._connection is not None
            rows, oldest, content = self._frames[0]
            try:
                sent = self._connection.send(content)
            except BlockingIOError:
                return
            except OSError:
                self._disconnect()
                return
            if sent < len(content):
                self._frames[0] = (rows, oldest, content[sent:])
            else:
                self._frames.popleft()
                self._framed_rows -= rows

    async def commit(self, rows: Sequence[PredictionRow]) -> None:
        """Return once rows are committed.

        Raises
        ------
        LogUnavailableError
            If the rows could not be written at the first attempt, or in time.
        """
        if self._pending_commits >= self._max_pending:
            raise LogUnavailableError(
                f"{counted(self._pending_commits, 'request')} already waiting for the prediction log"
            )
        self._pending_commits += 1
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                reason = await self._send_and_wait(self._to_frame(rows, commit=True))
        except TimeoutError:
            raise LogUnavailableError(f"{self.name} did not commit within {COMMIT_TIMEOUT:.0f} s") from None
        except (OSError, EOFError) as error:
            raise LogUnavailableError("the log worker is not running; it will be restarted") from error
        finally:
            self._pending_commits -= 1
        if reason:
            raise LogUnavailableError(reason)

    def close(self, timeout: float = 5.0) -> None:
        """Send the queued rows, for at most ``timeout`` seconds; count the rest as lost."""
        deadline = time.monotonic() + timeout
        self.send()
        while self.depth and time.monotonic() < deadline:
            time.sleep(0.02)
            self.send()
        self._max_pending = 0
        if self.depth:
            self._health.record_abandoned(self.depth)
        self._disconnect()

    async def _send_and_wait(self, frame: bytes) -> str:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, str(self._path))
            await loop.sock_sendall(connection, frame)
            reply = b""
            while len(reply) < LENGTH.size or len(reply) < LENGTH.size + LENGTH.unpack_from(reply)[0]:
                part = await loop.sock_recv(connection, 65_536)
                if not part:
                    raise EOFError
                reply += part
        return reply[LENGTH.size :].decode()

    def _frame(self) -> None:
        with self._lock:
            rows, self._rows = self._rows, []
        for start in range(0, len(rows), FRAME_ROWS):
            chunk = rows[start : start + FRAME_ROWS]
            self._frames.append((len(chunk), chunk[0].time, memoryview(self._to_frame(chunk, commit=False))))
            self._framed_rows += len(chunk)

    def _to_frame(self, rows: Sequence[PredictionRow], *, commit: bool) -> bytes:
        """Encode rows as a frame; rows that cannot be encoded are dropped, or raise an error if the sender waits."""
        try:
            return to_frame(rows, commit=commit)
        except (OverflowError, TypeError, ValueError):
            converted = [as_text(row) for row in rows]
        valid = []
        for row in converted:
            try:
                to_frame([row], commit=commit)
            except (OverflowError, TypeError, ValueError) as error:
                if commit:
                    raise LogUnavailableError(str(error)) from error
                self._health.record_rejection(1, str(error))
            else:
                valid.append(row)
        return to_frame(valid, commit=commit)

    def _connect(self) -> bool:
        if self._connection is not None:
            return True
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._path))
        except OSError:  # the log worker is restarting; the rows stay queued
            connection.close()
            return False
        connection.setblocking(False)
        self._connection = connection
        return True

    def _disconnect(self) -> None:
        """Close the connection; a partially sent frame will be sent again as a whole, because it was not processed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._frames:
            rows, oldest, content = self._frames[0]
            self._frames[0] = (rows, oldest, memoryview(content.obj))
