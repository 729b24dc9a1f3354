"""The process that writes the prediction log, for all processes that answer."""

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
from serve.predictions import LogUnavailable, PredictionLog, Row
from serve.predictions.framing import LENGTH, from_frame
from serve.processes.http_worker import CANNOT_LOAD
from serve.settings import Settings

NICENESS = 5  # of 19: answers come first
ACCEPTED_IN = 0.05  # seconds in which the last to connect are surely taken
QUEUE = 1_000_000  # rows that may wait, about 300 bytes each


def run_log_worker(settings: Settings, listener: socket.socket, tell: Callable[[bool, str], None], ended: int) -> None:
    """Write rows until SIGTERM or the supervisor's end, and then what was handed over before.

    Parameters
    ----------
    settings : Settings
    listener : socket
        A Unix socket, which listens already.
    tell : callable
        Gets false and the reason if the log can never be written as it is set.
    ended : int
        Descriptor that becomes readable when the supervisor is no more.
    """
    logs.set_up(settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor's to judge
    os.nice(NICENESS)
    try:
        log = PredictionLog.open(
            settings.prediction_log, durable=settings.log_durable, features=settings.log_features, queue=QUEUE
        )
    except MlsysError as error:
        tell(False, str(error))
        sys.exit(CANNOT_LOAD)
    asyncio.run(LogServer(log).run(listener, ended))
    log.close(5.0)


class LogServer:
    """Takes rows from any number of processes.

    Parameters
    ----------
    log : PredictionLog
    """

    def __init__(self, log: PredictionLog) -> None:
        self._log = log
        self._metrics = Metrics()
        self._lines: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket, ended: int) -> None:
        """Take rows until SIGTERM or the supervisor's end."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(ended, stop.set)
        await self.serve(listener, stop)
        loop.remove_reader(ended)

    async def serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Take rows until told to stop, and then those that are on their way."""
        server = await asyncio.start_unix_server(self._line, sock=listener)
        while not stop.is_set():
            update_log_gauges(self._metrics, self._log)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_INTERVAL)
        await asyncio.sleep(ACCEPTED_IN)
        server.close()
        if self._lines:  # whoever sent has ended, or ends: what it sent is read to its end
            await asyncio.wait(self._lines, timeout=2.0)

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        try:
            while True:
                (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                commit, rows = from_frame(await reader.readexactly(size))
                if commit:
                    reason = (await self._commit(rows)).encode()
                    writer.write(LENGTH.pack(len(reason)) + reason)
                else:
                    self._log.put(rows)
        except (asyncio.IncompleteReadError, ConnectionError):  # the other end has gone
            return
        finally:
            self._lines.discard(task)
            writer.close()

    async def _commit(self, rows: list[Row]) -> str:
        try:
            await self._log.commit(rows)
        except LogUnavailable as error:
            return str(error)
        return ""
