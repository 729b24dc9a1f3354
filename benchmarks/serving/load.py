"""Low-overhead HTTP/1.1 load client: requests are prebuilt bytes, and responses are barely parsed.

    python benchmarks/serving/load.py JOB.json      # prints the results as JSON

A job has host, port, path, headers, bodies (a file with one JSON body per line), connections, seconds, and rate:
requests per second over all connections, or 0 for as fast as possible. With a rate, latency is measured from the time
at which a request was due, even if it had to wait for its connection.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from pathlib import Path


class Connection(asyncio.Protocol):
    """Keep-alive connection with at most one request in progress."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.response = b""
        self.started = 0.0
        self.due = 0.0
        self.waiting = False

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.due = time.perf_counter()
        self.next()

    def next(self) -> None:
        load, now = self.load, time.perf_counter()
        if now >= load.end:
            self.close()
            return
        if not load.interval:
            self.send(now)
            return
        self.due += load.interval
        if self.due <= now:
            self.send(self.due)
        else:
            asyncio.get_running_loop().call_later(self.due - now, self.paced)

    def paced(self) -> None:
        if not self.transport.is_closing():
            self.send(time.perf_counter())

    def send(self, started: float) -> None:
        self.started, self.waiting, self.response = started, True, b""
        self.transport.write(next(self.load.requests))

    def data_received(self, data: bytes) -> None:
        self.response = self.response + data if self.response else data
        if not is_complete(self.response):
            return
        self.waiting = False
        self.load.record(self.response, time.perf_counter() - self.started)
        self.next()

    def close(self) -> None:
        self.transport.close()
        self.load.on_connection_end(None)

    def connection_lost(self, error) -> None:  # noqa: ARG002 - asyncio passes it
        if self.waiting:
            self.load.lost.append(round(time.perf_counter() - self.load.started, 2))
        if self.waiting or not self.load.is_finished():
            self.load.on_connection_end(self)
        self.waiting = False


def is_complete(response: bytes) -> bool:
    head, end, body = response.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    position = lower.find(b"content-length:")
    if position >= 0:
        return len(body) >= int(lower[position + 15 :].split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")  # chunked


class Load:
    """All connections of a job, and their results."""

    def __init__(self, job: dict) -> None:
        self.job = job
        bodies = Path(job["bodies"]).read_bytes().splitlines()
        self.requests = itertools.cycle([request(job, body) for body in bodies])
        self.interval = job["connections"] / job["rate"] if job.get("rate") else 0.0
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.lost: list[float] = []
        self.refused = 0
        self.started = time.perf_counter()
        self.end = self.started + job["seconds"]
        self.open = 0
        self.done = asyncio.Event()
        self.tasks: set[asyncio.Task] = set()
        self.last = b""

    def record(self, response: bytes, seconds: float) -> None:
        self.seconds.append(seconds)
        status = int(response[9:12])
        self.statuses[status] += 1
        if status != 200:
            self.last = response[-300:]

    def is_finished(self) -> bool:
        return time.perf_counter() >= self.end

    def on_connection_end(self, dropped: Connection | None) -> None:
        if dropped is None or self.is_finished():
            self.open -= 1
            if not self.open:
                self.done.set()
        else:
            task = asyncio.ensure_future(self.connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def connect(self) -> None:
        """Connect, retrying while the connection is refused: a server may still be starting."""
        while True:
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self), self.job["host"], self.job["port"]
                )
            except OSError:
                self.refused += 1
                if self.is_finished():
                    self.on_connection_end(None)
                    return
                await asyncio.sleep(0.02)
            else:
                return

    async def run(self) -> dict:
        self.open = self.job["connections"]
        await asyncio.gather(*(self.connect() for _ in range(self.open)))
        await asyncio.wait_for(self.done.wait(), self.job["seconds"] + 60)
        latencies = sorted(self.seconds)
        elapsed = time.perf_counter() - self.started
        return {
            "requests": len(latencies),
            "rate": len(latencies) / elapsed,
            "p50": latencies[len(latencies) // 2] if latencies else None,
            "p99": latencies[int(len(latencies) * 0.99)] if latencies else None,
            "worst": latencies[-1] if latencies else None,
            "statuses": dict(self.statuses),
            "lost": self.lost,
            "refused": self.refused,
            "last": self.last.decode(errors="replace"),
        }


def request(job: dict, body: bytes) -> bytes:
    headers = {"host": job["host"], "content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (headers | job.get("headers", {})).items()]
    return "\r\n".join([f"POST {job['path']} HTTP/1.1", *lines, "", ""]).encode() + body


async def run_job(job: dict) -> dict:
    return await Load(job).run()


if __name__ == "__main__":
    try:
        import uvloop

        runner = uvloop.run
    except ModuleNotFoundError:
        runner = asyncio.run
    print(json.dumps(runner(run_job(json.loads(Path(sys.argv[1]).read_text())))))
