"""Limits: requests a second for each client, shared by all workers, and requests in flight in each."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable

from serve.errors import RequestError

SLOTS = 65_536


class RateLimit:
    """The generic cell rate algorithm, one float a client in memory that forked workers share.

    A client's slot holds the time at which it has used up what it may send. Clients whose hashes meet share a slot;
    the hash is seeded at random for each start. Two workers that write the same slot at once may let one request more
    pass.

    Parameters
    ----------
    rate : float
        Requests a second.
    burst : int
        Requests at once.
    clock : callable
        Seconds, the same in all processes.

    Examples
    --------
    >>> limit = RateLimit(rate=1, burst=1, clock=lambda: 100.0)
    >>> limit.wait("crm"), limit.wait("crm"), limit.wait("another")
    (0.0, 1.0, 0.0)
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / rate
        self._ahead = (burst - 1) / rate
        self._clock = clock
        self._full_at = memoryview(mmap.mmap(-1, SLOTS * 8)).cast("d")  # anonymous and shared

    def wait(self, client: str) -> float:
        """Count a request; return 0 if it may pass, else the seconds until one may."""
        slot, now = hash(client) % SLOTS, self._clock()
        due = max(self._full_at[slot], now)
        if due - now > self._ahead + 1e-9:
            return due - now - self._ahead
        self._full_at[slot] = due + self._interval
        return 0.0

    def check(self, client: str) -> None:
        """Refuse a request that comes too early with 429."""
        seconds = self.wait(client)
        if seconds > 0:
            raise RequestError(
                429,
                "rate_limit",
                f"Too many requests: this client may send {1 / self._interval:g} a second. Try again later.",
                headers={"retry-after": str(math.ceil(seconds))},
            )
