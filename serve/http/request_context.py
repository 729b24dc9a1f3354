"""State of one request while the service handles it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import IO, Any

from serve.errors import RequestError
from serve.http.compression import Decompressor, is_gzip

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CONTEXT = "mlsys.request_context"  # key in the ASGI scope
IN_MEMORY = 262_144  # bytes; larger bodies are spooled to a file
ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,64}")

# Headers of every response; HTML pages set their own policy.
SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class ClientDisconnectedError(Exception):
    """The client disconnected before its request was complete."""


class RequestIds:
    """Request ids: the client's own X-Request-ID if it is valid, else a generated one."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def for_request(self, headers: MutableMapping[bytes, bytes]) -> str:
        """Return the id of a request."""
        sent = headers.get(b"x-request-id")
        if sent is not None and ID.fullmatch(sent):
            return sent.decode()
        return f"{self._prefix}-{next(self._numbers):x}"


class RequestContext:
    """A request with what is logged and counted once it has been answered.

    Attributes
    ----------
    headers : dict of bytes to bytes
        Request headers, names in lower case.
    request_id : str
    client : str
        Name of the API key, else the client's address; rate limits apply per client.
    status : int
        Status of the response; 0 until it has started.
    error_kind : str or None
        Kind of the error, if the response is one.
    rows : int or None
        Number of rows scored.
    extra_headers : list
        Additional response headers.
    reading_body : bool
        Whether the service is waiting for more of the body.
    cancelled_by : RequestError or None
        Why the request was cancelled, if it was; the response that it gets.
    """

    __slots__ = (
        "_body_complete",
        "_receive",
        "_send",
        "cancelled_by",
        "client",
        "error_kind",
        "extra_headers",
        "headers",
        "reading_body",
        "request_id",
        "rows",
        "scope",
        "started",
        "status",
        "task",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_ids: RequestIds) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self._receive = receive
        self._send = send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_ids.for_request(self.headers)
        self.client = ""
        self.status = 0
        self.error_kind: str | None = None
        self.rows: int | None = None
        self.extra_headers: Headers = []
        self.reading_body = self._body_complete = False
        self.cancelled_by: RequestError | None = None
        self.task = asyncio.current_task()

    def cancel(self, error: RequestError) -> None:
        """Stop handling the request, and answer with an error if it has not been answered."""
        if self.cancelled_by is None and self.task is not None:
            self.cancelled_by = error
            self.task.cancel()

    async def receive(self) -> Message:
        """Receive an ASGI message."""
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Send an ASGI message; adds the headers that every response has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = (b"x-request-id", self.request_id.encode())
            headers = [*message.get("headers", ()), *SECURITY, own]
            headers += [header for header in self.extra_headers if header not in headers]
            if not any(name == POLICY[0] for name, _ in headers):
                headers.append(POLICY)
            message["headers"] = headers
        elif self._has_unread_body and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def respond(self, status: int, content_type: bytes, body: bytes, headers: Headers | None = None) -> None:
        """Send a complete response whose body is in memory."""
        start = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": start + (headers or [])})
        await self.send({"type": "http.response.body", "body": body})

    @property
    def _has_unread_body(self) -> bool:
        """Whether closing the connection now could lose the response, as the client is still sending its body."""
        if self._body_complete or self.headers.get(b"connection", b"").lower() != b"close" or b"expect" in self.headers:
            return False
        return b"content-length" in self.headers or b"transfer-encoding" in self.headers

    async def _drain(self) -> None:
        """Read and discard the rest of the body."""
        self.reading_body = True
        with contextlib.suppress(ClientDisconnectedError):
            while not self._body_complete:
                self._body_chunk(await self._receive())
        self.reading_body = False

    async def body(self, limit: int) -> bytes:
        """Read the body.

        Raises
        ------
        RequestError
            413 as soon as the body is known to exceed ``limit`` bytes, 415 for an encoding other than gzip, 400 if it
            is not gzip although it should be.
        ClientDisconnectedError
            If the client disconnects.
        """
        compressed = is_gzip(self.headers)
        self._check_length(limit)
        self.reading_body = True
        body = self._body_chunk(await self._receive())
        if not self._body_complete:
            chunks, size = [body], len(body)
            while not self._body_complete and size <= limit:
                chunks.append(self._body_chunk(await self._receive()))
                size += len(chunks[-1])
            body = b"".join(chunks)
        self.reading_body = False
        self._check_size(len(body), limit)
        return self._decompressed(body, limit) if compressed else body

    def _decompressed(self, body: bytes, limit: int) -> bytes:
        decompressor, pieces, size = Decompressor(), [], 0
        for piece in decompressor.pieces(body):
            pieces.append(piece)
            size += len(piece)
            self._check_size(size, limit)
        decompressor.check_complete()
        return b"".join(pieces)

    async def spool_body(self, limit: int) -> IO[bytes]:
        """Read the body into a file positioned at its start: in memory if small, else an unnamed file on disk.

        Raises
        ------
        RequestError, ClientDisconnectedError
            As `body`.
        """
        decompressor = Decompressor() if is_gzip(self.headers) else None
        self._check_length(limit)
        self.reading_body = True
        spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            while not self._body_complete:
                chunk = self._body_chunk(await self._receive())
                for piece in (chunk,) if decompressor is None else decompressor.pieces(chunk):
                    spool.write(piece)
                    self._check_size(spool.tell(), limit)
                    if decompressor is not None:
                        await asyncio.sleep(0)  # other requests come first
            if decompressor is not None:
                decompressor.check_complete()
        except BaseException:
            spool.close()
            raise
        self.reading_body = False
        spool.seek(0)
        return spool

    def _check_length(self, limit: int) -> None:
        content_length = self.headers.get(b"content-length", b"0")
        if content_length.isdigit():
            self._check_size(int(content_length), limit)

    @staticmethod
    def _check_size(size: int, limit: int) -> None:
        if size > limit:
            raise RequestError(
                413,
                "too_large",
                f"The body exceeds the limit of {limit / 1e6:g} MB; send it in parts.",
            )

    def _body_chunk(self, message: Message) -> bytes:
        """Return the part of the body in an ASGI message."""
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        self._body_complete = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body
