"""One request on its way through the service."""

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

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CONTEXT = "mlsys.call"  # where the scope carries the call
IN_MEMORY = 262_144  # bytes of a body; a larger one goes into a file on its way in
ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,64}")

# Of every answer; pages replace the policy by one of their own.
SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Disconnected(Exception):  # noqa: N818 - nothing is wrong
    """The client went away before its request was whole."""


class RequestIds:
    """Ids of requests: the client's own if it is a plain word, else one of this process."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def of(self, headers: MutableMapping[bytes, bytes]) -> str:
        """Return a request's id."""
        given = headers.get(b"x-request-id")
        if given is not None and ID.fullmatch(given):
            return given.decode()
        return f"{self._prefix}-{next(self._numbers):x}"


class RequestContext:
    """A request, and what is to be said about it when it is answered.

    Attributes
    ----------
    headers : dict of bytes to bytes
        Of the request, names in lower case.
    request_id : str
    client : str
        The key's name, else the address; the rate limit counts by it.
    status : int
        Of the answer; 0 until it begins.
    kind : str or None
        Of the refusal, if it was one.
    rows : int or None
        Rows scored.
    more : list
        Further headers of the answer.
    late : bool
        Whether it was cancelled because its body did not arrive in time.
    """

    __slots__ = (
        "_read",
        "_receive",
        "_send",
        "client",
        "headers",
        "kind",
        "late",
        "more",
        "reading",
        "request_id",
        "rows",
        "scope",
        "started",
        "status",
        "task",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, ids: RequestIds) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self._receive = receive
        self._send = send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = ids.of(self.headers)
        self.client = ""
        self.status = 0
        self.kind: str | None = None
        self.rows: int | None = None
        self.more: Headers = []
        self.reading = self._read = False
        self.late = False
        self.task = asyncio.current_task()

    async def receive(self) -> Message:
        """Receive as ASGI says."""
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Send as ASGI says, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = (b"x-request-id", self.request_id.encode())
            headers = [*message.get("headers", ()), *SECURITY, own, *self.more]
            if not any(name == POLICY[0] for name, _ in headers):
                headers.append(POLICY)
            message["headers"] = headers
        elif self._leaves_unread and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def answer(self, status: int, media: bytes, body: bytes, more: Headers | None = None) -> None:
        """Answer with a body that is in memory."""
        headers = [(b"content-type", media), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers + (more or [])})
        await self.send({"type": "http.response.body", "body": body})

    @property
    def _leaves_unread(self) -> bool:
        """Whether the connection would be closed while the client still writes, which may cost it the answer."""
        if self._read or self.headers.get(b"connection", b"").lower() != b"close" or b"expect" in self.headers:
            return False
        return b"content-length" in self.headers or b"transfer-encoding" in self.headers

    async def _drain(self) -> None:
        """Read what is left of the body, and keep nothing of it."""
        self.reading = True
        with contextlib.suppress(Disconnected):
            while not self._read:
                self._chunk(await self._receive())
        self.reading = False

    async def body(self, limit: int) -> bytes:
        """Return the body.

        Raises
        ------
        RequestError
            413 as soon as it is known to be larger than ``limit``.
        Disconnected
            If the client goes away.
        """
        self._check_length(limit)
        self.reading = True
        body = self._chunk(await self._receive())
        if not self._read:
            chunks, size = [body], len(body)
            while not self._read and size <= limit:
                chunks.append(self._chunk(await self._receive()))
                size += len(chunks[-1])
            body = b"".join(chunks)
        self.reading = False
        self._check_size(len(body), limit)
        return body

    async def spooled(self, limit: int) -> IO[bytes]:
        """Return the body as a file at its start: in memory while it is small, else on disk, under no name.

        Raises
        ------
        RequestError, Disconnected
            As `body`.
        """
        self._check_length(limit)
        self.reading = True
        spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - whoever gets it closes it
        try:
            while not self._read:
                spool.write(self._chunk(await self._receive()))
                self._check_size(spool.tell(), limit)
        except BaseException:
            spool.close()
            raise
        self.reading = False
        spool.seek(0)
        return spool

    def _check_length(self, limit: int) -> None:
        announced = self.headers.get(b"content-length", b"0")
        if announced.isdigit():
            self._check_size(int(announced), limit)

    @staticmethod
    def _check_size(size: int, limit: int) -> None:
        if size > limit:
            raise RequestError(
                413,
                "too_large",
                f"The body is larger than {limit / 1e6:g} MB, which is the most here; send it in parts.",
            )

    def _chunk(self, message: Message) -> bytes:
        """Return the part of the body that a message brings."""
        if message["type"] == "http.disconnect":
            raise Disconnected
        self._read = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body
