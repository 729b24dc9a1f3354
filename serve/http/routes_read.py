"""The endpoints that read: who is well, what is served, metrics and pages."""

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
from serve.http.routes_model import describe, listed
from serve.http.service import Service
from serve.metrics import CONTENT_TYPE
from serve.openapi import document, example_record
from serve.page import POLICY as HOME_POLICY
from serve.page import home_page


class ReadEndpoints:
    """The GET endpoints of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def routes(self) -> list[Route]:
        """What they are."""
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
        """Return the OpenAPI document of the model that is served now."""
        return document(self._service.holder.champion, keys=not self._service.gate.open)

    async def health(self, _: Request) -> Response:
        """Say that the process is alive."""
        return _json({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """Say whether requests should come here: a model is loaded, checked, and the service is not about to end."""
        if self._service.draining:
            return _json({"status": "stopping"}, 503)
        return _json({"status": "ready", "model": self._service.holder.champion.model})

    async def info(self, _: Request) -> Response:
        """Say what is served."""
        return _json(await asyncio.to_thread(describe, self._service))

    async def models(self, _: Request) -> Response:
        """Say what could be served."""
        try:
            return _json(await asyncio.to_thread(listed, self._service))
        except MlsysError as error:
            raise RequestError(503, "registry", f"The registry cannot be read: {error}") from None

    async def metrics(self, _: Request) -> Response:
        """Give the metrics to Prometheus."""
        self._service.update_gauges()
        self._service.metrics.settle()
        return Response(await asyncio.to_thread(self._service.metrics.text), media_type=CONTENT_TYPE)

    async def openapi(self, _: Request) -> Response:
        """Give the OpenAPI document."""
        return _json(self.document())

    async def docs(self, _: Request) -> Response:
        """Give the OpenAPI document as a page."""
        page = docs_page(self.document(), example_record(self._service.holder.champion.schema))
        return HTMLResponse(page, headers={"content-security-policy": POLICY})

    async def home(self, _: Request) -> Response:
        """Give the page for people."""
        page = home_page(self._service.holder.champion, keys=not self._service.gate.open)
        return HTMLResponse(page, headers={"content-security-policy": HOME_POLICY})


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
