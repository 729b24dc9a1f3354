"""POST /predict/batch and POST /score: many rows at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import IO

from serve import media_types
from serve.batch.job import Job, JobResult
from serve.batch.queue import SMALL
from serve.errors import RequestError
from serve.http.call import CONTEXT, Headers, Receive, RequestContext, Scope, Send
from serve.http.service import Service

PIECE = 262_144  # bytes of an answer that are sent at once


class BatchEndpoint:
    """An endpoint that does a job, as an ASGI application.

    Parameters
    ----------
    service : Service
    kind : {"batch", "score"}
    formats : sequence of str
        What a body may be.
    """

    def __init__(self, service: Service, kind: str, formats: Sequence[str]) -> None:
        self._service = service
        self._kind = kind
        self._formats = tuple(formats)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the call has them
        """Answer."""
        call: RequestContext = scope[CONTEXT]
        if scope["query_string"]:
            raise RequestError(400, "invalid_query", f"{scope['path']} takes no query; reasons are given by /predict.")
        settings = self._service.settings
        sent = media_types.sent(call.headers, self._formats)
        wanted = media_types.wanted(call.headers, sent, self._formats)
        job = Job(self._kind, sent, wanted, call.request_id, settings.max_rows)
        with await call.spooled(settings.max_body) as body, _file() as answer:
            outcome = await self._do(job, body, answer)
            outcome.refuse()
            call.rows = outcome.rows
            await _send(call, wanted, outcome, answer)

    async def _do(self, job: Job, body: IO[bytes], answer: IO[bytes]) -> JobResult:
        service = self._service
        if job.kind == "batch" and job.sent == job.wanted == media_types.JSON and not service.log.durable:
            body.seek(0, 2)
            size = body.tell()
            body.seek(0)
            if size <= SMALL:
                holder = service.holder
                return service.worker.do(job, body, answer, holder.champion, holder.shadow)
        return await service.batches.do(job, body, answer)


def _file() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=PIECE)


async def _send(call: RequestContext, wanted: str, outcome: JobResult, answer: IO[bytes]) -> None:
    """Send an answer piece by piece: the next is read when the client has taken the one before."""
    answer.seek(0, 2)
    size = answer.tell()
    answer.seek(0)
    headers: Headers = [
        (b"content-type", media_types.ANSWERS[wanted]),
        (b"content-length", str(size).encode()),
        *((b"x-model-" + name.encode(), _ascii(value)) for name, value in outcome.model.items()),
    ]
    await call.send({"type": "http.response.start", "status": 200, "headers": headers})
    while piece := answer.read(PIECE):
        await call.send({"type": "http.response.body", "body": piece, "more_body": True})
    await call.send({"type": "http.response.body", "body": b""})


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")
