"""Batch jobs: read the body from one file, write the response to another, in this process or in a batch worker."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import repeat
from typing import IO, Any

import numpy as np

from serve.batch.read import Rows, read_rows
from serve.batch.write import write_response
from serve.errors import RequestError, internal_error
from serve.metrics import Metrics
from serve.predictions import Log, LogUnavailableError, PredictionRow
from serve.request_errors import invalid_input_error, log_unavailable_error
from serve.scoring import BatchResult, InvalidInput
from serve.served_models import LoadedModel

logger = logging.getLogger(__name__)

TOO_LARGE = "The batch needs more memory than the service allows for one batch; send it in parts."


@dataclass(frozen=True)
class Job:
    """Description of a batch job.

    Attributes
    ----------
    kind : {"batch", "score"}
        Rows of model inputs, or raw entities and events.
    input_format, output_format : str
        Formats of the body and of the response.
    request_id : str
    max_rows : int
    """

    kind: str
    input_format: str
    output_format: str
    request_id: str
    max_rows: int

    def to_json(self) -> bytes:
        """Return the fields as JSON, to be sent to another process."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class JobResult:
    """Result of a batch job.

    Attributes
    ----------
    status : int
        HTTP status; unless it is 200, ``kind``, ``message``, ``problems`` and ``headers`` describe the error.
    rows : int
        Number of rows scored.
    model : dict
        Name, version and run of the model.
    """

    status: int = 200
    rows: int = 0
    model: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    message: str = ""
    problems: Sequence[Any] = ()
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_error(cls, error: RequestError) -> JobResult:
        """Return the result of a job that failed with an error."""
        return cls(
            error.status,
            kind=error.kind,
            message=error.message,
            problems=error.problems,
            headers=error.headers,
        )

    def to_json(self) -> bytes:
        """Return the fields as JSON, to be sent to another process."""
        return json.dumps(asdict(self)).encode()

    def raise_for_error(self) -> None:
        """Raise the error, if the job failed."""
        if self.status != 200:
            raise RequestError(self.status, self.kind, self.message, problems=self.problems, headers=self.headers)


class JobRunner:
    """Run jobs with the models of this process.

    Parameters
    ----------
    metrics : Metrics
    log : Log

    Attributes
    ----------
    exhausted : bool
        Whether a job ran out of memory. Libraries do not return what they allocated, so the process should be replaced.
    """

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self.exhausted = False
        self._metrics = metrics
        self._log = log

    def run(
        self,
        job: Job,
        body: IO[bytes],
        output: IO[bytes],
        model: LoadedModel,
        shadow: LoadedModel | None,
        on_result: Callable[[JobResult], None] = lambda result: None,  # noqa: ARG005
    ) -> JobResult:
        """Score the rows of the body and write the response; errors are returned as results.

        Parameters
        ----------
        job : Job
        body, output : file
        model : LoadedModel
        shadow : LoadedModel or None
        on_result : callable
            Called as soon as the response is written, before it is counted and logged, which takes time as well.
        """
        after_response: Callable[[], None] | None = None
        try:
            result, after_response = self._score(job, body, output, model, shadow)
        except InvalidInput as error:
            result = JobResult.from_error(invalid_input_error(error))
        except RequestError as error:
            result = JobResult.from_error(error)
        except MemoryError:
            logger.warning("request %s needs more memory than --batch-memory-mb", job.request_id)
            self.exhausted = True
            result = JobResult.from_error(RequestError(413, "too_large", TOO_LARGE))
        except Exception:  # the process continues with the next job
            logger.exception("internal error in request %s", job.request_id)
            result = JobResult.from_error(internal_error())
        try:
            on_result(result)
        finally:
            if after_response is not None:
                after_response()
        return result

    def _score(
        self, job: Job, body: IO[bytes], output: IO[bytes], model: LoadedModel, shadow: LoadedModel | None
    ) -> tuple[JobResult, Callable[[], None]]:
        """Score the rows and write the response; return the result and what remains to be done after responding."""
        rows = _read(job, body, model)
        scores = rows.score(model.scorer)
        if self._log.durable:
            try:
                asyncio.run(self._log.commit(self._rows(job, rows, scores, model)))
            except LogUnavailableError as error:
                raise log_unavailable_error(error) from None
        write_response(job.output_format, rows, scores, model, job.request_id, output)
        after_response = partial(self._after_response, job, rows, scores, model, shadow)
        return JobResult(rows=len(rows), model=model.info), after_response

    def _after_response(
        self, job: Job, rows: Rows, scores: BatchResult, model: LoadedModel, shadow: LoadedModel | None
    ) -> None:
        try:
            self._metrics.record_batch(scores.probabilities, len(scores.warnings))
            if self._log.name and not self._log.durable:
                self._log.put(self._rows(job, rows, scores, model))
            if shadow is not None:
                self._score_shadow(job, rows, scores, shadow)
        except Exception:  # the response has been sent, and the process continues with the next job
            logger.exception("internal error after responding to request %s", job.request_id)

    def _score_shadow(self, job: Job, rows: Rows, champion_scores: BatchResult, shadow: LoadedModel) -> None:
        try:
            scores = rows.score(shadow.scorer)
        except InvalidInput:  # the shadow's inputs may differ
            self._metrics.shadow_failures.inc(len(rows))
            return
        self._metrics.shadow_differences.observe_array(np.abs(scores.probabilities - champion_scores.probabilities))
        if self._log.name:
            self._log.put(self._rows(job, rows, scores, shadow, shadow=True))

    def _rows(
        self, job: Job, rows: Rows, scores: BatchResult, model: LoadedModel, *, shadow: bool = False
    ) -> list[PredictionRow]:
        columns = zip(  # in the order of the fields of PredictionRow
            repeat(time.time()),
            scores.probabilities.tolist(),
            repeat(model.resolved.name),
            repeat(model.resolved.version),
            repeat(job.request_id),
            rows.column(rows.id_name),
            rows.column(rows.as_of_name),
            repeat(shadow),
            rows.records(model.scorer.inputs) if self._log.features else repeat(None),
            strict=False,  # some are endless
        )
        return list(map(PredictionRow._make, columns))  # takes half the time of calling PredictionRow for each


def _read(job: Job, body: IO[bytes], model: LoadedModel) -> Rows:
    if job.kind == "score":
        from serve.batch.entities import entity_rows  # takes a second to import

        return entity_rows(body.read(), model.scorer)
    return read_rows(job.input_format, body, job.max_rows, model.scorer)
