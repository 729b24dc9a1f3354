"""Logs: one JSON object a line, on standard error; a request's lines carry its id."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

FLUSH_SECONDS = 0.1
FLUSH_LINES = 512


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, Any] = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if (current := request_id.get()) is not None:
            entry["request_id"] = current
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up(level: str) -> None:
    """Send all logs of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # that it starts and ends, we say ourselves


def stamp(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds.

    Examples
    --------
    >>> stamp(1_700_000_000.25)
    '2023-11-14T22:13:20.250Z'
    """
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


_last: tuple[int, str] = (-1, "")


def _second(whole: int) -> str:
    global _last
    if _last[0] != whole:
        _last = (whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)))
    return _last[1]


class AccessLog:
    """One line a request, kept for at most a tenth of a second and written together.

    Parameters
    ----------
    enabled : bool
    descriptor : int
        The file to write to.
    """

    def __init__(self, enabled: bool, descriptor: int = 2) -> None:
        self._enabled = enabled
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._pid = os.getpid()

    def add(
        self,
        request: str,
        method: str,
        path: str,
        status: int,
        seconds: float,
        kind: str | None,
        rows: int | None,
        who: str,
    ) -> None:
        """Log a request: its id, what it asked for, how it ended and how long it took, and who it was from."""
        if not self._enabled:
            return
        if not (path.isascii() and path.isprintable()) or '"' in path or "\\" in path:
            path = json.dumps(path)[1:-1]
        more = f', "error": "{kind}"' if kind is not None else ""
        if rows is not None:
            more += f', "rows": {rows}'
        if who:
            more += f', "client": {json.dumps(who)}'
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(
            f'{{"time": "{stamp(time.time())}", "level": "info", "logger": "access", "request_id": "{request}", '
            f'"method": "{method}", "path": "{path}", "status": {status}, "ms": {seconds * 1000:.3f}, '
            f'"pid": {self._pid}{more}}}\n'
        )
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        data = memoryview("".join(self._lines).encode())
        self._lines.clear()
        while data:
            data = data[os.write(self._descriptor, data) :]
