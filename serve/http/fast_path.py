"""A shorter way for the request that comes most: one plain record to POST /predict.

For each request uvicorn makes a task and passes ASGI messages, which together take several times as long as the score.
Here the answer is written as soon as the body is there. Whatever is not plain (a reason to refuse it, explanations, a
body that comes in parts, a connection that ends) goes the long way, through `serve.http.middleware`, as if this way was
not there: nothing has been counted or logged by then.
"""

from __future__ import annotations

import logging
import time

from serve.errors import RequestError
from serve.http.call import POLICY, SECURITY, Headers
from serve.http.header_limits import HeaderLimits
from serve.http.predict import JSON_BYTES, Predict
from serve.http.service import Service
from serve.scoring import InvalidInput

logger = logging.getLogger(__name__)

PATH, RAW_PATH = "/predict", b"/predict"


class FastPath:
    """Answers plain records.

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
        self._most = service.settings.concurrency
        self._open = not service.log.durable and service.rate is None  # else an answer, or a refusal, has to wait
        self._start: Headers | None = None
        self._head = b""

    def is_open(self) -> bool:
        """Tell whether a request may come this way at the moment."""
        service = self.service
        return self._open and service.holder.shadow is None and len(service.calls) < self._most

    def answer(
        self, given: Headers, query: bytes, body: bytes, client: str, started: float, start: Headers
    ) -> bytes | None:
        """Return a whole answer, to be written; None for what is to go the long way.

        Parameters
        ----------
        given : list
            The request's headers, names in lower case.
        query : bytes
            What stands behind the question mark of its address.
        body : bytes
        client : str
            The client's address.
        started : float
            When the headers were there, as of `time.perf_counter`.
        start : list
            The headers with which every answer of the server begins.
        """
        headers = dict(given)
        if headers.get(b"content-type") != JSON_BYTES or b"origin" in headers or b"expect" in headers:
            return None
        service, who = self.service, ""
        request_id = service.ids.of(headers)
        try:
            if not service.gate.open:
                who = service.gate.admit(headers, "score") or client
            answer = self._predict.plain(body, query, request_id)
        except (RequestError, InvalidInput):
            return None
        if answer is None:
            return None
        content, row, probability, warned = answer
        seconds = time.perf_counter() - started
        service.metrics.predicted(seconds, probability, warned=warned)
        service.access.add(request_id, "POST", PATH, 200, seconds, None, None, who)
        if row is not None:
            service.log.put((row,))
        if start is not self._start:
            self._start, self._head = start, _head(start)
        return b"%b%d\r\nx-request-id: %b\r\n\r\n%b" % (self._head, len(content), request_id.encode(), content)


def _head(start: Headers) -> bytes:
    """Return an answer's beginning, up to the value of its content-length; a server has a new date each second."""
    lines = [*start, (b"content-type", JSON_BYTES), *SECURITY, POLICY]
    joined = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"HTTP/1.1 200 OK\r\n" + joined + b"content-length: "


class FastPathProtocol(HeaderLimits):
    """The protocol of one connection, with the short way; made by `protocol_with`.

    A request that may be plain is held until its body is there. Where it turns out not to be, it is given to uvicorn
    as if it had just come.
    """

    short_way: FastPath
    _held = False
    _body = b""
    _started = 0.0

    def data_received(self, data: bytes) -> None:
        """Take what came from the client."""
        super().data_received(data)
        if self._held:  # the rest of its body comes later
            self._go_the_long_way()

    def on_headers_complete(self) -> None:
        """Hold a request that may be plain."""
        self.head_is_here()
        if self._may_be_plain():
            self._held, self._body, self._started = True, b"", time.perf_counter()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._held:
            self._progress = True
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a request that is held; it is whole now."""
        if not self._held:
            super().on_message_complete()
            return
        answer = self._answer()
        if answer is None:
            self._go_the_long_way()
            super().on_message_complete()
            return
        self._held = False
        self.transport.write(answer)
        self.on_response_complete()

    def _may_be_plain(self) -> bool:
        path, _, _ = self.url.partition(b"?")
        return (
            path == RAW_PATH
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and (self.cycle is None or self.cycle.response_complete)  # else it has to wait for that answer
            and not self.flow.write_paused
            and self.short_way.is_open()
        )

    def _answer(self) -> bytes | None:
        if self.transport.is_closing():
            return None
        client = self.client[0] if self.client else ""
        query = self.url.partition(b"?")[2]
        start = self.server_state.default_headers
        try:
            return self.short_way.answer(self.headers, query, self._body, client, self._started, start)
        except Exception:  # or the connection would be lost; the long way answers
            logger.exception("the short way failed by a mistake in mlsys")
            return None

    def _go_the_long_way(self) -> None:
        self._held = False
        super().on_headers_complete()
        if self._body:
            super().on_body(self._body)


def protocol_with(short_way: FastPath) -> type[FastPathProtocol]:
    """Return the protocol for a service; uvicorn makes one for each connection."""
    return type("FastPathProtocol", (FastPathProtocol,), {"short_way": short_way, "service": short_way.service})
