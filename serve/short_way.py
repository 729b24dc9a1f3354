"""A shorter way for the request that comes most: one plain record to POST /predict.

For each request uvicorn makes a task and passes ASGI messages, which together take several times as long as the score.
Here the answer is written as soon as the body is there. Whatever is not plain (a reason to refuse it, explanations, a
body that comes in parts, a connection that ends) goes the long way, through `serve.pipeline`, as if this way was not
there: nothing has been counted or logged by then.
"""

from __future__ import annotations

import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serve.call import POLICY, SECURITY, Headers, Scope
from serve.errors import Refused
from serve.predict import JSON_BYTES, Predict
from serve.scoring import InvalidInput
from serve.service import Service

PATH = "/predict"


class ShortWay:
    """Answers plain records.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._predict = Predict(service)
        self._most = service.settings.concurrency
        self._open = not service.log.durable and service.rate is None  # else an answer, or a refusal, has to wait
        self._start: list[tuple[bytes, bytes]] | None = None
        self._head = b""

    def is_open(self, scope: Scope) -> bool:
        """Tell by its first line whether a request may come this way."""
        service = self._service
        return (
            self._open
            and scope["path"] == PATH
            and scope["method"] == "POST"
            and service.holder.shadow is None
            and len(service.calls) < self._most
        )

    def answer(self, scope: Scope, body: bytes, started: float, start: Headers) -> bytes | None:
        """Return a whole answer, to be written; None for what is to go the long way.

        Parameters
        ----------
        scope : dict
            Of ASGI.
        body : bytes
        started : float
            When the request's headers were there, as of `time.perf_counter`.
        start : list
            The headers with which every answer of the server begins.
        """
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if headers.get(b"content-type") != JSON_BYTES or b"origin" in headers:
            return None
        service, who = self._service, ""
        request_id = service.ids.of(headers)
        try:
            if not service.gate.open:
                client = scope.get("client")
                who = service.gate.admit(headers, "score") or (client[0] if client else "")
            answer = self._predict.plain(body, scope["query_string"], request_id)
        except (Refused, InvalidInput):
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


class Protocol(HttpToolsProtocol):
    """Uvicorn's protocol of one connection, with the short way; made by `protocol_with`."""

    short_way: ShortWay
    _held: RequestResponseCycle | None = None  # a request whose body may be whole in a moment
    _started = 0.0

    def data_received(self, data: bytes) -> None:
        """Take what came from the client."""
        super().data_received(data)
        if self._held is not None:  # the rest of its body comes later
            self._go_the_long_way()

    def on_message_complete(self) -> None:
        """Answer a request that is held; it is whole now."""
        super().on_message_complete()
        cycle = self._held
        if cycle is None:
            return
        answer = None
        if not self.flow.write_paused and not self.transport.is_closing():
            scope = cast("Scope", cycle.scope)
            try:
                answer = self.short_way.answer(
                    scope, bytes(cycle.body), self._started, self.server_state.default_headers
                )
            except Exception:  # noqa: BLE001 - a mistake of ours: the long way meets it too, logs it and answers 500
                answer = None
        if answer is None:
            self._go_the_long_way()
            return
        self._held = None
        cycle.response_started = cycle.response_complete = True
        self.transport.write(answer)
        self.on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - an ASGI application
        plain = cycle.more_body and cycle.keep_alive and not cycle.waiting_for_100_continue
        if plain and app is self.app and self.short_way.is_open(cast("Scope", cycle.scope)):
            self._held, self._started = cycle, time.perf_counter()
        else:
            super()._start_asgi_task(cycle, app)

    def _go_the_long_way(self) -> None:
        cycle, self._held = self._held, None
        assert cycle is not None
        super()._start_asgi_task(cycle, self.app)


def protocol_with(short_way: ShortWay) -> type[Protocol]:
    """Return the protocol for a service; uvicorn makes one for each connection."""
    return type("Protocol", (Protocol,), {"short_way": short_way})
