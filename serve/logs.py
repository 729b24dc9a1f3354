"""Logging: one JSON object per line on standard error; lines logged during a request carry its id."""

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
    """Format a log record as one line of JSON."""

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
    """Log to standard error as JSON in this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # the service logs its own start and stop


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
    """Access log: one line per request, buffered for at most a tenth of a second.

    Parameters
    ----------
    enabled : bool
    descriptor : int
        File descriptor to write to.
    """

    def __init__(self, enabled: bool, descriptor: int = 2) -> None:
        self._enabled = enabled
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._pid = os.getpid()

    def add(
        self,
        request_id: str,
        method: str,
        path: str,
        status: int,
        seconds: float,
        error_kind: str | None,
        rows: int | None,
        client: str,
    ) -> None:
        """Log a request with its status, duration and client."""
        if not self._enabled:
            return
        if not (path.isascii() and path.isprintable()) or '"' in path or "\\" in path:
            path = json.dumps(path)[1:-1]
        extra = f', "error": "{error_kind}"' if error_kind is not None else ""
        if rows is not None:
            extra += f', "rows": {rows}'
        if client:
            extra += f', "client": {json.dumps(client)}'
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(
            f'{{"time": "{stamp(time.time())}", "level": "info", "logger": "access", "request_id": "{request_id}", '
            f'"method": "{method}", "path": "{path}", "status": {status}, "ms": {seconds * 1000:.3f}, '
            f'"pid": {self._pid}{extra}}}\n'
        )
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the buffered lines."""
        data = memoryview("".join(self._lines).encode())
        self._lines.clear()
        while data:
            data = data[os.write(self._descriptor, data) :]
