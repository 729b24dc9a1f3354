"""Batch worker: a process that runs batches at a lower priority than the HTTP workers."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from mlsys.errors import MlsysError
from serve import logs
from serve.batch.ipc import receive_job, send_result
from serve.batch.job import JobResult, JobRunner
from serve.http.service import POLL_INTERVAL, apply_requested_models, update_log_gauges
from serve.predictions import create_log
from serve.processes.http_worker import CANNOT_LOAD, load_models
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import SharedState

logger = logging.getLogger(__name__)

MAX_PENDING = 1_000_000  # predictions that may wait to be sent to the log worker
NICENESS = 5  # of 19, so that single records come first


def run_batch_worker(
    settings: Settings,
    shared_state: SharedState,
    listener: socket.socket,
    report_status: Callable[[bool, str], None],
    supervisor_fd: int,
) -> None:
    """Run batches until SIGTERM or the end of the supervisor; the batch in progress is finished.

    Parameters
    ----------
    settings : Settings
    shared_state : SharedState
    listener : socket
        Listening Unix socket shared by all batch workers.
    report_status : callable
        Called with False and the reason if this process cannot load the models.
    supervisor_fd : int
        File descriptor that becomes readable when the supervisor has ended.
    """
    logs.set_up(settings.log_level)
    stop = _stop_signal()
    os.nice(NICENESS)
    try:
        slot, metrics = load_models(shared_state)
        log = create_log(
            settings.prediction_log,
            shared_state.log_socket,
            durable=settings.log_durable,
            features=settings.log_features,
            max_pending=MAX_PENDING,
        )
    except MlsysError as error:
        report_status(False, str(error))
        sys.exit(CANNOT_LOAD)
    _limit_memory(int(settings.batch_memory_mb * 1_000_000))
    job_runner, last_stamp = JobRunner(metrics, log), shared_state.stamp()
    sources: list[Any] = [listener, supervisor_fd, stop]
    while True:
        readable, _, _ = select.select(sources, [], [], POLL_INTERVAL)
        if supervisor_fd in readable or stop in readable:
            break
        if (stamp := shared_state.stamp()) != last_stamp:
            last_stamp = stamp
            apply_requested_models(slot, shared_state, metrics)
        if listener in readable:
            _run_one(listener, job_runner, slot)
            if job_runner.exhausted:  # the supervisor starts a new process, which has all of its memory
                break
        log.send()
        update_log_gauges(metrics, log)
    log.close(5.0)


def _run_one(listener: socket.socket, job_runner: JobRunner, slot: ModelSlot) -> None:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:  # another batch worker accepted it
        return
    with connection, contextlib.suppress(OSError, EOFError):  # the HTTP worker may be gone
        connection.setblocking(True)
        job, body, output = receive_job(connection)
        token = logs.request_id.set(job.request_id)
        with body, output:

            def send(result: JobResult) -> None:
                output.flush()
                send_result(connection, result)

            job_runner.run(job, body, output, slot.champion, slot.shadow, send)
        logs.request_id.reset(token)


def _limit_memory(extra: int) -> None:
    """Limit the additional memory of this process in bytes: a small table may decompress to any size.

    The kernel counts private writable memory; only Linux reports its current size.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return
    (kilobytes,) = re.findall(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = int(kilobytes) * 1024 + extra
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _stop_signal() -> int:
    """Return a file descriptor that becomes readable on SIGTERM; SIGINT is left to the supervisor."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        os.write(write_end, b"x")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return read_end
