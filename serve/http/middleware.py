"""What every request passes: id, limits, key, headers of its answer, metrics, log. Plain ASGI, as all pay for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec

from serve import logs
from serve.errors import RequestError, unavailable
from serve.http.call import CONTEXT, Disconnected, Receive, RequestContext, Scope, Send
from serve.http.service import Service
from serve.metrics import ENDPOINTS, OTHER

logger = logging.getLogger(__name__)

JSON = b"application/json"
PUBLIC = frozenset({"/health", "/ready"})
ADMIN = frozenset({"/model/reload"})
NAMES = {path: path for path in ENDPOINTS}
GONE = 499  # the client went away; no answer was possible


class Middleware:
    """Wraps the application.

    Parameters
    ----------
    app : ASGI application
        Gets every request that may pass.
    hot : mapping of str to ASGI application
        POST endpoints that are called without asking the router.
    service : Service
    """

    def __init__(self, app: object, hot: Mapping[str, object], service: Service) -> None:
        self._app = app
        self._hot = dict(hot)
        self._service = service
        self._most = service.settings.concurrency
        self._origins = frozenset(origin.encode() for origin in service.settings.cors_origin)
        self._guarded = not service.gate.open or service.rate is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # type: ignore[operator]
            return
        service = self._service
        call = RequestContext(scope, receive, send, service.ids)
        path = scope["path"]
        calls = service.calls
        token = logs.request_id.set(call.request_id)
        calls.add(call)
        try:
            if self._guarded or path in ADMIN or b"origin" in call.headers:
                if await self._preflight(call):
                    return
                self._admit(call, path)
            if len(calls) > self._most:
                self._crowded(path)
            scope[CONTEXT] = call
            endpoint = self._hot.get(path) if scope["method"] == "POST" else None
            await (endpoint or self._app)(scope, call.receive, call.send)  # type: ignore[operator]
        except RequestError as refused:
            await refuse(call, refused)
        except Disconnected:
            call.status, call.kind = GONE, "disconnected"
        except asyncio.CancelledError:
            if not call.late:
                raise
            if call.task is not None:
                call.task.uncancel()
            if not call.status:  # else it is answered, and what is left of its body is not waited for
                await refuse(call, RequestError(408, "body_timeout", "The body did not arrive in time.", headers=CLOSE))
        except Exception:
            logger.exception("the request failed by a mistake in mlsys")
            if not call.status:
                await refuse(call, RequestError(500, "internal", "The service made a mistake; its log says more."))
        finally:
            calls.discard(call)
            logs.request_id.reset(token)
            self._record(call, path)

    def _admit(self, call: RequestContext, path: str) -> None:
        """Check key and rate.

        Raises
        ------
        RequestError
        """
        if path in PUBLIC:
            return
        service = self._service
        client = call.scope.get("client")
        call.client = client[0] if client else ""
        try:
            name = service.gate.admit(call.headers, "admin" if path in ADMIN else "score")
        except RequestError:
            if service.rate is not None:  # guesses count as well
                service.rate.check(call.client)
            raise
        call.client = name or call.client
        if service.rate is not None:
            service.rate.check(call.client)

    def _crowded(self, path: str) -> None:
        if path not in PUBLIC:
            raise unavailable("concurrency", f"{self._most} requests are in work already; send it again soon.")

    async def _preflight(self, call: RequestContext) -> bool:
        """Let pages of the allowed origins call; answer the browser's question, if this is it."""
        origin = call.headers.get(b"origin")
        if origin is None or origin not in self._origins:
            return False
        call.more = [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"x-request-id, retry-after"),
            (b"vary", b"origin"),
        ]
        if call.scope["method"] != "OPTIONS" or b"access-control-request-method" not in call.headers:
            return False
        await call.answer(
            204,
            b"text/plain",
            b"",
            [
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", b"content-type, authorization, x-api-key, x-request-id"),
                (b"access-control-max-age", b"600"),
            ],
        )
        return True

    def _record(self, call: RequestContext, path: str) -> None:
        service = self._service
        seconds = time.perf_counter() - call.started
        service.metrics.answered(NAMES.get(path, OTHER), call.status, seconds)
        if call.kind is not None:
            service.metrics.failed(call.kind)
        service.access.add(
            call.request_id, call.scope["method"], path, call.status, seconds, call.kind, call.rows, call.client
        )


CLOSE = {"connection": "close"}


async def refuse(call: RequestContext, refused: RequestError) -> None:
    """Answer with why there is no other answer; if one has begun already, it just ends."""
    call.kind = refused.kind
    if call.status:
        logger.error("the answer had begun when the request was refused: %s", refused.message)
        return
    headers = [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    await call.answer(refused.status, JSON, msgspec.json.encode(refused.body(call.request_id)), headers)
