"""Health of a prediction log: counts for the metrics, and at most one log line per minute for each problem."""

from __future__ import annotations

import logging
import random
import threading
import time

from mlsys.text import counted

logger = logging.getLogger("serve.predictions")

MIN_BACKOFF, MAX_BACKOFF = 0.1, 5.0  # seconds
WARNING_INTERVAL = 60.0  # seconds


class Health:
    """Counts of one log. The writer thread updates them, other threads read; any thread may call `record_overflow`.

    Parameters
    ----------
    name : str
        URL of the database without secrets.

    Attributes
    ----------
    failed : int
        Number of failed writes.
    reason : str
        Reason for the latest failure.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = 0
        self.reason = ""
        self._overflowed = self._rejected = self._abandoned = 0
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._delay = MIN_BACKOFF
        self._retry_at = 0.0
        self._failure_logged = False
        self._previous_overflow = 0
        self._warned_at: dict[str, float] = {}
        self._reported_losses = 0

    @property
    def lost(self) -> int:
        """Number of rows that will never be written: queue full, rejected by the database, or left at shutdown."""
        return self._overflowed + self._rejected + self._abandoned

    @property
    def wait(self) -> float:
        """Seconds until the next attempt; 0 if writing works."""
        return 0.0 if self._failing_since is None else max(0.0, self._retry_at - time.monotonic())

    def record_overflow(self, rows: int) -> None:
        """Count rows dropped because the queue was full."""
        with self._lock:
            self._overflowed += rows

    def record_failure(self, reason: str, pending: int) -> None:
        """Record a failed attempt and schedule the next."""
        now = time.monotonic()
        self.failed += 1
        self.reason = reason
        if self._failing_since is None:
            self._failing_since, self._failure_logged = now, False
        jitter = random.uniform(0.75, 1.0)  # so that processes do not retry together
        self._retry_at = now + self._delay * jitter
        self._delay = min(2 * self._delay, MAX_BACKOFF)
        text = f"cannot write the prediction log, retrying with {counted(pending, 'row')} pending: {reason}"
        self._failure_logged |= self._warn("failure", text)

    def record_success(self) -> None:
        """Record a successful commit."""
        if self._failing_since is not None:
            seconds, self._failing_since, self._delay = time.monotonic() - self._failing_since, None, MIN_BACKOFF
            if self._failure_logged:
                logger.warning(
                    "the prediction log %s works again after %.0f s%s", self.name, seconds, self._new_losses()
                )
        elif self._overflowed > self._previous_overflow:
            self._warn("overflow", f"predictions arrive faster than {self.name} can write them, and the queue is full")
        self._previous_overflow = self._overflowed

    def record_rejection(self, rows: int, reason: str) -> None:
        """Count rows that the database rejected."""
        self._rejected += rows
        self._warn("rejection", f"the prediction log {self.name} rejected a row: {reason}")

    def record_abandoned(self, rows: int) -> None:
        """Count rows left when the log is closed, and log that at once."""
        self._abandoned += rows
        reason = "shutdown timed out" if self._failing_since is None else self.reason
        logger.warning("%s not logged before shutdown (%s: %s)", counted(rows, "prediction"), self.name, reason)

    def _warn(self, kind: str, text: str) -> bool:
        """Log a warning, unless one of its kind was logged within the last minute; return whether it was logged."""
        now = time.monotonic()
        if now - self._warned_at.get(kind, -WARNING_INTERVAL) < WARNING_INTERVAL:
            return False
        self._warned_at[kind] = now
        logger.warning("%s%s", text, self._new_losses())
        return True

    def _new_losses(self) -> str:
        new, self._reported_losses = self.lost - self._reported_losses, self.lost
        return f"; {counted(new, 'row')} lost since the last report" if new else ""
