"""The prediction log as a process sees it that answers: rows are handed to the process that writes them.

A thread that wrote them here would cost a third of the throughput: whenever it waits for the interpreter's lock, each
time that the event loop lets go of it wakes the thread in vain.
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

from serve.predictions.errors import LogUnavailable
from serve.predictions.framing import LENGTH, in_plain_types, to_frame
from serve.predictions.health import Health
from serve.predictions.row import Row

COMMIT_SECONDS = 6.0  # a little longer than the writing process waits for its database
AT_ONCE = 5_000  # rows in one message


class Log(Protocol):
    """What the service asks of a prediction log.

    Attributes
    ----------
    durable : bool
        Whether an answer has to wait for `commit`.
    features : bool
        Whether the inputs are logged.
    """

    durable: bool
    features: bool

    @property
    def name(self) -> str | None:
        """The database for people, without secrets; None where nothing is logged."""
        ...

    @property
    def depth(self) -> int:
        """Rows that wait here."""
        ...

    @property
    def lag(self) -> float:
        """Age of the oldest of them, in seconds."""
        ...

    @property
    def dropped(self) -> int:
        """Rows that were lost here."""
        ...

    @property
    def failed(self) -> int:
        """Attempts to write that failed here."""
        ...

    def put(self, rows: Sequence[Row]) -> None:
        """Take rows to be written soon; never waits and never fails."""
        ...

    async def commit(self, rows: Sequence[Row]) -> None:
        """Return once rows are in the database; raise `LogUnavailable` where they are not."""
        ...

    def send(self) -> None:
        """Hand over what waits, as far as that is possible without waiting; to be called a few times a second."""
        ...

    def close(self, timeout: float = 5.0) -> None:
        """Hand over or write what waits, for so many seconds at most."""
        ...


class RemoteLog:
    """Hands rows to the process that listens on a Unix socket; see `serve.processes.log_worker`.

    While that process is not there, rows wait here as they would there, and what has no room is dropped and counted.

    Parameters
    ----------
    path : Path
        The socket.
    name : str
        The database for people, without secrets.
    durable, features : bool
        As in `Log`.
    max_pending : int
        Rows that may wait.
    """

    failed = 0

    def __init__(self, path: Path, name: str, *, durable: bool, features: bool, max_pending: int = 50_000) -> None:
        self.durable, self.features = durable, features
        self._path, self._max_pending = path, max_pending
        self._health = Health(name)
        self._lock = threading.Lock()  # a batch may be logged by a thread
        self._rows: list[Row] = []
        self._frames: deque[tuple[int, float, memoryview]] = deque()  # rows, time of the first, what is not sent yet
        self._framed = self._waiting = 0
        self._line: socket.socket | None = None

    @property
    def name(self) -> str:
        """The database for people, without secrets."""
        return self._health.name

    @property
    def depth(self) -> int:
        """Rows that wait here."""
        return len(self._rows) + self._framed

    @property
    def lag(self) -> float:
        """Age of the oldest of them, in seconds."""
        with contextlib.suppress(IndexError):  # sent in this moment
            oldest = self._frames[0][1] if self._frames else self._rows[0].time
            return max(0.0, time.time() - oldest)
        return 0.0

    @property
    def dropped(self) -> int:
        """Rows that were lost here."""
        return self._health.lost

    def put(self, rows: Sequence[Row]) -> None:
        """Take rows to be handed over by the next `send`; from any thread."""
        free = self._max_pending - len(self._rows) - self._framed
        if len(rows) > free:
            free = max(0, free)
            self._health.overflows(len(rows) - free)
            rows = rows[:free]
        with self._lock:
            self._rows.extend(rows)

    def send(self) -> None:
        """Hand over what waits, as far as that is possible without waiting."""
        self._frame()
        while self._frames and self._connected():
            assert self._line is not None
            rows, oldest, content = self._frames[0]
            try:
                sent = self._line.send(content)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()
                return
            if sent < len(content):
                self._frames[0] = (rows, oldest, content[sent:])
            else:
                self._frames.popleft()
                self._framed -= rows

    async def commit(self, rows: Sequence[Row]) -> None:
        """Return once rows are in the database.

        Raises
        ------
        LogUnavailable
            Where they could not be written at the first attempt, or in time.
        """
        if self._waiting >= self._max_pending:
            raise LogUnavailable(f"{self._waiting} requests wait for the prediction log already")
        self._waiting += 1
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                reason = await self._ask(self._to_frame(rows, commit=True))
        except TimeoutError:
            raise LogUnavailable(f"{self.name} did not commit within {COMMIT_SECONDS:.0f} s") from None
        except (OSError, EOFError) as error:
            raise LogUnavailable("the process that writes the prediction log is not there; it starts again") from error
        finally:
            self._waiting -= 1
        if reason:
            raise LogUnavailable(reason)

    def close(self, timeout: float = 5.0) -> None:
        """Hand over what waits, for so many seconds at most; what is left then counts as lost."""
        deadline = time.monotonic() + timeout
        self.send()
        while self.depth and time.monotonic() < deadline:
            time.sleep(0.02)
            self.send()
        self._max_pending = 0
        if self.depth:
            self._health.abandons(self.depth)
        self._hang_up()

    async def _ask(self, frame: bytes) -> str:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.setblocking(False)
            await loop.sock_connect(line, str(self._path))
            await loop.sock_sendall(line, frame)
            answer = b""
            while len(answer) < LENGTH.size or len(answer) < LENGTH.size + LENGTH.unpack_from(answer)[0]:
                part = await loop.sock_recv(line, 65_536)
                if not part:
                    raise EOFError
                answer += part
        return answer[LENGTH.size :].decode()

    def _frame(self) -> None:
        with self._lock:
            rows, self._rows = self._rows, []
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            self._frames.append((len(some), some[0].time, memoryview(self._to_frame(some, commit=False))))
            self._framed += len(some)

    def _to_frame(self, rows: Sequence[Row], *, commit: bool) -> bytes:
        """Return rows as bytes; of those that are put, without the ones that no database would take."""
        try:
            return to_frame(rows, commit=commit)
        except (OverflowError, TypeError, ValueError):
            plain = [in_plain_types(row) for row in rows]
        good = []
        for row in plain:
            try:
                to_frame([row], commit=commit)
            except (OverflowError, TypeError, ValueError) as error:
                if commit:
                    raise LogUnavailable(str(error)) from error
                self._health.refuses(1, str(error))
            else:
                good.append(row)
        return to_frame(good, commit=commit)

    def _connected(self) -> bool:
        if self._line is not None:
            return True
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.connect(str(self._path))
        except OSError:  # it is being started again; rows wait meanwhile
            line.close()
            return False
        line.setblocking(False)
        self._line = line
        return True

    def _hang_up(self) -> None:
        """Close the line; a message that was sent in part is sent again as a whole, as it was not read."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._frames:
            rows, oldest, content = self._frames[0]
            self._frames[0] = (rows, oldest, memoryview(content.obj))
