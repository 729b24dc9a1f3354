"""Log worker: the process that writes the prediction log for all other processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from mlsys.errors import MlsysError
from serve import logs
from serve.http.service import POLL_INTERVAL, update_log_gauges
from serve.metrics import Metrics
from serve.predictions import LogUnavailableError, PredictionLog, PredictionRow
from serve.predictions.framing import LENGTH, from_frame
from serve.processes.http_worker import CANNOT_LOAD
from serve.settings import Settings

NICENESS = 5  # of 19, so that responses come first
ACCEPT_GRACE = 0.05  # seconds to accept the last pending connections
MAX_PENDING = 1_000_000  # rows that may wait, about 300 bytes each


def run_log_worker(
    settings: Settings, listener: socket.socket, report_status: Callable[[bool, str], None], supervisor_fd: int
) -> None:
    """Write rows until SIGTERM or the end of the supervisor, then write the rows received before that.

    Parameters
    ----------
    settings : Settings
    listener : socket
        Listening Unix socket.
    report_status : callable
        Called with False and the reason if the configured log can never be written.
    supervisor_fd : int
        File descriptor that becomes readable when the supervisor has ended.
    """
    logs.set_up(settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # left to the supervisor
    os.nice(NICENESS)
    try:
        log = PredictionLog.open(
            settings.prediction_log,
            durable=settings.log_durable,
            features=settings.log_features,
            max_pending=MAX_PENDING,
        )
    except MlsysError as error:
        report_status(False, str(error))
        sys.exit(CANNOT_LOAD)
    asyncio.run(LogServer(log).run(listener, supervisor_fd))
    log.close(5.0)


class LogServer:
    """Receive rows from any number of processes.

    Parameters
    ----------
    log : PredictionLog
    """

    def __init__(self, log: PredictionLog) -> None:
        self._log = log
        self._metrics = Metrics()
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket, supervisor_fd: int) -> None:
        """Receive rows until SIGTERM or the end of the supervisor."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(supervisor_fd, stop.set)
        await self.serve(listener, stop)
        loop.remove_reader(supervisor_fd)

    async def serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Receive rows until told to stop, then the rows that have been sent already."""
        server = await asyncio.start_unix_server(self._handle_connection, sock=listener)
        while not stop.is_set():
            update_log_gauges(self._metrics, self._log)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_INTERVAL)
        await asyncio.sleep(ACCEPT_GRACE)
        server.close()
        if self._connections:  # the senders have ended or are ending: read what they sent
            await asyncio.wait(self._connections, timeout=2.0)

    async def _handle_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while True:
                (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                commit, rows = from_frame(await reader.readexactly(size))
                if commit:
                    reason = (await self._commit(rows)).encode()
                    writer.write(LENGTH.pack(len(reason)) + reason)
                else:
                    self._log.put(rows)
        except (asyncio.IncompleteReadError, ConnectionError):  # the sender has closed the connection
            return
        finally:
            self._connections.discard(task)
            writer.close()

    async def _commit(self, rows: list[PredictionRow]) -> str:
        try:
            await self._log.commit(rows)
        except LogUnavailableError as error:
            return str(error)
        return ""
