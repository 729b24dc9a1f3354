"""What comes before a request's body, limited in size and in time: uvicorn would keep all of it, and wait for ever."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve.errors import RequestError
from serve.http.call import POLICY, SECURITY
from serve.http.service import Service
from serve.metrics import OTHER

HEAD_LIMIT = 65_536  # bytes, as most servers have it
JSON = (b"content-type", b"application/json")


class HeaderLimits(HttpToolsProtocol):
    """Uvicorn's protocol of one connection, which refuses heads that are too long, too slow or none.

    Bytes count that bring neither a whole head nor a part of a body: headers, trailers, extensions of chunks.
    """

    service: Service
    _late: asyncio.TimerHandle | None = None
    _in_head = _progress = False
    _in_vain = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came from the client."""
        self._progress = False
        super().data_received(data)
        if self._progress:
            self._in_vain = 0
        else:
            self._in_vain += len(data)
            if self._in_vain > HEAD_LIMIT:
                most = HEAD_LIMIT // 1024
                message = f"Address and headers are larger than {most} KB; send less, and what is to be scored as body."
                self._end(RequestError(431, "headers_too_large", message))
        if self._in_head and self._late is None:
            self._wait()

    def on_message_begin(self) -> None:
        """Expect a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is there, and go on."""
        self.head_is_here()
        super().on_headers_complete()

    def head_is_here(self) -> None:
        """Wait for it no longer."""
        self._in_head, self._progress = False, True
        if self._late is not None:
            self._stop_waiting()

    def on_body(self, body: bytes) -> None:
        """Note that there is more of the body."""
        self._progress = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of all refusals."""
        self._end(
            RequestError(400, "malformed_http", f"{msg} Send HTTP/1.1, with one right Content-Length or in chunks.")
        )

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.service.settings.body_timeout, self._too_late)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self._in_head:
            self._end(RequestError(408, "head_timeout", "The headers did not arrive in time; send it again, at once."))
        else:
            self.transport.close()  # nothing was asked

    def _end(self, refused: RequestError) -> None:
        """Answer with why there is no other answer, where none is under way, and hang up."""
        if self.transport.is_closing():
            return
        service, status = self.service, HTTPStatus(refused.status)
        request_id = service.ids.of({})
        content = msgspec.json.encode(refused.body(request_id))
        if self.cycle is None or self.cycle.response_complete:
            lines = [
                *self.server_state.default_headers,
                JSON,
                *SECURITY,
                POLICY,
                (b"x-request-id", request_id.encode()),
            ]
            lines += [(b"connection", b"close"), (b"content-length", str(len(content)).encode())]
            head = b"".join(b"%b: %b\r\n" % line for line in lines)
            first = f"HTTP/1.1 {refused.status} {status.phrase}\r\n".encode()
            self.transport.write(first + head + b"\r\n" + content)
        self.transport.close()
        service.metrics.answered(OTHER, refused.status, 0.0)
        service.metrics.failed(refused.kind)
        client = self.client[0] if self.client else ""
        service.access.add(request_id, "", "", refused.status, 0.0, refused.kind, None, client)
