"""How a prediction log fares: counts for the metrics, and one line a minute for people while something is wrong."""

from __future__ import annotations

import logging
import random
import threading
import time

logger = logging.getLogger("serve.predictions")

FIRST_RETRY, LAST_RETRY = 0.1, 5.0  # seconds
WARN_EVERY = 60.0  # seconds


class Health:
    """Counts of one log; the writer's thread changes them, others read, and `overflows` may be called by anyone.

    Parameters
    ----------
    name : str
        Of the database, without secrets.

    Attributes
    ----------
    failed : int
        Attempts to write that failed.
    reason : str
        Why the latest of them did.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = 0
        self.reason = ""
        self._overflowed = self._refused = self._abandoned = 0
        self._lock = threading.Lock()
        self._since: float | None = None  # when it began to fail
        self._delay = FIRST_RETRY
        self._retry_at = 0.0
        self._said = False  # whether that was said
        self._overflowed_before = 0
        self._warned_at: dict[str, float] = {}
        self._told = 0  # lost rows that were spoken of

    @property
    def lost(self) -> int:
        """Rows that will never be written: the queue was full, no database takes them, or the service ended."""
        return self._overflowed + self._refused + self._abandoned

    @property
    def wait(self) -> float:
        """Seconds until the next attempt is due; 0 where nothing is wrong."""
        return 0.0 if self._since is None else max(0.0, self._retry_at - time.monotonic())

    def overflows(self, rows: int) -> None:
        """Count rows that found the queue full."""
        with self._lock:
            self._overflowed += rows

    def fails(self, reason: str, waiting: int) -> None:
        """Note a failed attempt, and when the next is due."""
        now = time.monotonic()
        self.failed += 1
        self.reason = reason
        if self._since is None:
            self._since, self._said = now, False
        self._retry_at = now + self._delay * random.uniform(0.75, 1.0)  # processes that failed together part
        self._delay = min(2 * self._delay, LAST_RETRY)
        text = f"the prediction log cannot be written, {waiting} rows wait and it is tried again: {reason}"
        self._said |= self._warn("fails", text)

    def works(self) -> None:
        """Note a commit."""
        if self._since is not None:
            seconds, self._since, self._delay = time.monotonic() - self._since, None, FIRST_RETRY
            if self._said:
                logger.warning("the prediction log %s works again, after %.0f s%s", self.name, seconds, self._losses())
        elif self._overflowed > self._overflowed_before:
            self._warn("slow", f"predictions come faster than {self.name} takes them, and the queue is full")
        self._overflowed_before = self._overflowed

    def refuses(self, rows: int, reason: str) -> None:
        """Note rows that no database would take."""
        self._refused += rows
        self._warn("refuses", f"the prediction log {self.name} does not take a row: {reason}")

    def abandons(self, rows: int) -> None:
        """Note rows that were left when the log was closed; said at once, as nobody will say it later."""
        self._abandoned += rows
        why = "the time to end was over" if self._since is None else self.reason
        logger.warning("predictions that were not logged before the service ended: %d (%s: %s)", rows, self.name, why)

    def _warn(self, kind: str, text: str) -> bool:
        """Say something, unless the like was said within the minute; return whether it was said."""
        now = time.monotonic()
        if now - self._warned_at.get(kind, -WARN_EVERY) < WARN_EVERY:
            return False
        self._warned_at[kind] = now
        logger.warning("%s%s", text, self._losses())
        return True

    def _losses(self) -> str:
        new, self._told = self.lost - self._told, self.lost
        return f"; rows lost since this was last said: {new}" if new else ""
