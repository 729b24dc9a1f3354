"""A load client over HTTP/1.1 that costs little itself: requests are bytes made beforehand, answers are hardly parsed.

    python benchmarks/serving/load.py JOB.json      # prints what it found as JSON

A job has host, port, path, headers, bodies (a file of one JSON body a line), connections, seconds, and rate: requests a
second over all connections, 0 as fast as answers come. With a rate, a request that had to wait for its connection is
timed from when it was due.
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
    """One keep-alive connection that has at most one request under way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.answer = b""
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
        self.started, self.waiting, self.answer = started, True, b""
        self.transport.write(next(self.load.requests))

    def data_received(self, data: bytes) -> None:
        self.answer = self.answer + data if self.answer else data
        if not whole(self.answer):
            return
        self.waiting = False
        self.load.took(self.answer, time.perf_counter() - self.started)
        self.next()

    def close(self) -> None:
        self.transport.close()
        self.load.ended(None)

    def connection_lost(self, error) -> None:  # noqa: ARG002 - asyncio passes it
        if self.waiting:
            self.load.lost.append(round(time.perf_counter() - self.load.begun, 2))
        if self.waiting or not self.load.over():
            self.load.ended(self)
        self.waiting = False


def whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        return len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")  # chunked


class Load:
    """All connections of a job, and what they found."""

    def __init__(self, job: dict) -> None:
        self.job = job
        bodies = Path(job["bodies"]).read_bytes().splitlines()
        self.requests = itertools.cycle([request(job, body) for body in bodies])
        self.interval = job["connections"] / job["rate"] if job.get("rate") else 0.0
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.lost: list[float] = []
        self.refused = 0
        self.begun = time.perf_counter()
        self.end = self.begun + job["seconds"]
        self.open = 0
        self.done = asyncio.Event()
        self.tasks: set[asyncio.Task] = set()
        self.last = b""

    def took(self, answer: bytes, seconds: float) -> None:
        self.seconds.append(seconds)
        status = int(answer[9:12])
        self.statuses[status] += 1
        if status != 200:
            self.last = answer[-300:]

    def over(self) -> bool:
        return time.perf_counter() >= self.end

    def ended(self, dropped: Connection | None) -> None:
        if dropped is None or self.over():
            self.open -= 1
            if not self.open:
                self.done.set()
        else:
            task = asyncio.ensure_future(self.connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def connect(self) -> None:
        """Connect, again and again if nobody listens: a server may just be starting."""
        while True:
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self), self.job["host"], self.job["port"]
                )
            except OSError:
                self.refused += 1
                if self.over():
                    self.ended(None)
                    return
                await asyncio.sleep(0.02)
            else:
                return

    async def run(self) -> dict:
        self.open = self.job["connections"]
        await asyncio.gather(*(self.connect() for _ in range(self.open)))
        await asyncio.wait_for(self.done.wait(), self.job["seconds"] + 60)
        took = sorted(self.seconds)
        elapsed = time.perf_counter() - self.begun
        return {
            "requests": len(took),
            "rate": len(took) / elapsed,
            "p50": took[len(took) // 2] if took else None,
            "p99": took[int(len(took) * 0.99)] if took else None,
            "worst": took[-1] if took else None,
            "statuses": dict(self.statuses),
            "lost": self.lost,
            "refused": self.refused,
            "last": self.last.decode(errors="replace"),
        }


def request(job: dict, body: bytes) -> bytes:
    headers = {"host": job["host"], "content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (headers | job.get("headers", {})).items()]
    return "\r\n".join([f"POST {job['path']} HTTP/1.1", *lines, "", ""]).encode() + body


async def work(job: dict) -> dict:
    return await Load(job).run()


if __name__ == "__main__":
    try:
        import uvloop

        runner = uvloop.run
    except ModuleNotFoundError:
        runner = asyncio.run
    print(json.dumps(runner(work(json.loads(Path(sys.argv[1]).read_text())))))
