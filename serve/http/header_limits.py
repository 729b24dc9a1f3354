"""Limits on the size and arrival time of request headers: uvicorn would buffer any amount and wait forever."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve.errors import RequestError
from serve.http.request_context import POLICY, SECURITY
from serve.http.service import Service
from serve.metrics import OTHER

HEADER_LIMIT = 65_536  # bytes, as in most servers
JSON = (b"content-type", b"application/json")


class HeaderLimits(HttpToolsProtocol):
    """Uvicorn's protocol of one connection, with limits on headers that are too large, too slow or malformed.

    Bytes count towards the limit if they complete neither the headers nor a part of a body: headers, trailers, chunk
    extensions.
    """

    service: Service
    _timeout: asyncio.TimerHandle | None = None
    _in_headers = _progress = False
    _bytes_without_progress = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        super().connection_made(transport)
        self._start_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for a request."""
        self._cancel_timeout()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process data from the client."""
        self._progress = False
        super().data_received(data)
        if self._progress:
            self._bytes_without_progress = 0
        else:
            self._bytes_without_progress += len(data)
            if self._bytes_without_progress > HEADER_LIMIT:
                message = f"URL and headers exceed {HEADER_LIMIT // 1024} KB; send the data to score as the body."
                self._abort(RequestError(431, "headers_too_large", message))
        if self._in_headers and self._timeout is None:
            self._start_timeout()

    def on_message_begin(self) -> None:
        """Start expecting headers."""
        self._in_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop expecting headers."""
        self.headers_received()
        super().on_headers_complete()

    def headers_received(self) -> None:
        """Note that the headers are complete and cancel their timeout."""
        self._in_headers, self._progress = False, True
        if self._timeout is not None:
            self._cancel_timeout()

    def on_body(self, body: bytes) -> None:
        """Note that a part of the body has arrived."""
        self._progress = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Reject malformed HTTP in the format of all errors."""
        self._abort(
            RequestError(
                400, "malformed_http", f"{msg} Send HTTP/1.1 with a correct Content-Length or chunked encoding."
            )
        )

    def _start_timeout(self) -> None:
        self._timeout = self.loop.call_later(self.service.settings.body_timeout, self._on_timeout)

    def _cancel_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _on_timeout(self) -> None:
        self._timeout = None
        if self._in_headers:
            self._abort(RequestError(408, "head_timeout", "Timed out waiting for the request headers; send it again."))
        else:
            self.transport.close()  # no request was sent

    def _abort(self, error: RequestError) -> None:
        """Send an error response, unless another response is in progress, and close the connection."""
        if self.transport.is_closing():
            return
        service, status = self.service, HTTPStatus(error.status)
        request_id = service.request_ids.for_request({})
        content = msgspec.json.encode(error.body(request_id))
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
            status_line = f"HTTP/1.1 {error.status} {status.phrase}\r\n".encode()
            self.transport.write(status_line + head + b"\r\n" + content)
        self.transport.close()
        service.metrics.record_request(OTHER, error.status, 0.0)
        service.metrics.record_error(error.kind)
        client = self.client[0] if self.client else ""
        service.access_log.add(request_id, "", "", error.status, 0.0, error.kind, None, client)
