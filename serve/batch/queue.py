"""Queue batches and run them in other processes or in a thread, so that they do not delay single records."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO, Protocol

from mlsys.text import counted, is_or_are
from serve.batch.ipc import submit_job
from serve.batch.job import Job, JobResult, JobRunner
from serve.errors import unavailable
from serve.served_models import ModelSlot

SMALL = 65_536  # bytes of JSON, about 30 records: faster to score than to pass on


class BatchExecutor(Protocol):
    """Run jobs outside the event loop."""

    async def run(self, job: Job, body: IO[bytes], output: IO[bytes]) -> JobResult:
        """Run a job; raise `RequestError` if that is not possible now."""
        ...


class ThreadExecutor:
    """Run one job at a time in a thread of this process."""

    def __init__(self, job_runner: JobRunner, slot: ModelSlot) -> None:
        self._job_runner = job_runner
        self._slot = slot
        self._lock = asyncio.Lock()

    async def run(self, job: Job, body: IO[bytes], output: IO[bytes]) -> JobResult:
        """Run a job."""
        async with self._lock:
            slot = self._slot
            return await asyncio.to_thread(self._job_runner.run, job, body, output, slot.champion, slot.shadow)


class ProcessExecutor:
    """Run jobs in the next free batch worker."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(self, job: Job, body: IO[bytes], output: IO[bytes]) -> JobResult:
        """Run a job."""
        return await submit_job(self._path, job, body, output)


class BatchQueue:
    """Count the batches in progress and reject new ones above a limit.

    Attributes
    ----------
    depth : int
        Number of batches in progress or queued.
    """

    def __init__(self, executor: BatchExecutor, max_depth: int) -> None:
        self._executor = executor
        self._max_depth = max_depth
        self.depth = 0

    async def run(self, job: Job, body: IO[bytes], output: IO[bytes]) -> JobResult:
        """Run a job.

        Raises
        ------
        RequestError
            503 if the queue is full.
        """
        if self.depth >= self._max_depth:
            waiting = counted(self.depth, "batch", "batches")
            raise unavailable(
                "batch_queue", f"Overloaded; {waiting} {is_or_are(self.depth)} in progress or queued. Retry later.", 2
            )
        self.depth += 1
        try:
            return await self._executor.run(job, body, output)
        finally:
            self.depth -= 1
