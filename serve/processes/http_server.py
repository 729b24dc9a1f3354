"""The HTTP server of a worker: uvicorn's, which reports when it is ready and loses no request when it stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import uvicorn

from serve.errors import unavailable
from serve.http.service import Service

LAST_WORDS = 1.0  # seconds for the responses of requests that are cut off
STEP = 0.1  # seconds between looks at whether to stop at once


class Server(uvicorn.Server):
    """Serve until told to stop.

    Parameters
    ----------
    config : uvicorn.Config
        Without a timeout for the shutdown: requests that take too long are answered instead of cancelled.
    service : Service
    on_ready : callable
        Called once the server accepts requests.
    supervisor_fd : int
        File descriptor that becomes readable when the supervisor has ended.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None], supervisor_fd: int
    ) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready = on_ready
        self._supervisor_fd = supervisor_fd
        self._orphaned = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting requests, then report that."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._supervisor_fd, self._on_supervisor_end)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Go on for the drain delay, stop listening, then finish the requests in progress or answer that it stops."""
        service, loop = self._service, asyncio.get_running_loop()
        service.draining = True
        stop = loop.time() + service.settings.drain_delay
        while loop.time() < stop and not self.force_exit and not self._orphaned:
            await self.on_tick(0)  # updates the Date header
            await asyncio.sleep(STEP)
        cut_off = loop.call_later(service.settings.shutdown_timeout, self._cut_off)
        closing = asyncio.create_task(self._close_idle_connections())
        await super().shutdown(sockets)
        cut_off.cancel()
        closing.cancel()

    async def _close_idle_connections(self) -> None:
        """Close connections without a request, even one that was accepted while the server stopped."""
        while True:
            await asyncio.sleep(STEP)
            for connection in tuple(self.server_state.connections):
                connection.shutdown()

    def _cut_off(self) -> None:
        for context in tuple(self._service.in_flight):
            if not context.status:
                message = "The service stopped before this request was finished; send it again."
                context.cancel(unavailable("stopping", message))
        asyncio.get_running_loop().call_later(LAST_WORDS, self._disconnect)

    def _disconnect(self) -> None:
        """End connections whose clients do not read their responses."""
        for context in self._service.in_flight:
            context.error_kind = "stopping"
        for connection in tuple(self.server_state.connections):
            cast(Any, connection).transport.abort()

    def _on_supervisor_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._supervisor_fd)
        self.should_exit = self._orphaned = True
