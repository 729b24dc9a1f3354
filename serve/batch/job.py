"""A batch as a job: a body in one file, the answer in another. The same code runs in a thread or in another process."""

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
from serve.batch.write import write_answer
from serve.errors import RequestError
from serve.metrics import Metrics
from serve.predictions import Log, LogUnavailable, Row
from serve.refusals import invalid, log_unavailable
from serve.scoring import BatchResult, InvalidInput
from serve.served_models import LoadedModel

logger = logging.getLogger(__name__)

TOO_LARGE = "The batch takes more memory than the service gives it, whatever its size as sent; send it in parts."


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes
    ----------
    kind : {"batch", "score"}
        Model inputs, or raw entities and events.
    sent, wanted : str
        Formats of the body and of the answer.
    request_id : str
    max_rows : int
    """

    kind: str
    sent: str
    wanted: str
    request_id: str
    max_rows: int

    def to_json(self) -> bytes:
        """Return it for another process."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class JobResult:
    """What came of it.

    Attributes
    ----------
    status : int
        Of the answer; unless it is 200, ``kind``, ``message`` and ``problems`` say why.
    rows : int
        Rows scored.
    model : dict
        What scored them.
    """

    status: int = 200
    rows: int = 0
    model: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    message: str = ""
    problems: Sequence[Any] = ()
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, refused: RequestError) -> JobResult:
        """Return the outcome that says what was refused."""
        return cls(
            refused.status,
            kind=refused.kind,
            message=refused.message,
            problems=refused.problems,
            headers=refused.headers,
        )

    def to_json(self) -> bytes:
        """Return it for another process."""
        return json.dumps(asdict(self)).encode()

    def refuse(self) -> None:
        """Raise what it is, if it is no answer."""
        if self.status != 200:
            raise RequestError(self.status, self.kind, self.message, problems=self.problems, headers=self.headers)


class JobRunner:
    """Does jobs with the models of this process.

    Parameters
    ----------
    metrics : Metrics
    log : Log

    Attributes
    ----------
    exhausted : bool
        Whether a job wanted more memory than there is: the libraries keep what they have taken for the next one.
    """

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self.exhausted = False
        self._metrics = metrics
        self._log = log

    def do(
        self,
        job: Job,
        body: IO[bytes],
        answer: IO[bytes],
        served: LoadedModel,
        shadow: LoadedModel | None,
        tell: Callable[[JobResult], None] = lambda outcome: None,  # noqa: ARG005
    ) -> JobResult:
        """Score the body's rows and write the answer; what is wrong with them is an outcome too.

        Parameters
        ----------
        job : Job
        body, answer : file
        served : LoadedModel
        shadow : LoadedModel or None
        tell : callable
            Gets the outcome as soon as the answer is there: what is counted and logged behind it takes time as well.
        """
        behind: Callable[[], None] | None = None
        try:
            outcome, behind = self._do(job, body, answer, served, shadow)
        except InvalidInput as error:
            outcome = JobResult.of(invalid(error))
        except RequestError as refused:
            outcome = JobResult.of(refused)
        except MemoryError:
            logger.warning("request %s needs more memory than --batch-memory-mb", job.request_id)
            self.exhausted = True
            outcome = JobResult.of(RequestError(413, "too_large", TOO_LARGE))
        except Exception:  # the process goes on with the next job
            logger.exception("request %s failed by a mistake in mlsys", job.request_id)
            outcome = JobResult.of(RequestError(500, "internal", "The service made a mistake; its log says more."))
        try:
            tell(outcome)
        finally:
            if behind is not None:
                behind()
        return outcome

    def _do(
        self, job: Job, body: IO[bytes], answer: IO[bytes], served: LoadedModel, shadow: LoadedModel | None
    ) -> tuple[JobResult, Callable[[], None]]:
        """Write the answer; return the outcome, and what is to be done behind it."""
        rows = _read(job, body, served)
        many = rows.score(served.scorer)
        if self._log.durable:
            try:
                asyncio.run(self._log.commit(self._rows(job, rows, many, served)))
            except LogUnavailable as error:
                raise log_unavailable(error) from None
        write_answer(job.wanted, rows, many, served, job.request_id, answer)
        behind = partial(self._behind, job, rows, many, served, shadow)
        return JobResult(rows=len(rows), model=served.model), behind

    def _behind(self, job: Job, rows: Rows, many: BatchResult, served: LoadedModel, shadow: LoadedModel | None) -> None:
        try:
            self._metrics.batch(many.probabilities, len(many.warnings))
            if self._log.name and not self._log.durable:
                self._log.put(self._rows(job, rows, many, served))
            if shadow is not None:
                self._shadow(job, rows, many, shadow)
        except Exception:  # the answer is given, and the process goes on with the next job
            logger.exception("what comes behind request %s failed by a mistake in mlsys", job.request_id)

    def _shadow(self, job: Job, rows: Rows, answered: BatchResult, shadow: LoadedModel) -> None:
        try:
            many = rows.score(shadow.scorer)
        except InvalidInput:  # its inputs may differ
            self._metrics.shadow_failures.inc(len(rows))
            return
        self._metrics.shadow_differences.observe_many(np.abs(many.probabilities - answered.probabilities))
        if self._log.name:
            self._log.put(self._rows(job, rows, many, shadow, shadow=True))

    def _rows(self, job: Job, rows: Rows, many: BatchResult, served: LoadedModel, *, shadow: bool = False) -> list[Row]:
        inputs = list(served.scorer.inputs.by_name)
        columns = zip(  # in the order of Row's fields
            repeat(time.time()),
            many.probabilities.tolist(),
            repeat(served.target.name),
            repeat(served.target.version),
            repeat(job.request_id),
            rows.column(rows.id_name),
            rows.column(rows.as_of_name),
            repeat(shadow),
            rows.records(inputs) if self._log.features else repeat(None),
            strict=False,  # some have no end
        )
        return list(map(Row._make, columns))  # half the time of calling Row for each


def _read(job: Job, body: IO[bytes], served: LoadedModel) -> Rows:
    if job.kind == "score":
        from serve.batch.entities import entity_rows  # what computes features takes a second to import

        return entity_rows(body.read(), served.scorer)
    return read_rows(job.sent, body, job.max_rows, served.scorer)
