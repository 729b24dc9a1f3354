"""One process that answers requests."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable

import uvicorn

from mlsys.errors import MlsysError
from serve import logs
from serve.batch.job import JobRunner
from serve.batch.queue import BatchExecutor, BatchQueue, ProcessExecutor, ThreadExecutor
from serve.http.app import create_app
from serve.http.auth import Key, KeyCheck
from serve.http.fast_path import FastPath, protocol_with
from serve.http.rate_limit import RateLimit
from serve.http.service import Service
from serve.logs import AccessLog
from serve.metrics import Metrics
from serve.predictions import Log, PredictionLog, log_of
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import SharedState

logger = logging.getLogger(__name__)

CANNOT_LOAD = 3  # the exit code of a process that has no model
SWITCH_SECONDS = 0.0005  # how long a thread that loads or batches may keep the event loop waiting for the interpreter
QUEUED_FOR_EACH = 8  # batches that may wait for each process that does them


def load(control: SharedState) -> tuple[ModelSlot, Metrics]:
    """Load the models that are wanted, else those that were good before.

    Raises
    ------
    MlsysError
        If there are none.
    """
    metrics = Metrics()
    wanted = control.wanted()
    try:
        holder = ModelSlot(wanted, metrics.serving)
    except MlsysError as error:
        good = control.good()
        if good is None or good == wanted:
            raise
        logger.error("%s %s cannot be served: %s", wanted.champion.name, wanted.champion.version, error)  # noqa: TRY400
        metrics.swap_failures.inc()
        holder = ModelSlot(good, metrics.serving)
    control.is_good(holder.models)
    return holder, metrics


def build(
    settings: Settings,
    holder: ModelSlot,
    metrics: Metrics,
    *,
    keys: tuple[Key, ...] = (),
    rate: RateLimit | None = None,
    control: SharedState | None = None,
) -> Service:
    """Put the parts of a process together."""
    url, durable, features = settings.prediction_log, settings.log_durable, settings.log_features
    log: Log
    if control is None:  # alone, so a thread of this process writes it
        log = PredictionLog.open(url, durable=durable, features=features)
    else:
        log = log_of(url, control.log_socket, durable=durable, features=features)
    worker = JobRunner(metrics, log)
    batches: BatchExecutor = ThreadExecutor(worker, holder)
    if control is not None and settings.batch_workers:
        batches = ProcessExecutor(control.batch_socket)
    queue = BatchQueue(batches, QUEUED_FOR_EACH * max(1, settings.batch_workers))
    access = AccessLog(settings.access_log)
    return Service(settings, holder, metrics, log, access, KeyCheck(keys), rate, queue, worker, control)


def run_worker(
    settings: Settings,
    control: SharedState,
    listener: socket.socket,
    keys: tuple[Key, ...],
    rate: RateLimit | None,
    tell: Callable[[bool, str], None],
    ended: int,
) -> None:
    """Answer requests until SIGTERM, SIGINT, or the supervisor's end.

    Parameters
    ----------
    settings : Settings
    control : SharedState
    listener : socket
        Bound; it listens from when this process is ready.
    keys, rate
        As for `build`.
    tell : callable
        Gets true and a line about the model when the process takes requests; false and why, if it never will.
    ended : int
        Descriptor that becomes readable when the supervisor is no more.
    """
    logs.set_up(settings.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        holder, metrics = load(control)
        service = build(settings, holder, metrics, keys=keys, rate=rate, control=control)
    except MlsysError as error:
        tell(False, str(error))
        sys.exit(CANNOT_LOAD)
    gc.collect()
    gc.freeze()  # what is loaded stays: looking at all of it again would stop the event loop for many milliseconds
    served = holder.champion
    config = uvicorn.Config(
        create_app(service),
        loop="uvloop",
        http=protocol_with(FastPath(service)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.trust_proxy is not None,
        forwarded_allow_ips=settings.trust_proxy,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
    )
    server = Server(
        config,
        service,
        lambda: tell(True, f"{served.target.name} {served.target.version}: {served.scorer.reason}"),
    )
    server.ended = ended
    server.run(sockets=[listener])


class Server(uvicorn.Server):
    """Uvicorn's server, which says when it takes requests and when it begins to stop."""

    ended: int

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self.ended, self._orphaned)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell, then finish what is in work."""
        self._service.draining = True
        await super().shutdown(sockets)

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self.ended)
        self.should_exit = True
