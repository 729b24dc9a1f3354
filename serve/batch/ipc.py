"""Send batches to a batch worker: a JSON message and two file descriptors over a Unix socket."""

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


async def submit_job(path: Path, job: Job, body: IO[bytes], output: IO[bytes]) -> JobResult:
    """Run a job in a batch worker.

    Parameters
    ----------
    path : Path
        Socket of the batch workers.
    job : Job
    body, output : file
        Files with descriptors, which are passed to the batch worker.

    Raises
    ------
    RequestError
        503 if no batch worker is running, or it ended before the job was done.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, str(path))
            message = job.to_json()
            body.flush()
            # A few hundred bytes always fit into an empty socket buffer, so this does not block.
            socket.send_fds(connection, [LENGTH.pack(len(message)) + message], [body.fileno(), output.fileno()])
            (size,) = LENGTH.unpack(await _read_exactly(loop, connection, LENGTH.size))
            return JobResult(**json.loads(await _read_exactly(loop, connection, size)))
        except (OSError, EOFError):
            raise unavailable("batch_worker", "The batch worker ended; retry later.") from None


async def _read_exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await loop.sock_recv(connection, size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def receive_job(connection: socket.socket) -> tuple[Job, IO[bytes], IO[bytes]]:
    """Receive a job and its files: the body, positioned at its start, and the output.

    Raises
    ------
    EOFError
        If the peer closed the connection.
    """
    data, descriptors, _, _ = socket.recv_fds(connection, 65_536, 2)
    if len(descriptors) != 2:
        for descriptor in descriptors:
            os.close(descriptor)
        raise EOFError
    body, output = os.fdopen(descriptors[0], "rb"), os.fdopen(descriptors[1], "wb")
    (size,) = LENGTH.unpack(data[: LENGTH.size])
    job: dict[str, Any] = json.loads(data[LENGTH.size : LENGTH.size + size])
    body.seek(0)  # the file position is shared with the process that wrote it
    return Job(**job), body, output


def send_result(connection: socket.socket, result: JobResult) -> None:
    """Send the result of a job."""
    message = result.to_json()
    connection.sendall(LENGTH.pack(len(message)) + message)
