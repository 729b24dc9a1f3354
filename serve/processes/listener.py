"""Sockets on which the HTTP workers accept connections.

If all workers accept from one socket, the first to wake takes every connection that is waiting, so that the
connections of one client often end up with one worker. On Linux each of several workers therefore has a socket of its
own, and the kernel spreads connections over them. Elsewhere, and for a single worker, they share the supervisor's
socket, whose queue outlives a worker.
"""

from __future__ import annotations

import platform
import socket

from serve.errors import ServeError


class Listener:
    """The address of the service, held by the supervisor from the start.

    Parameters
    ----------
    host : str
    port : int
        0 picks a free one.
    workers : int
        Number of HTTP workers.

    Raises
    ------
    ServeError
        If the address cannot be had.
    """

    def __init__(self, host: str, port: int, workers: int) -> None:
        self._one_each = workers > 1 and platform.system() == "Linux"
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._bound = socket.socket(family, kind, protocol)
            self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._bound.bind(address)
        except OSError as error:
            raise ServeError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port, or --port 0 for a free one."
            ) from error
        if self._one_each:  # only after binding, so that a second service cannot share the port
            self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    @property
    def url(self) -> str:
        """URL of the service."""
        host, port = self._bound.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def of_worker(self) -> socket.socket:
        """Return the bound socket of this worker; it starts listening once the worker is ready."""
        if not self._one_each:
            return self._bound
        own = socket.socket(self._bound.family, self._bound.type, self._bound.proto)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind(self._bound.getsockname())
        return own

    def close(self) -> None:
        """Close the socket in this process; the kernel refuses connections once all processes have."""
        self._bound.close()
