"""State shared by the endpoints of one process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlsys.errors import MlsysError
from serve.batch.job import JobRunner
from serve.batch.queue import BatchQueue
from serve.errors import RequestError
from serve.http.auth import KeyCheck
from serve.http.hosts import AllowedHosts
from serve.http.rate_limit import RateLimit
from serve.http.request_context import RequestContext, RequestIds
from serve.logs import AccessLog
from serve.metrics import Metrics
from serve.predictions import Log
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import Models, SharedState

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.25  # seconds between checks for models that another process requested


@dataclass
class Service:
    """Components of the service in one process.

    Attributes
    ----------
    settings : Settings
    slot : ModelSlot
        Loaded models.
    metrics : Metrics
    log : Log
        Prediction log.
    access_log : AccessLog
    hosts : AllowedHosts
    key_check : KeyCheck
    rate : RateLimit or None
    batch_queue : BatchQueue
        Runs batches that are too long for the event loop.
    job_runner : JobRunner
        Runs batches of a few records in the event loop.
    shared_state : SharedState or None
        State shared with other processes; None if this is the only process.
    in_flight : set of RequestContext
        Requests in progress.
    draining : bool
        Whether the service is shutting down: it still answers, but is no longer ready and keeps no connection open.
    """

    settings: Settings
    slot: ModelSlot
    metrics: Metrics
    log: Log
    access_log: AccessLog
    hosts: AllowedHosts
    key_check: KeyCheck
    rate: RateLimit | None
    batch_queue: BatchQueue
    job_runner: JobRunner
    shared_state: SharedState | None = None
    request_ids: RequestIds = field(default_factory=RequestIds)
    in_flight: set[RequestContext] = field(default_factory=set)
    draining: bool = False

    @property
    def registry(self) -> Path:
        """Registry folder."""
        return Path(self.settings.registry)

    async def run_background_tasks(self) -> None:
        """Apply model requests of other processes, time out slow bodies and update gauges, until cancelled."""
        seen = self.shared_state.stamp() if self.shared_state else None
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            self._cancel_slow_bodies()
            self.log.send()
            self.update_gauges()
            if self.shared_state is not None and (stamp := self.shared_state.stamp()) != seen:
                seen = stamp
                await asyncio.to_thread(apply_requested_models, self.slot, self.shared_state, self.metrics)

    def _cancel_slow_bodies(self) -> None:
        deadline = time.perf_counter() - self.settings.body_timeout
        for context in self.in_flight:
            if context.reading_body and context.started < deadline:
                context.cancel(_body_timeout())

    def update_gauges(self) -> None:
        """Update the gauges of /metrics."""
        metrics, log = self.metrics, self.log
        metrics.flush()
        metrics.in_flight.set(len(self.in_flight))
        metrics.batches.set(self.batch_queue.depth)
        update_log_gauges(metrics, log)

    async def swap(self, models: Models, ticket: int) -> bool:
        """Swap models in this process, and request them of all others; return whether anything changed.

        Parameters
        ----------
        models : Models
        ticket : int
            Number of the request for them, from `take_ticket`. The latest wins, however long each takes to load.

        Raises
        ------
        MlsysError
            If the new model cannot be served.
        RequestError
            409 if a later request has been made meanwhile.
        """
        return await asyncio.to_thread(self._swap, models, ticket)

    def take_ticket(self) -> int:
        """Return the number of a request for models."""
        return self.shared_state.take_ticket() if self.shared_state is not None else 0

    def _swap(self, models: Models, ticket: int) -> bool:
        state = self.shared_state
        if state is None:
            return swap(self.slot, models, self.metrics)
        with self.slot.swapping:
            if ticket < state.requested_ticket():
                raise _superseded(state)
            others = state.requested()
            changed = swap(self.slot, models, self.metrics, lambda: state.request(models, ticket))
            if state.requested_ticket() != ticket:
                raise _superseded(state)
            state.set_loaded(models)
        return changed or others != models


def _superseded(state: SharedState) -> RequestError:
    champion = state.requested().champion
    message = f"A later request chose {champion.name} {champion.version}, which is served instead."
    return RequestError(409, "superseded", message)


def _body_timeout() -> RequestError:
    message = "Timed out waiting for the request body; send it again."
    return RequestError(408, "body_timeout", message, headers={"connection": "close"})


def update_log_gauges(metrics: Metrics, log: Log) -> None:
    """Update the gauges of the prediction log."""
    metrics.log_depth.set(log.depth)
    metrics.log_lag.set(log.lag)
    metrics.log_dropped.set(log.dropped)
    metrics.log_failed.set(log.failed)


def swap(slot: ModelSlot, models: Models, metrics: Metrics, confirm: Callable[[], bool] = lambda: True) -> bool:
    """Swap models and count the swap; return whether anything changed.

    Parameters
    ----------
    slot, models, confirm
        As for `ModelSlot.swap`.
    metrics : Metrics

    Raises
    ------
    MlsysError
        If the new model cannot be served.
    """
    try:
        changed = slot.swap(models, confirm)
    except MlsysError:
        metrics.swap_failures.inc()
        raise
    if changed:
        metrics.swaps.inc()
    return changed


def apply_requested_models(slot: ModelSlot, shared_state: SharedState, metrics: Metrics) -> None:
    """Swap in the requested models, or keep the current ones if loading fails; the slot logs the reason."""
    with slot.swapping:  # so that the requested models are not older than the ones served
        models = shared_state.requested()
        try:
            if swap(slot, models, metrics):
                shared_state.set_loaded(models)
        except MlsysError:
            return
