"""Connections: limits on the size and arrival time of request headers, and an end at which no response is lost.

Uvicorn would buffer any amount of headers and wait forever. It would also close a connection while the client still
sends, or has only finished sending, and so lose responses.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve.errors import RequestError
from serve.http.request_context import POLICY, SECURITY
from serve.http.service import Service
from serve.http.upgrade import head_without_offer
from serve.metrics import OTHER

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEADER_LIMIT = 65_536  # bytes, as in most servers
PIECE = 16_384  # bytes parsed at once, so that a limit does not depend on how much arrives together
LINGER_SECONDS, LINGER_BYTES = 5.0, 4_000_000  # for which a refused client may go on sending
JSON = (b"content-type", b"application/json")


class RefusedError(Exception):
    """The request has been refused while it was being parsed."""


class HeaderLimits(HttpToolsProtocol):
    """Uvicorn's protocol of one connection, with limits on headers that are too large, too slow or malformed.

    Bytes count towards the limit if they complete neither the headers nor a part of a body: headers, trailers, chunk
    extensions. Trailers are ignored: they arrive after the decisions that headers are for.
    """

    service: Service
    _timeout: asyncio.TimerHandle | None = None
    _in_headers = _progress = _offers_upgrade = _client_finished = False
    _refusing = False  # an error ends the connection: what still arrives is discarded
    _bytes_without_progress = _discarded = 0
    _piece = _since_begin = 0  # bytes being parsed, and parsed since the message began
    _running: RequestResponseCycle | None = None
    _last_error: RequestError | None = None  # sent once the requests before it are answered

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
        if self._refusing:
            self._discard(len(data))
            return
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if len(data) <= PIECE:
            self._parse(data)
        else:
            for start in range(0, len(data), PIECE):
                if self._refusing or self.transport.is_closing():
                    break
                self._parse(data[start : start + PIECE])
        if self._in_headers and self._timeout is None:
            self._start_timeout()

    def _parse(self, data: bytes) -> None:
        self._progress = False
        self._piece = piece = len(data)
        self._since_begin += piece
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_offer(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not isinstance(error.__context__, RefusedError):
                self.send_400_response("Invalid HTTP request received.")
            return
        if self._progress:
            self._bytes_without_progress = 0
        else:
            self._bytes_without_progress += piece
            if self._bytes_without_progress > HEADER_LIMIT:
                self._abort(_too_large())

    def _parse_without_offer(self, rest: bytes) -> None:
        self._offers_upgrade = False
        method, version = self.parser.get_method(), self.parser.get_http_version()
        head = head_without_offer(method, self.url, version, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._parse(head + rest)

    def on_message_begin(self) -> None:
        """Start expecting headers."""
        self._in_headers = True
        self._since_begin = self._piece
        HttpToolsProtocol.on_message_begin(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Process a header; ignore a trailer."""
        if self._in_headers:  # as in uvicorn, but without a second call for each header
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Stop expecting headers."""
        if self.headers_received():
            super().on_headers_complete()

    def headers_received(self) -> bool:
        """Note that the headers are complete and cancel their timeout; return whether to handle the request now.

        Raises
        ------
        RefusedError
            If the headers are too large, or the client takes this service for a proxy.
        """
        self._in_headers, self._progress = False, True
        if self._timeout is not None:
            self._cancel_timeout()
        if self._since_begin > HEADER_LIMIT and self._head_size() > HEADER_LIMIT:
            self._refuse(_too_large())
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                message = "Method CONNECT not allowed: this service is not a proxy."
                self._refuse(RequestError(405, "method", message, headers={"allow": "GET, POST"}))
            self._offers_upgrade = True
            return False
        return True

    def on_body(self, body: bytes) -> None:
        """Note that a part of the body has arrived."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request is complete, unless it will be parsed again."""
        if not self._offers_upgrade:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Reject malformed HTTP in the format of all errors."""
        self._abort(
            RequestError(
                400, "malformed_http", f"{msg} Send HTTP/1.1 with a correct Content-Length or chunked encoding."
            )
        )

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio allows
        """Keep the connection open for the responses to the complete requests of a client that has finished sending."""
        self._drop_incomplete()
        self._client_finished = self._is_responding()
        return self._client_finished

    def on_response_complete(self) -> None:
        """Start the next response, or end the connection after the last."""
        HttpToolsProtocol.on_response_complete(self)
        if (self._client_finished or self._refusing) and not self._is_responding():
            if self._last_error is None:
                self.transport.close()
            elif not self.transport.is_closing():
                self._send_last(self._last_error)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - as uvicorn's
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _is_responding(self) -> bool:
        return bool(self.pipeline) or (self._running is not None and not self._running.response_complete)

    def _head_size(self) -> int:
        """Return the size of the headers and the line before them, as clients usually write them."""
        first = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        return first + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers) + len("\r\n")

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

    def _refuse(self, error: RequestError) -> None:
        """Abort, and stop the parser, from one of its callbacks."""
        self._abort(error)
        raise RefusedError

    def _abort(self, error: RequestError) -> None:
        """Read no more requests; send an error response after those to the complete requests, then close."""
        if self.transport.is_closing() or self._refusing:
            return
        self._refusing, self._in_headers = True, False
        self._cancel_timeout()
        self._drop_incomplete()
        if self._is_responding():
            self._last_error = error
        else:
            self._send_last(error)

    def _drop_incomplete(self) -> None:
        """Drop the request whose body has not arrived completely and never will, if there is one."""
        cycle = self.cycle
        if cycle is None or not cycle.more_body or cycle.response_complete:
            return
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        elif cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = cycle.response_complete = True  # its handler ends as if the client had disconnected
            cycle.message_event.set()

    def _send_last(self, error: RequestError) -> None:
        """Send an error response and close.

        Closing while the client still sends would reset the connection, and the client would lose the response. So the
        connection is closed for writing first, and what still arrives is discarded for a while.
        """
        service, status = self.service, HTTPStatus(error.status)
        request_id = service.request_ids.for_request({})
        content = msgspec.json.encode(error.body(request_id))
        lines = [*self.server_state.default_headers, JSON, *SECURITY, POLICY, (b"x-request-id", request_id.encode())]
        lines += [(name.encode(), value.encode()) for name, value in error.headers.items()]
        lines += [(b"connection", b"close"), (b"content-length", str(len(content)).encode())]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        status_line = f"HTTP/1.1 {error.status} {status.phrase}\r\n".encode()
        self.transport.write(status_line + head + b"\r\n" + content)
        self._unset_keepalive_if_required()
        if self._client_finished:
            self.transport.close()
        else:
            self.transport.write_eof()
            self.flow.resume_reading()
            self._timeout = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        service.metrics.record_request(OTHER, error.status, 0.0)
        service.metrics.record_error(error.kind)
        client = self.client[0] if self.client else ""
        service.access_log.add(request_id, "", "", error.status, 0.0, error.kind, None, client)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self.transport.abort()


def _too_large() -> RequestError:
    message = f"URL and headers exceed {HEADER_LIMIT // 1024} KB; send the data to score as the body."
    return RequestError(431, "headers_too_large", message)
