"""What is served, what could be, and POST /model/reload."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from mlsys.errors import MlsysError
from mlsys.registry.folder import model_names, read_state
from serve.errors import RequestError
from serve.http.call import CONTEXT, Receive, RequestContext, Scope, Send
from serve.http.service import Service
from serve.json_body import parse_json
from serve.media_types import require_json
from serve.model_reference import REGISTRY, ResolvedModel, resolve_model, shadow_reference
from serve.shared_state import Models

RELOAD_LIMIT = 10_000  # bytes


def describe(service: Service) -> dict[str, Any]:
    """Return what GET /model/info says."""
    served, shadow = service.holder.champion, service.holder.shadow
    run = served.scorer.run
    manifest = run.manifest
    return {
        **served.model,
        "reference": served.target.reference if served.target.reference.startswith(REGISTRY) else None,
        "path": served.scorer.path,
        "reason": served.scorer.reason,
        "threshold": served.scorer.threshold,
        "trained": manifest.created,
        "mlsys_version": manifest.mlsys_version,
        "data_fingerprint": manifest.data_fingerprint,
        "packages": dict(manifest.packages),
        "loaded": served.loaded,
        "load_seconds": round(served.seconds, 3),
        "golden_rows": "reproduced",
        "metrics": run.metrics.get("overall", {}),
        "audit": run.audit.get("status"),
        "shadow": shadow and shadow.model,
        "last_failed_swap": service.holder.last_failure,
        "prediction_log": {
            "enabled": service.log.name is not None,
            "durable": service.log.durable,
            "features": service.log.features,
        },
        "schema": served.schema,
    }


def listed(service: Service) -> dict[str, Any]:
    """Return what GET /models says: what is served, and all versions in the registry if it came from there."""
    served, shadow = service.holder.champion, service.holder.shadow
    answer: dict[str, Any] = {"serving": served.model, "shadow": shadow and shadow.model, "models": []}
    if service.settings.run.startswith(REGISTRY):
        answer["models"] = [_versions(name, service.registry) for name in model_names(service.registry)]
    return answer


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
    """The endpoint, as an ASGI application."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the call has them
        """Look again where the served reference leads, or at the version that is asked for; load, check, swap."""
        call: RequestContext = scope[CONTEXT]
        body = await call.body(RELOAD_LIMIT)
        if body.strip():
            require_json(call.headers)
        version = _version(parse_json(body)) if body.strip() else None
        holder = self._service.holder
        before = holder.champion
        try:
            models = await asyncio.to_thread(self._models, version)
            changed = await self._service.swap(models)
        except MlsysError as error:
            message = f"The model was not changed, {before.version} goes on serving: {error}"
            raise RequestError(409, "not_reloaded", message) from None
        answer = {
            "changed": changed,
            "model": holder.champion.model,
            "before": before.model,
            "request_id": call.request_id,
        }
        await call.answer(200, b"application/json", msgspec.json.encode(answer))

    def _models(self, version: str | None) -> Models:
        settings = self._service.settings
        reference = settings.run
        if version is not None:
            if not reference.startswith(REGISTRY):
                raise RequestError(
                    422, "invalid_input", "Only a registered model has versions; send {} to look at the run again."
                )
            reference = f"{reference.partition('@')[0]}@{version}"
        champion = resolve_model(reference, self._service.registry)
        return Models(champion, self._shadow(settings.shadow))

    def _shadow(self, shadow: str | None) -> ResolvedModel | None:
        if shadow is None:
            return None
        return resolve_model(shadow_reference(shadow, self._service.settings.run), self._service.registry)


def _version(body: object) -> str | None:
    """Return the version that is asked for; None for the reference as it was given at the start."""
    if not isinstance(body, dict) or not set(body) <= {"version"} or not isinstance(body.get("version", ""), str):
        raise RequestError(
            422, "invalid_input", 'The body must be {}, or name a version or alias: {"version": "1.2.0"}.'
        )
    version: str | None = body.get("version")
    return version.removeprefix("@") if version is not None else None
