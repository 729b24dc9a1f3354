"""Fast path for the most frequent request: one plain record to POST /predict.

For each request uvicorn creates a task and passes ASGI messages, which together take several times as long as the
score. The fast path writes the response as soon as the body is complete. Any other request (one that fails or asks for
reasons, an HTTP/1.0 client, a connection that is closing) takes the ASGI path through `serve.http.middleware`, as if
the fast path did not exist: nothing has been counted or logged by then.
"""

from __future__ import annotations

import logging
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve.errors import RequestError
from serve.http.header_limits import HeaderLimits
from serve.http.predict import JSON_BYTES, Predict
from serve.http.request_context import POLICY, SECURITY, Headers
from serve.http.service import Service
from serve.scoring import InvalidInput

logger = logging.getLogger(__name__)

PATH, RAW_PATH = "/predict", b"/predict"


class FastPath:
    """Respond to plain records.

    Parameters
    ----------
    service : Service

    Attributes
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._predict = Predict(service)
        self._max_in_flight = service.settings.concurrency
        self._enabled = not service.log.durable and service.rate is None  # both may have to wait before responding
        self._default_headers: Headers | None = None
        self._head = b""
        self._allows_host = service.hosts.allows

    def is_open(self) -> bool:
        """Return whether requests may take the fast path now."""
        service = self.service
        return (
            self._enabled
            and not service.draining
            and service.slot.shadow is None
            and len(service.in_flight) < self._max_in_flight
        )

    def respond(
        self, pairs: Headers, query: bytes, body: bytes, address: str, started: float, default_headers: Headers
    ) -> bytes | None:
        """Return a complete HTTP response, or None if the request has to take the ASGI path.

        Parameters
        ----------
        pairs : list
            Request headers, names in lower case.
        query : bytes
            Query string without the question mark.
        body : bytes
        address : str
            Address of the client.
        started : float
            Time at which the headers were complete, from `time.perf_counter`.
        default_headers : list
            Headers that the server puts first in every response.
        """
        headers = dict(pairs)
        service, client = self.service, ""
        if (
            len(headers) != len(pairs)  # the ASGI path decides about headers sent twice
            or headers.get(b"content-type") != JSON_BYTES
            or b"origin" in headers
            or b"expect" in headers
            or b"content-encoding" in headers
            or not self._allows_host(headers.get(b"host", b""))
        ):
            return None
        request_id = service.request_ids.for_request(headers)
        try:
            if not service.key_check.open:
                client = service.key_check.authorize(headers, "score") or address
            prediction = self._predict.plain(body, query, request_id)
        except (RequestError, InvalidInput):
            return None
        if prediction is None:
            return None
        content, row, probability, warned = prediction
        seconds = time.perf_counter() - started
        service.metrics.record_prediction(seconds, probability, warned=warned)
        service.access_log.add(request_id, "POST", PATH, 200, seconds, None, None, client)
        if row is not None:
            service.log.put((row,))
        if default_headers is not self._default_headers:
            self._default_headers, self._head = default_headers, _head(default_headers)
        return b"%b%d\r\nx-request-id: %b\r\n\r\n%b" % (self._head, len(content), request_id.encode(), content)


def _head(default_headers: Headers) -> bytes:
    """Return a response's head up to the value of content-length; the server's Date header changes every second."""
    lines = [*default_headers, (b"content-type", JSON_BYTES), *SECURITY, POLICY]
    joined = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"HTTP/1.1 200 OK\r\n" + joined + b"content-length: "


class FastPathProtocol(HeaderLimits):
    """Protocol of one connection with the fast path; created by `protocol_for`.

    A candidate request is held back until its body is complete. If it cannot take the fast path, it is passed on to
    uvicorn as if it had just arrived.
    """

    fast_path: FastPath
    _held = False
    _body = b""
    _started = 0.0

    def data_received(self, data: bytes) -> None:
        """Process data from the client."""
        HeaderLimits.data_received(self, data)
        if self._held and not self._refusing:  # the rest of its body comes later
            self._take_asgi_path()

    def on_headers_complete(self) -> None:
        """Hold the request back if it may take the fast path."""
        if not self.headers_received():
            return
        if self._may_be_plain():
            self._held, self._body, self._started = True, b"", time.perf_counter()
        else:
            HttpToolsProtocol.on_headers_complete(self)

    def on_body(self, body: bytes) -> None:
        """Process a part of the body."""
        if self._held:
            self._progress = True
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Respond to the held request, which is now complete."""
        if not self._held:
            super().on_message_complete()
            return
        response = self._respond()
        if response is None:
            self._take_asgi_path()
            super().on_message_complete()
            return
        self._held = False
        self.transport.write(response)
        self.on_response_complete()

    def _may_be_plain(self) -> bool:
        path, _, _ = self.url.partition(b"?")
        return (
            path == RAW_PATH
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and (self.cycle is None or self.cycle.response_complete)  # responses are sent in order
            and not self.flow.write_paused
            and self.fast_path.is_open()
        )

    def _respond(self) -> bytes | None:
        if self.transport.is_closing():
            return None
        address = self.client[0] if self.client else ""
        query = self.url.partition(b"?")[2]
        default_headers = self.server_state.default_headers
        try:
            return self.fast_path.respond(self.headers, query, self._body, address, self._started, default_headers)
        except Exception:  # otherwise the connection would be lost; the ASGI path responds
            logger.exception("internal error on the fast path; using the ASGI path")
            return None

    def _take_asgi_path(self) -> None:
        self._held = False
        HttpToolsProtocol.on_headers_complete(self)
        if self._body:
            super().on_body(self._body)


def protocol_for(fast_path: FastPath) -> type[FastPathProtocol]:
    """Return the protocol class for a service; uvicorn instantiates it for each connection."""
    return type("FastPathProtocol", (FastPathProtocol,), {"fast_path": fast_path, "service": fast_path.service})
