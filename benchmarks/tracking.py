"""Measure the wall time that tracking adds: W&B offline, MLflow on SQLite, and unusable W&B servers.

    python benchmarks/tracking.py [--repeats 5] [--unreachable]

Each variant is the command `python -m mlsys.train` on small demo data, in its own process; the variants alternate.
"each further run" is the time of a grid of five runs in one process minus that of a grid of one, per additional run.
`--unreachable` adds servers that refuse connections, never accept them, accept but never answer, answer 500, or die
during the run.
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
VARIANTS = {
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


def grid_overrides(overrides: list[str], runs: int) -> list[str]:
    return ["-m", *overrides, "seed=" + ",".join(map(str, range(runs)))]


def compare(folder: Path, repeats: int) -> None:
    singles: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    further: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for repeat in range(repeats + 1):
        for variant, overrides in VARIANTS.items():
            one = seconds(folder, overrides)
            grid_of_one, grid = (seconds(folder, grid_overrides(overrides, runs)) for runs in (1, 1 + MORE))
            if repeat:  # the first round fills caches and creates the database
                singles[variant].append(one)
                further[variant].append((grid - grid_of_one) / MORE)
    bare, bare_further = statistics.median(singles["none"]), statistics.median(further["none"])
    for variant in VARIANTS:
        one, more = statistics.median(singles[variant]), statistics.median(further[variant])
        print(
            f"{variant:14} one run {one:6.2f} s ({one - bare:+.2f} s, {one / bare:.2f} times)   "
            f"each further run {more:6.3f} s ({1000 * (more - bare_further):+.0f} ms)"
        )


class Silent(BaseHTTPRequestHandler):
    """Answers at most the first request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.status == 200 and (self.server.answered or not self.server.answers):
            threading.Event().wait(300)
        self.server.answered = True
        data = b'{"data": {"viewer": {"id": "u", "entity": "ann", "username": "ann", "flags": "{}"}}}'
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def bad_server(kind: str):
    """Yield the address of a server that cannot be used."""
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
        server.answered, server.answers, server.status = False, kind == "dies", 500 if kind == "answers 500" else 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()


def unreachable(folder: Path, repeats: int) -> None:
    for kind in ("refuses", "black hole", "stalls", "answers 500", "dies"):
        extra = []
        for _ in range(repeats):
            bare = seconds(folder, VARIANTS["none"])
            with bad_server(kind) as url:
                extra.append(seconds(folder, ["tracking=wandb"], WANDB_BASE_URL=url, WANDB_API_KEY=KEY) - bare)
        print(f"server that {kind:12} median {statistics.median(extra):+6.2f} s, max {max(extra):+6.2f} s")


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
