"""Wall time of a run without tracking, with W&B offline and with MLflow on SQLite; and what an unreachable server adds.

    python benchmarks/tracking.py [--repeats 5] [--unreachable]

Each side is the command that a user types, `python -m mlsys.train` on small demo data, in a process of its own; the
sides alternate. "beyond the first" is a grid of five runs in one process, less one of one run, by run. `--unreachable`
adds servers that refuse, take no connection, take all and never answer, answer 500, and die in the middle of the run.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SMALL = [
    "data.demo.events=5000",
    "model=logistic",
    "split.folds=2",
    "features=minimal",
    "metrics.bootstrap_resamples=100",
    "threads=1",
]
SIDES = {
    "none": ["tracking=none"],
    "wandb offline": ["tracking=wandb", "tracking.mode=offline"],
    "mlflow": ["tracking=mlflow"],
}
MORE = 4  # further runs in one process
KEY = "0123456789abcdef0123456789abcdef01234567"


def seconds(folder: Path, overrides: list[str], **environment: str) -> float:
    """Time one command."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mlsys.train", *overrides, *SMALL],
        check=True,
        capture_output=True,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
            **environment,
        },
    )
    return time.perf_counter() - start


def several(overrides: list[str], runs: int) -> list[str]:
    return ["-m", *overrides, "seed=" + ",".join(map(str, range(runs)))]


def compare(folder: Path, repeats: int) -> None:
    singles: dict[str, list[float]] = {side: [] for side in SIDES}
    further: dict[str, list[float]] = {side: [] for side in SIDES}
    for repeat in range(repeats + 1):
        for side, overrides in SIDES.items():
            one = seconds(folder, overrides)
            grid_of_one, grid = (seconds(folder, several(overrides, runs)) for runs in (1, 1 + MORE))
            if repeat:  # the first round fills caches and makes the database
                singles[side].append(one)
                further[side].append((grid - grid_of_one) / MORE)
    bare, bare_further = statistics.median(singles["none"]), statistics.median(further["none"])
    for side in SIDES:
        one, more = statistics.median(singles[side]), statistics.median(further[side])
        print(
            f"{side:14} one run {one:6.2f} s ({one - bare:+.2f} s, {one / bare:.2f} times)   "
            f"beyond the first {more:6.3f} s ({1000 * (more - bare_further):+.0f} ms)"
        )


class Silent(BaseHTTPRequestHandler):
    """Answers the first question, if at all, and nothing after it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.status == 200 and (self.server.asked or not self.server.answers):
            threading.Event().wait(300)
        self.server.asked = True
        data = b'{"data": {"viewer": {"id": "u", "entity": "ann", "username": "ann", "flags": "{}"}}}'
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def bad_server(kind: str):
    """Yield the address of a server that is of no use."""
    if kind == "refuses":
        yield "http://127.0.0.1:1"
    elif kind == "black hole":
        with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            for waiting in (first, second):
                waiting.setblocking(False)
                waiting.connect_ex(listening.getsockname())
            yield "http://{}:{}".format(*listening.getsockname())
    else:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
        server.daemon_threads = True
        server.asked, server.answers, server.status = False, kind == "dies", 500 if kind == "answers 500" else 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()


def unreachable(folder: Path, repeats: int) -> None:
    for kind in ("refuses", "black hole", "stalls", "answers 500", "dies"):
        extra = []
        for _ in range(repeats):
            bare = seconds(folder, SIDES["none"])
            with bad_server(kind) as url:
                extra.append(seconds(folder, ["tracking=wandb"], WANDB_BASE_URL=url, WANDB_API_KEY=KEY) - bare)
        print(f"server that {kind:12} median {statistics.median(extra):+6.2f} s, most {max(extra):+6.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--unreachable", action="store_true")
    options = parser.parse_args()
    os.environ.pop("MLSYS_NO_TRACKING", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(folder, options.repeats)
        if options.unreachable:
            unreachable(folder, options.repeats)


if __name__ == "__main__":
    main()
