"""The ASGI application: FastAPI with the endpoints of this service, wrapped in the middleware."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serve import media_types
from serve.errors import RequestError, internal_error
from serve.http.compression import Compression
from serve.http.middleware import Middleware
from serve.http.predict import Predict
from serve.http.request_context import CONTEXT
from serve.http.routes_batch import BatchEndpoint
from serve.http.routes_model import Reload
from serve.http.routes_read import ReadEndpoints
from serve.http.service import Service

# Classes of endpoints besides those for POST. Add your own here; see docs/extending.md.
ROUTES = [
    ReadEndpoints,
]


def create_app(service: Service) -> Middleware:
    """Return the service as an ASGI application.

    Parameters
    ----------
    service : Service
        Service whose models are loaded: the application is ready as soon as it starts.
    """
    post_endpoints: dict[str, Any] = {
        "/predict": Predict(service),
        "/predict/batch": Compression(BatchEndpoint(service, "batch", media_types.BATCH)),
        "/score": Compression(BatchEndpoint(service, "score", (media_types.JSON,))),
        "/model/reload": Reload(service),
    }
    app = FastAPI(
        openapi_url=None,  # generated from the run's schema instead: the routes take bytes, so FastAPI knows no fields
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: _lifespan(service),
        exception_handlers={
            RequestError: _on_request_error,
            HTTPException: _on_http_exception,
            Exception: _on_unforeseen_error,
        },
        redirect_slashes=False,
        routes=[
            *(route for endpoints in ROUTES for route in endpoints(service).routes),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post_endpoints.items()),
        ],
    )
    app.add_middleware(Compression)
    app.openapi = ReadEndpoints(service).document  # type: ignore[method-assign]
    return Middleware(app, post_endpoints, service)


@contextlib.asynccontextmanager
async def _lifespan(service: Service) -> AsyncIterator[None]:
    task = asyncio.create_task(service.run_background_tasks())
    yield
    service.draining = True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    service.metrics.flush()
    await asyncio.to_thread(service.log.close, 5.0)
    service.access_log.flush()


async def _on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    context = request.scope[CONTEXT]
    context.error_kind = error.kind
    return Response(
        msgspec.json.encode(error.body(context.request_id)),
        error.status,
        headers=error.headers,
        media_type="application/json",
    )


async def _on_unforeseen_error(request: Request, _: Exception) -> Response:
    """Return the error for a bug in mlsys; Starlette raises the exception again, and the middleware logs it."""
    return await _on_request_error(request, internal_error())


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Return Starlette's errors (unknown path, wrong method) in the format of all errors."""
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"][:80], request.scope["method"]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"Method {method} not allowed for {path}; use {allowed}."
    else:
        message = f"Not found: {path}; GET /docs lists the endpoints."
    kind = "method" if error.status_code == 405 else "not_found"
    return await _on_request_error(
        request, RequestError(error.status_code, kind, message, headers=dict(error.headers or {}))
    )
