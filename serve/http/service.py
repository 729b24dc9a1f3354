"""What the endpoints of one process share."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlsys.errors import MlsysError
from serve.batch.job import JobRunner
from serve.batch.queue import BatchQueue
from serve.http.auth import KeyCheck
from serve.http.call import RequestContext, RequestIds
from serve.http.rate_limit import RateLimit
from serve.logs import AccessLog
from serve.metrics import Metrics
from serve.predictions import Log
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import Models, SharedState

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.25  # seconds between looks at what other processes want


@dataclass
class Service:
    """The parts of the service in one process.

    Attributes
    ----------
    settings : Settings
    holder : ModelSlot
        The models.
    metrics, log, access, gate, ids
        As their classes say.
    rate : RateLimit or None
    batches : BatchQueue
        Does what is too long for the event loop.
    worker : JobRunner
        Does batches of a few records, in the event loop.
    control : SharedState or None
        Through which processes agree on the models; None if this is the only one.
    calls : set of RequestContext
        Requests in work.
    draining : bool
        Whether the service is about to end.
    """

    settings: Settings
    holder: ModelSlot
    metrics: Metrics
    log: Log
    access: AccessLog
    gate: KeyCheck
    rate: RateLimit | None
    batches: BatchQueue
    worker: JobRunner
    control: SharedState | None = None
    ids: RequestIds = field(default_factory=RequestIds)
    calls: set[RequestContext] = field(default_factory=set)
    draining: bool = False

    @property
    def registry(self) -> Path:
        """The registry's folder."""
        return Path(self.settings.registry)

    async def run_background_tasks(self) -> None:
        """Follow what other processes want, end what takes too long, keep the gauges: until cancelled."""
        seen = self.control.stamp() if self.control else None
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            self._end_late_bodies()
            self.log.send()
            self.update_gauges()
            if self.control is not None and (stamp := self.control.stamp()) != seen:
                seen = stamp
                await asyncio.to_thread(follow, self.holder, self.control, self.metrics)

    def _end_late_bodies(self) -> None:
        latest = time.perf_counter() - self.settings.body_timeout
        for call in self.calls:
            if call.reading and call.started < latest and not call.late and call.task is not None:
                call.late = True
                call.task.cancel()

    def update_gauges(self) -> None:
        """Set what /metrics says of the present."""
        metrics, log = self.metrics, self.log
        metrics.settle()
        metrics.in_flight.set(len(self.calls))
        metrics.batches.set(self.batches.depth)
        update_log_gauges(metrics, log)

    async def swap(self, models: Models) -> bool:
        """Serve other models in this process, then in all others; return whether anything changed."""
        changed = await asyncio.to_thread(swap, self.holder, models, self.metrics)
        if self.control is not None and changed:
            self.control.is_good(models)
            self.control.want(models)
        return changed


def update_log_gauges(metrics: Metrics, log: Log) -> None:
    """Set what /metrics says of the prediction log."""
    metrics.log_depth.set(log.depth)
    metrics.log_lag.set(log.lag)
    metrics.log_dropped.set(log.dropped)
    metrics.log_failed.set(log.failed)


def swap(holder: ModelSlot, models: Models, metrics: Metrics) -> bool:
    """Swap and count it.

    Raises
    ------
    MlsysError
        If the new model cannot be served.
    """
    try:
        changed = holder.swap(models)
    except MlsysError:
        metrics.swap_failures.inc()
        raise
    if changed:
        metrics.swaps.inc()
    return changed


def follow(holder: ModelSlot, control: SharedState, metrics: Metrics) -> None:
    """Serve what is wanted, or keep what is served if that cannot be loaded; the holder has logged why."""
    models = control.wanted()
    try:
        if swap(holder, models, metrics):
            control.is_good(models)
    except MlsysError:
        return
