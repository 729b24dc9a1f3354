"""Targets of the service itself: single records during batches, large requests, startup, memory, soak, fuzz."""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import runs, servers

BATCH_ROWS = 10_000
TABLES = {"json": "application/json", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


def own_probability(run: Path, row: dict) -> float:
    import pandas as pd

    from mlsys.runs.model_io import load_model

    return float(load_model(run).predict_proba(pd.DataFrame([row]))[0, 1])


def mixed(options: argparse.Namespace, targets) -> None:
    """Measure single records without and with a batch every half second; closed loop, one connection."""
    seconds = options.seconds or 10.0
    trained = runs.train_all(options.runs, options.models)
    rows = runs.records(options.runs, BATCH_ROWS)
    batch = json.dumps({"records": rows}).encode()
    for model, run in trained.items():
        with servers.running("mlsys", run, rows[0]) as service:
            bodies = [json.dumps(row).encode() for row in rows[:64]]
            service.post(batch, "/predict/batch")
            servers.result(service.load(bodies, 4, 0.7))
            quiet = servers.result(service.load(bodies, 1, seconds))
            client = service.load(bodies, 1, seconds)
            durations = send_batches(service, batch, client)
            busy = servers.result(client)
        for name, found in (("quiet", quiet), ("during batches", busy)):
            times = ", ".join(f"{what} {found[what] * 1e3:.3f} ms" for what in ("p50", "p99", "worst"))
            print(f"{model}, {name}: {times}, {found['rate']:,.0f} requests/s")
        print(f"{model}: {len(durations)} batches, median {statistics.median(durations):.2f} s")
        targets.at_most(
            f"{model}: p99 of single records during batches, relative to without", busy["p99"] / quiet["p99"], 5
        )


def send_batches(service: servers.Running, batch: bytes, client: subprocess.Popen) -> list[float]:
    """Send a batch every half second until a client ends; return the duration of each in seconds."""
    durations: list[float] = []
    threads = []

    def send() -> None:
        started = time.perf_counter()
        status, answer = service.post(batch, "/predict/batch")
        if status != 200:
            sys.exit(f"a batch got {status}: {answer[:300]!r}")
        durations.append(time.perf_counter() - started)

    while client.poll() is None:
        threads.append(threading.Thread(target=send))
        threads[-1].start()
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    return durations


def batch(options: argparse.Namespace, targets) -> None:
    """Measure 10,000 rows per request, compared with parsing and predicting in a separate process."""
    import pandas as pd

    trained = runs.train_all(options.runs, options.models)
    rows = runs.records(options.runs, BATCH_ROWS)
    frame, parquet = pd.DataFrame(rows), io.BytesIO()
    frame.to_parquet(parquet)
    bodies = {
        "json": json.dumps({"records": rows}).encode(),
        "csv": frame.to_csv(index=False).encode(),
        "parquet": parquet.getvalue(),
    }
    for kind, body in bodies.items():
        (options.runs / f"batch.{kind}").write_bytes(body)
    for model, run in trained.items():
        bare = bare_seconds(run, options.runs)
        with servers.running("mlsys", run, rows[0]) as service:
            for kind, body in bodies.items():
                durations = [timed(service, body, TABLES[kind]) for _ in range(21)][1:]
                ours = statistics.median(durations)
                print(f"{model}, {kind}: {ours * 1e3:.0f} ms, bare {bare[kind] * 1e3:.0f} ms")
                targets.at_most(f"{model}, {kind}: time relative to parsing and predict alone", ours / bare[kind], 1.5)


def timed(service: servers.Running, body: bytes, media: str) -> float:
    started = time.perf_counter()
    status, answer = service.post(body, "/predict/batch", {"content-type": media})
    if status != 200:
        sys.exit(f"a batch got {status}: {answer[:300]!r}")
    return time.perf_counter() - started


def bare_seconds(run: Path, folder: Path) -> dict[str, float]:
    environment = {**os.environ, **servers.ONE_THREAD, "PYTHONPATH": str(servers.ROOT)}
    command = [sys.executable, servers.HERE / "bare.py", run, folder]
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def start(options: argparse.Namespace, targets) -> None:
    """Measure the time to the first response, memory, and the cost of a 100 MB body."""
    trained = runs.train_all(options.runs, options.models)
    row = runs.records(options.runs, 1)[0]
    for model, run in trained.items():
        ready = []
        for _ in range(3):
            with servers.running("mlsys", run, row) as service:
                ready.append(service.ready)
        targets.at_most(f"{model}: seconds to the first response", statistics.median(ready), 1.5)
        with servers.running("mlsys", run, row) as service:
            servers.result(service.load([json.dumps(row).encode()], 4, 3.0))
            processes = servers.all_memory(service.process.pid)
            print(f"{model}: MB per process {[round(size) for size in processes.values()]}")
            targets.at_most(f"{model}: MB in total", sum(processes.values()), 250)
            for chunked in (False, True):
                grown, status = large_body(service, chunked)
                print(f"{model}: a 100 MB body {'in chunks' if chunked else 'with Content-Length'} got {status}")
                targets.at_most(f"{model}: MB used for it", grown if status == 413 else float("inf"), 20)


def large_body(service: servers.Running, chunked: bool) -> tuple[float, int]:
    """Send 100 MB; return the peak memory growth in MB, and the status."""
    pids = [service.process.pid, *servers.children(service.process.pid)]
    before = sum(servers.memory(pid, servers.OWN) for pid in pids)
    peak, piece = before, b" " * 1_000_000
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.putrequest("POST", "/predict/batch")
    connection.putheader("Content-Type", "application/json")
    connection.putheader(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "100000000")))
    connection.endheaders()
    for _ in range(100):
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        peak = max(peak, sum(servers.memory(pid, servers.OWN) for pid in pids))
    if chunked:
        connection.send(b"0\r\n\r\n")
    status = connection.getresponse().status
    connection.close()
    return peak - before, status


