"""POST /predict/batch and POST /score: score many rows per request."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import IO

from serve import media_types
from serve.batch.job import Job, JobResult
from serve.batch.queue import SMALL
from serve.errors import RequestError
from serve.http.request_context import CONTEXT, Headers, Receive, RequestContext, Scope, Send
from serve.http.service import Service

CHUNK_SIZE = 262_144  # bytes


class BatchEndpoint:
    """Batch endpoint as an ASGI application.

    Parameters
    ----------
    service : Service
    kind : {"batch", "score"}
    formats : sequence of str
        Formats that the body may have.
    """

    def __init__(self, service: Service, kind: str, formats: Sequence[str]) -> None:
        self._service = service
        self._kind = kind
        self._formats = tuple(formats)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the context has it
        """Score the rows and respond."""
        context: RequestContext = scope[CONTEXT]
        if scope["query_string"]:
            raise RequestError(
                400, "invalid_query", f"{scope['path']} has no query parameters; for reasons use /predict."
            )
        settings = self._service.settings
        input_format = media_types.content_format(context.headers, self._formats)
        output_format = media_types.accepted_format(context.headers, input_format, self._formats)
        job = Job(self._kind, input_format, output_format, context.request_id, settings.max_rows)
        with await context.spool_body(settings.max_body) as body, _file() as output:
            result = await self._run(job, body, output)
            result.raise_for_error()
            context.rows = result.rows
            await _send(send, output_format, result, output)

    async def _run(self, job: Job, body: IO[bytes], output: IO[bytes]) -> JobResult:
        service = self._service
        if (
            job.kind == "batch"
            and job.input_format == job.output_format == media_types.JSON
            and not service.log.durable
        ):
            body.seek(0, 2)
            size = body.tell()
            body.seek(0)
            if size <= SMALL:
                slot = service.slot
                return service.job_runner.run(job, body, output, slot.champion, slot.shadow)
        return await service.batch_queue.run(job, body, output)


def _file() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=CHUNK_SIZE)


async def _send(send: Send, output_format: str, result: JobResult, output: IO[bytes]) -> None:
    """Send a response in chunks; each is read once the client has taken the one before."""
    output.seek(0, 2)
    size = output.tell()
    output.seek(0)
    headers: Headers = [
        (b"content-type", media_types.CONTENT_TYPES[output_format]),
        (b"content-length", str(size).encode()),
        *((b"x-model-" + name.encode(), _ascii(value)) for name, value in result.model.items()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while output.tell() < size:
        chunk = output.read(CHUNK_SIZE)
        await send({"type": "http.response.body", "body": chunk, "more_body": output.tell() < size})


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")
