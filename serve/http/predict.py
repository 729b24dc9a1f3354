"""POST /predict: one record. The path that is called most, so its answer is put together from ready parts."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from mlsys.runs.json_format import Json
from serve.batch.read import day_of
from serve.errors import RequestError
from serve.http.call import CONTEXT, Receive, RequestContext, Scope, Send
from serve.json_body import parse_record
from serve.media_types import require_json
from serve.predictions import LogUnavailable, Row
from serve.refusals import invalid, log_unavailable
from serve.scoring import InvalidInput
from serve.served_models import LoadedModel

if TYPE_CHECKING:
    from serve.http.service import Service
    from serve.scoring import Prediction

JSON_BYTES = b"application/json"
RECORD_LIMIT = 1_000_000  # bytes; a record has a few thousand
REASONS = 5


class Predict:
    """The endpoint, as an ASGI application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limit = min(RECORD_LIMIT, service.settings.max_body)
        self._durable = service.log.durable
        self._logging = service.log.name is not None
        self._features = service.log.features

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the call has them
        """Answer."""
        call: RequestContext = scope[CONTEXT]
        service = self._service
        require_json(call.headers)
        body = await call.body(self._limit)
        query = _query(scope["query_string"]) if scope["query_string"] else {}
        record = parse_record(body)
        served = service.holder.champion
        try:
            scored = served.scorer.score(record)
        except InvalidInput as error:
            raise invalid(error) from None
        reasons = await _reasons(served, scored) if query.get("explain") == "true" else b""
        rows = [self._row(call.request_id, served, scored, record, query)] if self._logging else []
        if self._durable:
            try:
                await service.log.commit(rows)
            except LogUnavailable as error:
                raise log_unavailable(error) from None
        answer = _answer(served, scored, reasons, call.request_id)
        metrics = service.metrics
        metrics.scores.observe(scored.probability)
        if scored.warnings:
            metrics.warnings.inc()
        await call.answer(200, JSON_BYTES, answer)
        if rows and not self._durable:
            service.log.put(rows)
        if service.holder.shadow is not None:
            self._shadow(call, service.holder.shadow, record, scored.probability, query)

    def plain(self, body: bytes, query: bytes, request_id: str) -> tuple[bytes, Row | None, float, bool] | None:
        """Return the answer to a record that needs nothing beside its score, and what is to be logged and counted.

        Returns
        -------
        tuple or None
            The answer's body, the row for the prediction log (None where nothing is logged), the probability, and
            whether there are warnings; None where reasons are asked for.

        Raises
        ------
        RequestError, InvalidInput
            As the endpoint refuses it.
        """
        if len(body) > self._limit:
            return None
        asked = _query(query) if query else {}
        if asked.get("explain") == "true":
            return None
        record = parse_record(body)
        served = self._service.holder.champion
        scored = served.scorer.score(record)
        row = self._row(request_id, served, scored, record, asked) if self._logging else None
        return _answer(served, scored, b"", request_id), row, scored.probability, bool(scored.warnings)

    def _row(
        self,
        request_id: str,
        served: LoadedModel,
        scored: Prediction,
        record: Json,
        query: dict[str, str],
        *,
        shadow: bool = False,
    ) -> Row:
        return Row(
            time.time(),
            scored.probability,
            served.target.name,
            served.target.version,
            request_id,
            query.get("id"),
            query.get("as_of"),
            shadow,
            record if self._features else None,
        )

    def _shadow(
        self, call: RequestContext, shadow: LoadedModel, record: Json, probability: float, query: dict[str, str]
    ) -> None:
        """Score with the silent model, behind the answer."""
        metrics = self._service.metrics
        try:
            scored = shadow.scorer.score(record)
        except InvalidInput:  # its inputs may differ
            metrics.shadow_failures.inc()
            return
        metrics.shadow_differences.observe(abs(scored.probability - probability))
        if self._logging:
            self._service.log.put([self._row(call.request_id, shadow, scored, record, query, shadow=True)])


def _answer(served: LoadedModel, scored: Prediction, reasons: bytes, request_id: str) -> bytes:
    warnings = json.dumps(scored.warnings, ensure_ascii=False).encode() if scored.warnings else b"[]"
    decided = served.yes if scored.decision else served.no
    head = b'{"probability":%b' % repr(scored.probability).encode()
    return b"".join((head, decided, warnings, reasons, served.tail, request_id.encode(), b'"}'))


async def _reasons(served: LoadedModel, scored: Prediction) -> bytes:
    """Return the reasons as they stand in the answer; in a thread, as they take longer than the score."""
    found = await asyncio.to_thread(served.scorer.reasons, scored.values, top=REASONS)
    return b',"reasons":' + msgspec.json.encode(found)


def _query(text: bytes) -> dict[str, str]:
    """Return the query's parameters.

    Raises
    ------
    RequestError
        400 if one is unknown or ``explain`` is neither true nor false.
    """
    try:
        given = parse_qs(text.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise RequestError(400, "invalid_query", "The query cannot be read; it takes explain, id and as_of.") from None
    if unknown := sorted(set(given) - {"explain", "id", "as_of"}):
        raise RequestError(
            400, "invalid_query", f"The query has {unknown[0][:40]!r}; it takes explain=true, id=ID and as_of=DATE."
        )
    query = {name: values[-1] for name, values in given.items()}
    if query.get("explain", "true") not in ("true", "false"):
        raise RequestError(400, "invalid_query", f"explain is {query['explain'][:40]!r}; expected true or false.")
    if "as_of" in query:
        query["as_of"] = day_of(query["as_of"])
    return query
