"""Middleware for every request: id, limits, API key, response headers, metrics, access log.

It is plain ASGI, because every request pays for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec

from mlsys.text import counted, is_or_are
from serve import logs
from serve.errors import RequestError, internal_error, unavailable
from serve.http.request_context import CONTEXT, ClientDisconnectedError, Receive, RequestContext, Scope, Send
from serve.http.service import Service
from serve.metrics import ENDPOINTS, OTHER

logger = logging.getLogger(__name__)

JSON = b"application/json"
PUBLIC = frozenset({"/health", "/ready"})
ADMIN = frozenset({"/model/reload"})
NAMES = {path: path for path in ENDPOINTS}
CLIENT_CLOSED_REQUEST = 499  # no response was possible
CONNECTION_CLOSE = (b"connection", b"close")


class Middleware:
    """Wrap the application.

    Parameters
    ----------
    app : ASGI application
        Application that handles the admitted requests.
    post_endpoints : mapping of str to ASGI application
        POST endpoints by path, called directly instead of through the router.
    service : Service
    """

    def __init__(self, app: object, post_endpoints: Mapping[str, object], service: Service) -> None:
        self._app = app
        self._post_endpoints = dict(post_endpoints)
        self._service = service
        self._max_in_flight = service.settings.concurrency
        self._origins = frozenset(origin.encode() for origin in service.settings.cors_origin)
        self._has_admission_checks = not service.key_check.open or service.rate is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # type: ignore[operator]
            return
        service = self._service
        context = RequestContext(scope, receive, send, service.request_ids)
        path = scope["path"]
        in_flight = service.in_flight
        token = logs.request_id.set(context.request_id)
        in_flight.add(context)
        try:
            if service.draining:
                context.extra_headers.append(CONNECTION_CLOSE)
            service.hosts.check([value for name, value in scope["headers"] if name == b"host"])
            if self._has_admission_checks or path in ADMIN or b"origin" in context.headers:
                if await self._preflight(context):
                    return
                self._authorize(context, path)
            if len(in_flight) > self._max_in_flight:
                self._reject_overload(path)
            scope[CONTEXT] = context
            endpoint = self._post_endpoints.get(path) if scope["method"] == "POST" else None
            await (endpoint or self._app)(scope, context.receive, context.send)  # type: ignore[operator]
        except RequestError as error:
            await send_error(context, error)
        except ClientDisconnectedError:
            context.status, context.error_kind = CLIENT_CLOSED_REQUEST, "disconnected"
        except asyncio.CancelledError:
            if context.cancelled_by is None:
                raise
            if context.task is not None:
                context.task.uncancel()
            if not context.status:  # else it has been answered, and only the rest of its body was being read
                await send_error(context, context.cancelled_by)
        except Exception:  # the outermost frame of a request: log the traceback, never send it
            logger.exception("internal error while handling the request")
            if not context.status:
                await send_error(context, internal_error())
        finally:
            in_flight.discard(context)
            logs.request_id.reset(token)
            self._record(context, path)

    def _authorize(self, context: RequestContext, path: str) -> None:
        """Check the API key and the rate limit.

        Raises
        ------
        RequestError
        """
        if path in PUBLIC:
            return
        service = self._service
        client = context.scope.get("client")
        context.client = client[0] if client else ""
        try:
            name = service.key_check.authorize(context.headers, "admin" if path in ADMIN else "score")
        except RequestError:
            if service.rate is not None:  # attempts with wrong keys count too
                service.rate.check(context.client)
            raise
        context.client = name or context.client
        if service.rate is not None:
            service.rate.check(context.client)

    def _reject_overload(self, path: str) -> None:
        if path not in PUBLIC:
            requests, verb = counted(self._max_in_flight, "request"), is_or_are(self._max_in_flight)
            raise unavailable("concurrency", f"Overloaded; {requests} {verb} in progress. Retry later.")

    async def _preflight(self, context: RequestContext) -> bool:
        """Add CORS headers for an allowed origin; answer a preflight request and return whether it was one."""
        origin = context.headers.get(b"origin")
        if origin is None or origin not in self._origins:
            return False
        context.extra_headers += [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"x-request-id, retry-after"),
            (b"vary", b"origin"),
        ]
        if context.scope["method"] != "OPTIONS" or b"access-control-request-method" not in context.headers:
            return False
        await context.respond(
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

    def _record(self, context: RequestContext, path: str) -> None:
        service = self._service
        seconds = time.perf_counter() - context.started
        service.metrics.record_request(NAMES.get(path, OTHER), context.status, seconds)
        if context.error_kind is not None:
            service.metrics.record_error(context.error_kind)
        service.access_log.add(
            context.request_id,
            context.scope["method"],
            path,
            context.status,
            seconds,
            context.error_kind,
            context.rows,
            context.client,
        )


async def send_error(context: RequestContext, error: RequestError) -> None:
    """Send an error response, unless another response has already started."""
    context.error_kind = error.kind
    if context.status:
        logger.error("the request failed after its response had started: %s", error.message)
        return
    headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
    await context.respond(error.status, JSON, msgspec.json.encode(error.body(context.request_id)), headers)
