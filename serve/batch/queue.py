"""Where batches are done, so that they do not hold up single records: in other processes, or in a thread."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO, Protocol

from serve.batch.ipc import hand_over
from serve.batch.job import Job, JobResult, JobRunner
from serve.errors import unavailable
from serve.served_models import ModelSlot

SMALL = 65_536  # bytes of JSON, about 30 records: sooner done than handed over


class BatchExecutor(Protocol):
    """Does jobs beside the event loop."""

    async def do(self, job: Job, body: IO[bytes], answer: IO[bytes]) -> JobResult:
        """Do a job; raise `RequestError` if that is not possible now."""
        ...


class ThreadExecutor:
    """One after the other in a thread of this process."""

    def __init__(self, worker: JobRunner, holder: ModelSlot) -> None:
        self._worker = worker
        self._holder = holder
        self._turn = asyncio.Lock()

    async def do(self, job: Job, body: IO[bytes], answer: IO[bytes]) -> JobResult:
        """Do a job."""
        async with self._turn:
            holder = self._holder
            return await asyncio.to_thread(self._worker.do, job, body, answer, holder.champion, holder.shadow)


class ProcessExecutor:
    """In whichever batch worker is free."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def do(self, job: Job, body: IO[bytes], answer: IO[bytes]) -> JobResult:
        """Do a job."""
        return await hand_over(self._path, job, body, answer)


class BatchQueue:
    """Counts the batches that are under way, and refuses more than can be done soon.

    Attributes
    ----------
    depth : int
        Batches in work or waiting.
    """

    def __init__(self, batches: BatchExecutor, most: int) -> None:
        self._batches = batches
        self._most = most
        self.depth = 0

    async def do(self, job: Job, body: IO[bytes], answer: IO[bytes]) -> JobResult:
        """Do a job.

        Raises
        ------
        RequestError
            503 if too many wait already.
        """
        if self.depth >= self._most:
            raise unavailable("batch_queue", f"{self.depth} batches wait already; send this one again soon.", 2)
        self.depth += 1
        try:
            return await self._batches.do(job, body, answer)
        finally:
            self.depth -= 1
