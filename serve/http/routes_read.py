"""Read-only endpoints: health, model information, metrics and pages."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mlsys.errors import MlsysError
from serve.errors import RequestError
from serve.http.docs_page import POLICY, docs_page
from serve.http.routes_model import describe, list_models
from serve.http.service import Service
from serve.metrics import CONTENT_TYPE
from serve.openapi import document
from serve.page import POLICY as HOME_POLICY
from serve.page import home_page


class ReadEndpoints:
    """The GET endpoints of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def routes(self) -> list[Route]:
        """Routes of the endpoints."""
        return [
            Route("/", self.home, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/ready", self.ready, methods=["GET"]),
            Route("/model/info", self.info, methods=["GET"]),
            Route("/models", self.models, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/docs", self.docs, methods=["GET"]),
        ]

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document of the model being served."""
        return document(self._service.slot.champion, keys=not self._service.key_check.open)

    async def health(self, _: Request) -> Response:
        """GET /health: the process is alive."""
        return _json({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """GET /ready: a model is loaded and checked, and the service is not shutting down."""
        if self._service.draining:
            return _json({"status": "stopping"}, 503)
        return _json({"status": "ready", "model": self._service.slot.champion.info})

    async def info(self, _: Request) -> Response:
        """GET /model/info: the model being served."""
        return _json(await asyncio.to_thread(describe, self._service))

    async def models(self, _: Request) -> Response:
        """GET /models: the models that can be served."""
        try:
            return _json(await asyncio.to_thread(list_models, self._service))
        except MlsysError as error:
            raise RequestError(503, "registry", f"Cannot read the registry: {error}") from None

    async def metrics(self, _: Request) -> Response:
        """GET /metrics: metrics for Prometheus."""
        self._service.update_gauges()
        self._service.metrics.flush()
        return Response(await asyncio.to_thread(self._service.metrics.render), media_type=CONTENT_TYPE)

    async def openapi(self, _: Request) -> Response:
        """GET /openapi.json: the OpenAPI document."""
        return _json(self.document())

    async def docs(self, _: Request) -> Response:
        """GET /docs: the OpenAPI document as an HTML page."""
        page = docs_page(self.document())
        return HTMLResponse(page, headers={"content-security-policy": POLICY})

    async def home(self, _: Request) -> Response:
        """GET /: the HTML page for scoring by hand."""
        page = home_page(self._service.slot.champion, keys=not self._service.key_check.open)
        return HTMLResponse(page, headers={"content-security-policy": HOME_POLICY})


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
