"""One process that does batches, at a lower priority than those that answer single records."""

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
from serve.batch.ipc import give_back, take
from serve.batch.job import JobResult, JobRunner
from serve.http.service import POLL_INTERVAL, follow, update_log_gauges
from serve.predictions import log_of
from serve.processes.http_worker import CANNOT_LOAD, load
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import SharedState

logger = logging.getLogger(__name__)

MAX_PENDING = 1_000_000  # predictions of batches that may wait to be handed over
NICENESS = 5  # of 19: single records come first


def run_batch_worker(
    settings: Settings, control: SharedState, listener: socket.socket, tell: Callable[[bool, str], None], ended: int
) -> None:
    """Do batches until SIGTERM or the supervisor's end; the one in work is finished.

    Parameters
    ----------
    settings : Settings
    control : SharedState
    listener : socket
        A Unix socket that all batch workers share.
    tell : callable
        Gets false and the reason if this process cannot serve the models.
    ended : int
        Descriptor that becomes readable when the supervisor is no more.
    """
    logs.set_up(settings.log_level)
    stop = _stop_signal()
    os.nice(NICENESS)
    try:
        holder, metrics = load(control)
        log = log_of(
            settings.prediction_log,
            control.log_socket,
            durable=settings.log_durable,
            features=settings.log_features,
            max_pending=MAX_PENDING,
        )
    except MlsysError as error:
        tell(False, str(error))
        sys.exit(CANNOT_LOAD)
    _limit_memory(int(settings.batch_memory_mb * 1_000_000))
    worker, seen = JobRunner(metrics, log), control.stamp()
    sources: list[Any] = [listener, ended, stop]
    while True:
        readable, _, _ = select.select(sources, [], [], POLL_INTERVAL)
        if ended in readable or stop in readable:
            break
        if (stamp := control.stamp()) != seen:
            seen = stamp
            follow(holder, control, metrics)
        if listener in readable:
            _serve_one(listener, worker, holder)
            if worker.exhausted:  # another process takes its place, with all of its memory
                break
        log.send()
        update_log_gauges(metrics, log)
    log.close(5.0)


def _serve_one(listener: socket.socket, worker: JobRunner, holder: ModelSlot) -> None:
    try:
        line, _ = listener.accept()
    except BlockingIOError:  # another batch worker was faster
        return
    with line, contextlib.suppress(OSError, EOFError):  # whoever asked may be gone
        line.setblocking(True)
        job, body, answer = take(line)
        token = logs.request_id.set(job.request_id)
        with body, answer:

            def tell(outcome: JobResult) -> None:
                answer.flush()
                give_back(line, outcome)

            worker.do(job, body, answer, holder.champion, holder.shadow, tell)
        logs.request_id.reset(token)


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes more: a table of a few kilobytes may unpack to any size.

    The kernel counts what is private and may be written to; it says how much that is on Linux alone.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return
    (kilobytes,) = re.findall(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = int(kilobytes) * 1024 + more
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _stop_signal() -> int:
    """Return a descriptor that becomes readable on SIGTERM; SIGINT is the supervisor's to judge."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        os.write(writing, b"x")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return reading
