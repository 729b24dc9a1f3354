"""The application: FastAPI's, with the endpoints of this service, inside the pipeline that every request passes."""

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
from serve.errors import RequestError
from serve.http.call import CONTEXT
from serve.http.middleware import Middleware
from serve.http.predict import Predict
from serve.http.routes_batch import BatchEndpoint
from serve.http.routes_model import Reload
from serve.http.routes_read import ReadEndpoints
from serve.http.service import Service


def create_app(service: Service) -> Middleware:
    """Return the service as an ASGI application.

    Parameters
    ----------
    service : Service
        Its models are loaded already: the application is ready when it starts.
    """
    hot: dict[str, Any] = {
        "/predict": Predict(service),
        "/predict/batch": BatchEndpoint(service, "batch", media_types.BATCH),
        "/score": BatchEndpoint(service, "score", (media_types.JSON,)),
        "/model/reload": Reload(service),
    }
    reading = ReadEndpoints(service)
    app = FastAPI(
        openapi_url=None,  # ours is made from the run's schema: the routes take bytes, so FastAPI knows no fields
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: _lifespan(service),
        exception_handlers={RequestError: _refused, HTTPException: _http},
        redirect_slashes=False,
        routes=[*reading.routes, *(Route(path, endpoint, methods=["POST"]) for path, endpoint in hot.items())],
    )
    app.openapi = reading.document  # type: ignore[method-assign]
    return Middleware(app, hot, service)


@contextlib.asynccontextmanager
async def _lifespan(service: Service) -> AsyncIterator[None]:
    task = asyncio.create_task(service.run_background_tasks())
    yield
    service.draining = True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    service.metrics.settle()
    await asyncio.to_thread(service.log.close, 5.0)
    service.access.flush()


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    call = request.scope[CONTEXT]
    call.kind = error.kind
    return Response(
        msgspec.json.encode(error.body(call.request_id)),
        error.status,
        headers=error.headers,
        media_type="application/json",
    )


async def _http(request: Request, error: Exception) -> Response:
    """Say what Starlette refuses (no such path, wrong method) as everything else is said."""
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"][:80], request.scope["method"]
    if error.status_code == 405:
        message = f"{path} takes {(error.headers or {}).get('Allow', 'another method')}, not {method}."
    else:
        message = f"There is nothing at {path}; GET /docs lists what there is."
    kind = "method" if error.status_code == 405 else "not_found"
    return await _refused(request, RequestError(error.status_code, kind, message, headers=dict(error.headers or {})))
