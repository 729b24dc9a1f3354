"""POST /predict: score one record. The busiest endpoint, so its response is assembled from precomputed parts."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from mlsys.runs.json_format import Json
from serve.errors import RequestError
from serve.http.request_context import CONTEXT, Receive, RequestContext, Scope, Send
from serve.identifiers import check_id, parse_as_of
from serve.json_body import parse_json
from serve.media_types import require_json
from serve.predictions import LogUnavailableError, PredictionRow
from serve.request_errors import invalid_input_error, log_unavailable_error
from serve.scoring import InvalidInput, NotLoadedError
from serve.served_models import LoadedModel

if TYPE_CHECKING:
    from serve.http.service import Service
    from serve.scoring import Prediction

JSON_BYTES = b"application/json"
RECORD_LIMIT = 1_000_000  # bytes; a typical record has a few thousand
REASONS = {"true": 5, "all": None}  # number of fields in an explanation, by the value of explain; None for all


class Predict:
    """The endpoint as an ASGI application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limit = min(RECORD_LIMIT, service.settings.max_body)
        self._durable = service.log.durable
        self._logging = service.log.name is not None
        self._features = service.log.features

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the context has them
        """Score a record and respond."""
        context: RequestContext = scope[CONTEXT]
        service = self._service
        require_json(context.headers)
        body = await context.body(self._limit)
        query = _parse_query(scope["query_string"]) if scope["query_string"] else {}
        record = parse_json(body)
        model = service.slot.champion
        try:
            prediction = await _score(model, record)
        except InvalidInput as error:
            raise invalid_input_error(error) from None
        reasons = await _reasons_json(model, prediction, query["explain"]) if query.get("explain") in REASONS else b""
        rows = [self._row(context.request_id, model, prediction, record, query)] if self._logging else []
        if self._durable:
            try:
                await service.log.commit(rows)
            except LogUnavailableError as error:
                raise log_unavailable_error(error) from None
        response = _response_json(model, prediction, reasons, context.request_id)
        metrics = service.metrics
        metrics.scores.observe(prediction.probability)
        if prediction.warnings:
            metrics.warnings.inc()
        await context.respond(200, JSON_BYTES, response)
        if rows and not self._durable:
            service.log.put(rows)
        if service.slot.shadow is not None:
            self._score_shadow(context, service.slot.shadow, record, prediction.probability, query)

    def plain(
        self, body: bytes, query: bytes, request_id: str
    ) -> tuple[bytes, PredictionRow | None, float, bool] | None:
        """Score a record without reasons, and return the response body with what has to be logged and counted.

        Returns
        -------
        tuple or None
            Response body, row for the prediction log (None if logging is off), probability, and whether there are
            warnings; None if the request has to take the ASGI path.

        Raises
        ------
        RequestError, InvalidInput
            For the same input as the endpoint.
        NotLoadedError
            If the request has to take the ASGI path, because something has to be imported first.
        """
        if len(body) > self._limit:
            return None
        parameters = _parse_query(query) if query else {}
        if parameters.get("explain") in REASONS:
            return None
        record = parse_json(body)
        model = self._service.slot.champion
        prediction = model.scorer.score(record, may_load=False)
        row = self._row(request_id, model, prediction, record, parameters) if self._logging else None
        response = _response_json(model, prediction, b"", request_id)
        return response, row, prediction.probability, bool(prediction.warnings)

    def _row(
        self,
        request_id: str,
        model: LoadedModel,
        prediction: Prediction,
        record: Json,
        query: dict[str, str],
        *,
        shadow: bool = False,
    ) -> PredictionRow:
        return PredictionRow(
            time.time(),
            prediction.probability,
            model.resolved.name,
            model.resolved.version,
            request_id,
            query.get("id"),
            query.get("as_of"),
            shadow,
            record if self._features else None,
        )

    def _score_shadow(
        self, context: RequestContext, shadow: LoadedModel, record: Json, probability: float, query: dict[str, str]
    ) -> None:
        """Score with the shadow model, after responding."""
        metrics = self._service.metrics
        try:
            prediction = shadow.scorer.score(record)
        except InvalidInput:  # the shadow's inputs may differ
            metrics.shadow_failures.inc()
            return
        metrics.shadow_differences.observe(abs(prediction.probability - probability))
        if self._logging:
            self._service.log.put([self._row(context.request_id, shadow, prediction, record, query, shadow=True)])


async def _score(model: LoadedModel, record: Json) -> Prediction:
    try:
        return model.scorer.score(record, may_load=False)
    except NotLoadedError:  # the first record with columns of the training table; other requests go on meanwhile
        await asyncio.to_thread(model.scorer.load_conversion)
        return model.scorer.score(record)


def _response_json(model: LoadedModel, prediction: Prediction, reasons: bytes, request_id: str) -> bytes:
    warnings = json.dumps(prediction.warnings, ensure_ascii=False).encode() if prediction.warnings else b"[]"
    decision = model.positive_json if prediction.decision else model.negative_json
    head = b'{"probability":%b' % repr(prediction.probability).encode()
    outputs = b"".join(map(_output_json, model.outputs_json, prediction.outputs)) if prediction.outputs else b""
    return b"".join((head, decision, warnings, outputs, reasons, model.tail_json, request_id.encode(), b'"}'))


def _output_json(key: bytes, value: float) -> bytes:
    return key + repr(value).encode()


async def _reasons_json(model: LoadedModel, prediction: Prediction, explain: str) -> bytes:
    """Return the JSON of the reasons; computed in a thread, because it takes longer than the score."""
    reasons = await asyncio.to_thread(model.scorer.reasons, prediction.values, top=REASONS[explain])
    return b',"reasons":' + msgspec.json.encode(reasons)


def _parse_query(text: bytes) -> dict[str, str]:
    """Parse the query string.

    Raises
    ------
    RequestError
        400 if one is unknown or ``explain`` is neither true, false nor all; 422 for an id or an as-of that cannot be
        one.
    """
    try:
        parameters = parse_qs(text.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise RequestError(400, "invalid_query", "Malformed query; the parameters are explain, id and as_of.") from None
    if unknown := sorted(set(parameters) - {"explain", "id", "as_of"}):
        raise RequestError(
            400,
            "invalid_query",
            f"Unknown query parameter {unknown[0][:40]!r}; the parameters are explain=true, id=ID and as_of=DATE.",
        )
    query = {name: values[-1] for name, values in parameters.items()}
    if query.get("explain", "true") not in (*REASONS, "false"):
        raise RequestError(400, "invalid_query", f"explain is {query['explain'][:40]!r}; expected true, false or all.")
    if "id" in query:
        check_id("id", query["id"])
    if "as_of" in query:
        query["as_of"] = parse_as_of(query["as_of"])
    return query
