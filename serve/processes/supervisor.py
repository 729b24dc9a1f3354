"""Supervisor: the process that starts the others, restarts them when they die, and stops them."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from mlsys.errors import MlsysError
from mlsys.runs import Run
from serve import logs
from serve.http.auth import Key
from serve.http.rate_limit import RateLimit
from serve.metrics import mark_dead
from serve.processes.alias_watcher import AliasWatcher
from serve.processes.batch_worker import run_batch_worker
from serve.processes.http_worker import CANNOT_LOAD, run_http_worker
from serve.processes.listener import Listener
from serve.processes.log_worker import run_log_worker
from serve.settings import Settings
from serve.shared_state import Models, SharedState

logger = logging.getLogger(__name__)

STABLE_AFTER = 5.0  # seconds after which a start counts as successful
MAX_BACKOFF = 30.0  # seconds
BACKLOG = 128
HTTP_WORKER, BATCH_WORKER, LOG_WORKER = "HTTP worker", "batch worker", "log worker"


@dataclass
class Child:
    """A worker process.

    Attributes
    ----------
    run : callable
        Body of the process.
    kind : str
        ``HTTP worker``, ``batch worker`` or ``log worker``; they stop in this order, because each depends on the next.
    pid : int
        Process id; 0 while the process is not running.
    started : float
        Time of the latest start.
    delay : float
        Seconds to wait before the next start.
    due : float
        Time of the next start.
    """

    run: Callable[[], None]
    kind: str
    pid: int = 0
    started: float = 0.0
    delay: float = 0.0
    due: float = 0.0


class Supervisor:
    """Run the service until it is told to stop.

    Parameters
    ----------
    settings : Settings
    shared_state : SharedState
    models : Models
        Models to load first.
    keys : tuple of Key
    """

    def __init__(self, settings: Settings, shared_state: SharedState, models: Models, keys: tuple[Key, ...]) -> None:
        self._settings = settings
        self._shared_state = shared_state
        self._keys = keys
        self._rate = RateLimit(settings.rate, settings.burst) if settings.rate else None
        self._alias_watcher = AliasWatcher(settings, shared_state, models)
        self._listener = Listener(settings.host, settings.port, settings.workers)
        self._batch_listener = _unix_listener(shared_state.batch_socket)
        self._log_listener = _unix_listener(shared_state.log_socket)
        self._lifetime_pipe = os.pipe()  # its write end closes when this process ends, however that happens
        self._status_pipe = os.pipe()
        self._signals = socket.socketpair()
        self._children = [
            *([Child(self._log_worker, LOG_WORKER)] if settings.prediction_log else []),
            *(Child(self._http_worker, HTTP_WORKER) for _ in range(settings.workers)),
            *(Child(self._batch_worker, BATCH_WORKER) for _ in range(settings.batch_workers)),
        ]
        self._ready = False
        self._failure = ""
        self._pending_signals: list[int] = []

    def run(self) -> int:
        """Run the service and return its exit code."""
        self._install_signal_handlers()
        gc.collect()
        gc.freeze()  # imported modules stay shared by all processes as long as the collector leaves them alone
        while True:
            self._start_missing()
            self._wait()
            ended = self._reap_children()
            self._read_status()  # afterwards, because a process reports its reason before it ends
            if signal.SIGTERM in self._pending_signals or signal.SIGINT in self._pending_signals:
                logger.info("stopping")
                self._stop_children()
                return 0
            if ended and not self._ready:
                if not self._failure:
                    sys.stderr.write(f"{ended}\n")
                self._stop_children()
                return 1
            self._alias_watcher.poll(now=signal.SIGHUP in self._pending_signals)
            self._pending_signals.clear()

    def _http_worker(self) -> None:
        run_http_worker(
            self._settings,
            self._shared_state,
            self._listener,
            self._keys,
            self._rate,
            self._report_status,
            self._lifetime_pipe[0],
        )

    def _batch_worker(self) -> None:
        self._listener.close()
        run_batch_worker(
            self._settings, self._shared_state, self._batch_listener, self._report_status, self._lifetime_pipe[0]
        )

    def _log_worker(self) -> None:
        self._listener.close()
        run_log_worker(self._settings, self._log_listener, self._report_status, self._lifetime_pipe[0])

    def _report_status(self, ready: bool, text: str) -> None:
        """Report from a worker that it accepts requests, or why it cannot; one small write to a pipe is atomic."""
        os.write(self._status_pipe[1], json.dumps([ready, text[:3000]]).encode() + b"\n")

    def _start_missing(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.due <= now:
                child.started = now
                child.pid = self._fork(child.run)

    def _fork(self, run: Callable[[], None]) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.close(self._lifetime_pipe[1])
            run()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(code)  # never return into the supervisor's stack

    def _install_signal_handlers(self) -> None:
        for end in self._signals:
            end.setblocking(False)
        signal.set_wakeup_fd(self._signals[1].fileno(), warn_on_full_buffer=False)

        def handler(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self._pending_signals.append(number)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, handler)
        os.set_blocking(self._status_pipe[0], False)

    def _wait(self) -> None:
        """Sleep until a signal, a status message, a restart or the next alias check."""
        due = [child.due - time.monotonic() for child in self._children if not child.pid]
        seconds = max(0.0, min([self._alias_watcher.interval, *due]))
        sources: list[Any] = [self._signals[0], self._status_pipe[0]]
        select.select(sources, [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            self._signals[0].recv(4096)

    def _read_status(self) -> None:
        """Report that the service is ready once a worker is, or why none can be; later reports go to the log."""
        try:
            lines = os.read(self._status_pipe[0], 65_536).splitlines()
        except BlockingIOError:
            return
        for line in lines:
            ready, text = json.loads(line)
            if ready and not self._ready:
                self._ready = True
                sys.stdout.write(f"Serving {text}\n{self._listener.url} (docs: {self._listener.url}/docs)\n")
                sys.stdout.flush()
            elif not ready and self._ready:
                logger.error("cannot restart a process: %s", text)
            elif not ready and not self._failure:
                self._failure = text
                sys.stderr.write(f"{text}\n")

    def _reap_children(self) -> str:
        """Collect the processes that ended; return how one ended that loads the models, or nothing."""
        ended = ""
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            mark_dead([pid])
            code = os.waitstatus_to_exitcode(status)
            if child.kind != LOG_WORKER or code == CANNOT_LOAD:
                ended = f"The {child.kind} ended {_ending(code)} before it had loaded the model."
            now = time.monotonic()
            child.pid = 0
            child.delay = 0.0 if now - child.started > STABLE_AFTER else min(MAX_BACKOFF, max(0.1, 2 * child.delay))
            child.due = now + child.delay
            if self._ready:
                logger.error("%s %d exited with code %d; restarting in %.1f s", child.kind, pid, code, child.delay)
        return ended

    def _stop_children(self) -> None:
        """Stop all processes: HTTP workers first, as they may wait for batches, and the log worker last."""
        self._listener.close()
        for kind in (HTTP_WORKER, BATCH_WORKER, LOG_WORKER):
            children = [child for child in self._children if child.kind == kind and child.pid]
            _signal(children, signal.SIGTERM)
            grace = self._settings.drain_delay + self._settings.shutdown_timeout + 2.0
            seconds = grace if kind == HTTP_WORKER else 10.0
            deadline = time.monotonic() + seconds
            while any(child.pid for child in children) and time.monotonic() < deadline:
                time.sleep(0.02)
                _reap(children)
                if self._pending_signals.count(signal.SIGINT) > 1:  # Ctrl-C again: stop waiting
                    break
            _signal(children, signal.SIGKILL)
            _reap(children, wait=True)


def _ending(code: int) -> str:
    """Describe the exit code of a process; a negative one is the signal that killed it.

    Examples
    --------
    >>> _ending(1), _ending(-11)
    ('with exit code 1', 'by SIGSEGV')
    """
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _signal(children: list[Child], number: int) -> None:
    for child in children:
        if child.pid:
            os.kill(child.pid, number)


def _reap(children: list[Child], *, wait: bool = False) -> None:
    for child in children:
        if child.pid and os.waitpid(child.pid, 0 if wait else os.WNOHANG)[0]:
            child.pid = 0


def _unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def import_shared(models: Models) -> None:
    """Import CatBoost before forking if a model needs it; otherwise each process would use 60 MB for its own copy."""
    for resolved in filter(None, (models.champion, models.shadow)):
        with contextlib.suppress(MlsysError):  # reported by the process that loads it
            if b"_target_: catboost." in Run.open(resolved.path, verify=False).read_bytes("config.yaml"):
                import catboost  # noqa: F401


def supervise(settings: Settings, shared_state: SharedState, models: Models, keys: tuple[Key, ...]) -> int:
    """Run the service until it is told to stop; return its exit code.

    Raises
    ------
    MlsysError
        If the service cannot listen on the address.
    """
    logs.set_up(settings.log_level)
    shared_state.request(models)
    import_shared(models)
    return Supervisor(settings, shared_state, models, keys).run()
