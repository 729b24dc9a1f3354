"""GET /model/info, GET /models and POST /model/reload."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from mlsys.errors import MlsysError
from mlsys.registry.folder import model_names, read_state
from serve.errors import RequestError
from serve.http.request_context import CONTEXT, Receive, RequestContext, Scope, Send
from serve.http.service import Service
from serve.json_body import parse_json
from serve.media_types import require_json
from serve.model_reference import REGISTRY, ResolvedModel, resolve_model, shadow_reference
from serve.shared_state import Models

RELOAD_LIMIT = 10_000  # bytes


def describe(service: Service) -> dict[str, Any]:
    """Return the response of GET /model/info."""
    model, shadow = service.slot.champion, service.slot.shadow
    run = model.scorer.run
    manifest = run.manifest
    return {
        **model.info,
        "reference": model.resolved.reference if model.resolved.reference.startswith(REGISTRY) else None,
        "path": model.scorer.path,
        "reason": model.scorer.reason,
        "threshold": model.scorer.threshold,
        "trained": manifest.created,
        "mlsys_version": manifest.mlsys_version,
        "data_fingerprint": manifest.data_fingerprint,
        "packages": dict(manifest.packages),
        "loaded": model.loaded_at,
        "load_seconds": round(model.load_seconds, 3),
        "golden_rows": "reproduced",
        "metrics": run.metrics.get("overall", {}),
        "audit": run.audit.get("status"),
        "shadow": shadow and shadow.info,
        "last_failed_swap": service.slot.last_failure,
        "prediction_log": {
            "enabled": service.log.name is not None,
            "durable": service.log.durable,
            "features": service.log.features,
        },
        "schema": model.schema,
    }


def list_models(service: Service) -> dict[str, Any]:
    """Return the response of GET /models: the models served, and the registry if they come from it."""
    model, shadow = service.slot.champion, service.slot.shadow
    response: dict[str, Any] = {"serving": model.info, "shadow": shadow and shadow.info, "models": []}
    if service.settings.run.startswith(REGISTRY):
        response["models"] = [_versions(name, service.registry) for name in model_names(service.registry)]
    return response


def _versions(name: str, registry: Path) -> dict[str, Any]:
    state = read_state(name, registry)
    return {
        "name": name,
        "aliases": dict(state.aliases),
        "versions": [
            {"version": version, "added": entry.time, "aliases": state.aliases_of(version)}
            for version, entry in state.added.items()
        ],
    }


class Reload:
    """POST /model/reload as an ASGI application."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the context has them
        """Resolve the reference again, or the requested version; load and check the model, then swap."""
        context: RequestContext = scope[CONTEXT]
        body = await context.body(RELOAD_LIMIT)
        if body.strip():
            require_json(context.headers)
        version = _requested_version(parse_json(body)) if body.strip() else None
        slot = self._service.slot
        previous = slot.champion
        try:
            ticket = await asyncio.to_thread(self._service.take_ticket)
            models = await asyncio.to_thread(self._models, version)
            changed = await self._service.swap(models, ticket)
        except MlsysError as error:
            message = f"Cannot load the model, still serving {previous.version}: {error}"
            raise RequestError(409, "not_reloaded", message) from None
        response = {
            "changed": changed,
            "model": models.champion.info,
            "before": previous.info,
            "request_id": context.request_id,
        }
        await context.respond(200, b"application/json", msgspec.json.encode(response))

    def _models(self, version: str | None) -> Models:
        settings = self._service.settings
        reference = settings.run
        if version is not None:
            if not reference.startswith(REGISTRY):
                raise RequestError(
                    422, "invalid_input", "Only registered models have versions; send {} to reload the run directory."
                )
            reference = f"{reference.partition('@')[0]}@{version}"
        champion = resolve_model(reference, self._service.registry)
        return Models(champion, self._shadow(settings.shadow))

    def _shadow(self, shadow: str | None) -> ResolvedModel | None:
        if shadow is None:
            return None
        return resolve_model(shadow_reference(shadow, self._service.settings.run), self._service.registry)


def _requested_version(body: object) -> str | None:
    """Return the requested version, or None for the reference given at startup."""
    if not isinstance(body, dict) or not set(body) <= {"version"} or not isinstance(body.get("version", ""), str):
        raise RequestError(
            422, "invalid_input", 'The body must be {} or name a version or alias, such as {"version": "1.2.0"}.'
        )
    version: str | None = body.get("version")
    return version.removeprefix("@") if version is not None else None