def soak(options: argparse.Namespace, targets) -> None:
    """Run at 80 % of capacity, reload every 20 s, and kill a worker halfway."""
    seconds, connections = options.seconds or 600.0, 8
    run = runs.train_all(options.runs, options.models[:1])[options.models[0]]
    rows = runs.records(options.runs, 64)
    bodies = [json.dumps(row).encode() for row in rows]
    keys = options.runs / "soak-keys.txt"
    keys.unlink(missing_ok=True)
    created = subprocess.run(
        [sys.executable, "-m", "serve.keys", "soak", "--scope", "admin", "--file", keys],
        env={**os.environ, "PYTHONPATH": str(servers.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    headers = {"x-api-key": created.stdout.split()[-1]}
    more = ("--workers", "2", "--keys", str(keys))
    with servers.running("mlsys", run, rows[0], options=more, headers=headers) as service:
        servers.result(service.load(bodies, connections, 2.0, headers=headers))
        capacity = servers.result(service.load(bodies, connections, 5.0, headers=headers))["rate"]
        print(
            f"capacity {capacity:,.0f} requests/s over {connections} connections; {seconds:.0f} s at 80 %", flush=True
        )
        client = service.load(bodies, connections, seconds, headers=headers, rate=0.8 * capacity)
        disturbance = Disturbance(service, headers, seconds)
        disturbance.run(client)
        found = servers.result(client)
    print(f"{found['requests']:,} requests, {found['statuses']}, lost {found['lost']}, {disturbance.reloads} reloads")
    other = sum(count for status, count in found["statuses"].items() if status != "200")
    near = [each for each in found["lost"] if abs(each - disturbance.killed) < 1.0]
    targets.at_most("responses other than 200", other, 0)
    targets.at_most("requests lost outside the killed worker", len(found["lost"]) - len(near), 0)
    targets.at_most("requests lost in the killed worker", len(near), connections)
    print(f"MB in total: {', '.join(f'{size:.0f}' for size in disturbance.sizes)}")
    targets.at_most(
        "MB growth from the first quarter to the end",
        disturbance.sizes[-1] - disturbance.sizes[len(disturbance.sizes) // 4],
        10,
    )


class Disturbance:
    """Reload the model, kill a worker and sample memory while a client sends requests."""

    def __init__(self, service: servers.Running, headers: dict[str, str], seconds: float) -> None:
        self.service, self.headers, self.seconds = service, headers, seconds
        self.reloads, self.killed, self.sizes = 0, float("inf"), []

    def run(self, client: subprocess.Popen) -> None:
        started, every = time.perf_counter(), min(20.0, self.seconds / 6)
        due = every
        while client.poll() is None:
            time.sleep(0.05)
            now = time.perf_counter() - started
            if self.killed > now and now > self.seconds / 2:
                worker = servers.children(self.service.process.pid)[1]  # the first one is the log worker
                os.kill(worker, signal.SIGKILL)
                self.killed = now
            if now > due and now < self.seconds - 1:
                due += every
                status, answer = self.service.post(b"{}", "/model/reload", self.headers)
                if status != 200:
                    sys.exit(f"a reload got {status}: {answer[:300]!r}")
                self.reloads += 1
                self.sizes.append(sum(servers.all_memory(self.service.process.pid).values()))


def fuzz(options: argparse.Namespace, targets) -> None:
    """Run the fuzz tests with many more bodies."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/serve/http/test_fuzz.py"]
    environment = {**os.environ, "PYTHONPATH": str(servers.ROOT), "MLSYS_FUZZ_BODIES": str(options.bodies)}
    done = subprocess.run(command, cwd=servers.ROOT, env=environment, check=False)
    targets.at_most(f"exit code of the fuzz tests with {options.bodies:,} bodies", done.returncode, 0)
