"""HTTP worker: a process that handles requests."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable

import uvicorn

from mlsys.errors import MlsysError
from serve import logs
from serve.batch.job import JobRunner
from serve.batch.queue import BatchExecutor, BatchQueue, ProcessExecutor, ThreadExecutor
from serve.http.app import create_app
from serve.http.auth import Key, KeyCheck
from serve.http.fast_path import FastPath, protocol_for
from serve.http.hosts import AllowedHosts
from serve.http.rate_limit import RateLimit
from serve.http.service import Service
from serve.logs import AccessLog
from serve.metrics import Metrics
from serve.predictions import Log, PredictionLog, create_log
from serve.processes.http_server import Server
from serve.processes.listener import Listener
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import SharedState

logger = logging.getLogger(__name__)

CANNOT_LOAD = 3  # exit code of a process that cannot load its models
SWITCH_INTERVAL = 0.0005  # seconds for which a thread that loads or runs batches may hold the GIL
QUEUED_PER_WORKER = 8  # batches in progress or queued for each batch worker


def load_models(shared_state: SharedState) -> tuple[ModelSlot, Metrics]:
    """Load the requested models, or the ones that were loaded last if that fails.

    Raises
    ------
    MlsysError
        If neither can be loaded.
    """
    metrics = Metrics()
    requested = shared_state.requested()
    try:
        slot = ModelSlot(requested, metrics.set_model)
    except MlsysError as error:
        fallback = shared_state.last_loaded()
        if fallback is None or fallback == requested:
            raise
        logger.error("cannot load %s %s: %s", requested.champion.name, requested.champion.version, error)  # noqa: TRY400
        metrics.swap_failures.inc()
        slot = ModelSlot(fallback, metrics.set_model)
    shared_state.set_loaded(slot.models)
    return slot, metrics


def build_service(
    settings: Settings,
    slot: ModelSlot,
    metrics: Metrics,
    *,
    keys: tuple[Key, ...] = (),
    rate: RateLimit | None = None,
    shared_state: SharedState | None = None,
) -> Service:
    """Assemble the service of one process."""
    url, durable, features = settings.prediction_log, settings.log_durable, settings.log_features
    log: Log
    if shared_state is None:  # the only process, so one of its threads writes the log
        log = PredictionLog.open(url, durable=durable, features=features)
    else:
        log = create_log(url, shared_state.log_socket, durable=durable, features=features)
    job_runner = JobRunner(metrics, log)
    executor: BatchExecutor = ThreadExecutor(job_runner, slot)
    if shared_state is not None and settings.batch_workers:
        executor = ProcessExecutor(shared_state.batch_socket)
    queue = BatchQueue(executor, QUEUED_PER_WORKER * max(1, settings.batch_workers))
    access_log, hosts = AccessLog(settings.access_log), AllowedHosts.from_settings(settings)
    return Service(
        settings, slot, metrics, log, access_log, hosts, KeyCheck(keys), rate, queue, job_runner, shared_state
    )


def run_http_worker(
    settings: Settings,
    shared_state: SharedState,
    listener: Listener,
    keys: tuple[Key, ...],
    rate: RateLimit | None,
    report_status: Callable[[bool, str], None],
    supervisor_fd: int,
) -> None:
    """Handle requests until SIGTERM, SIGINT or the end of the supervisor.

    Parameters
    ----------
    settings : Settings
    shared_state : SharedState
    listener : Listener
    keys, rate
        As for `build_service`.
    report_status : callable
        Called with True and a line about the model once the process accepts requests, or with False and the reason if
        it cannot.
    supervisor_fd : int
        File descriptor that becomes readable when the supervisor has ended.
    """
    logs.set_up(settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        slot, metrics = load_models(shared_state)
        service = build_service(settings, slot, metrics, keys=keys, rate=rate, shared_state=shared_state)
    except MlsysError as error:
        report_status(False, str(error))
        sys.exit(CANNOT_LOAD)
    gc.collect()
    gc.freeze()  # scanning the models in each collection would stall the event loop for many milliseconds
    model = slot.champion
    config = uvicorn.Config(
        create_app(service),
        loop="uvloop",
        http=protocol_for(FastPath(service)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.trust_proxy is not None,
        forwarded_allow_ips=settings.trust_proxy,
    )
    server = Server(
        config,
        service,
        lambda: report_status(True, f"{model.resolved.name} {model.resolved.version}: {model.scorer.reason}"),
        supervisor_fd,
    )
    server.run(sockets=[listener.of_worker()])
