"""How a worker hands a batch to a process of its own: a line of JSON and two open files over a Unix socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from pathlib import Path
from typing import IO, Any

from serve.batch.job import Job, JobResult
from serve.errors import unavailable

LENGTH = struct.Struct("!I")


async def hand_over(path: Path, job: Job, body: IO[bytes], answer: IO[bytes]) -> JobResult:
    """Let a batch worker do a job.

    Parameters
    ----------
    path : Path
        The socket on which batch workers listen.
    job : Job
    body, answer : file
        Real files: the process at the other end gets their descriptors.

    Raises
    ------
    RequestError
        503 if no batch worker is there, or it ended before it was done.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.setblocking(False)
        try:
            await loop.sock_connect(line, str(path))
            message = job.to_json()
            body.flush()
            # A few hundred bytes always fit into an empty socket's buffer, so this does not wait.
            socket.send_fds(line, [LENGTH.pack(len(message)) + message], [body.fileno(), answer.fileno()])
            (size,) = LENGTH.unpack(await _exactly(loop, line, LENGTH.size))
            return JobResult(**json.loads(await _exactly(loop, line, size)))
        except (OSError, EOFError):
            raise unavailable("batch_worker", "The process that scores batches ended; send the batch again.") from None


async def _exactly(loop: asyncio.AbstractEventLoop, line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await loop.sock_recv(line, size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def take(line: socket.socket) -> tuple[Job, IO[bytes], IO[bytes]]:
    """Receive a job and its files: the body at its start, and where the answer goes.

    Raises
    ------
    EOFError
        If the other end went away.
    """
    data, descriptors, _, _ = socket.recv_fds(line, 65_536, 2)
    if len(descriptors) != 2:
        for descriptor in descriptors:
            os.close(descriptor)
        raise EOFError
    body, answer = os.fdopen(descriptors[0], "rb"), os.fdopen(descriptors[1], "wb")
    (size,) = LENGTH.unpack(data[: LENGTH.size])
    job: dict[str, Any] = json.loads(data[LENGTH.size : LENGTH.size + size])
    body.seek(0)  # the descriptor shares its position with the process that wrote it
    return Job(**job), body, answer


def give_back(line: socket.socket, outcome: JobResult) -> None:
    """Send what came of a job."""
    message = outcome.to_json()
    line.sendall(LENGTH.pack(len(message)) + message)
