"""Rate limit: requests per second for each client, shared by all workers."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable

from serve.errors import RequestError

SLOTS = 65_536


class RateLimit:
    """Generic cell rate algorithm with one float per client, in memory shared by the forked workers.

    A client's slot holds its theoretical arrival time. Clients whose hashes collide share a slot; the hash is seeded at
    random at each start. If two workers write the same slot at once, one extra request may pass.

    Parameters
    ----------
    rate : float
        Requests per second.
    burst : int
        Requests that may arrive at once.
    clock : callable
        Clock in seconds, shared by all processes.

    Examples
    --------
    >>> limit = RateLimit(rate=1, burst=1, clock=lambda: 100.0)
    >>> limit.wait("crm"), limit.wait("crm"), limit.wait("another")
    (0.0, 1.0, 0.0)
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / rate
        self._tolerance = (burst - 1) / rate
        self._clock = clock
        self._arrival_times = memoryview(mmap.mmap(-1, SLOTS * 8)).cast("d")  # anonymous and shared

    def wait(self, client: str) -> float:
        """Count a request and return 0 if it may pass; otherwise return the seconds until the next one may."""
        slot, now = hash(client) % SLOTS, self._clock()
        due = max(self._arrival_times[slot], now)
        if due - now > self._tolerance + 1e-9:
            return due - now - self._tolerance
        self._arrival_times[slot] = due + self._interval
        return 0.0

    def check(self, client: str) -> None:
        """Reject a request that exceeds the rate with 429."""
        seconds = self.wait(client)
        if seconds > 0:
            raise RequestError(
                429,
                "rate_limit",
                f"Rate limit of {1 / self._interval:g}/s exceeded; retry later.",
                headers={"retry-after": str(math.ceil(seconds))},
            )
