"""How to start and call each service: one process with one worker that computes in one thread."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def flat(record: dict) -> dict:
    return record


def probability(answer: dict) -> float:
    return answer["probability"]


def split(record: dict) -> dict:
    """Return a record in the format of MLflow."""
    return {"dataframe_split": {"columns": list(record), "data": [list(record.values())]}}


def tensors(record: dict) -> dict:
    """Return a record in the format of MLServer, the V2 inference protocol."""
    inputs = [
        {
            "name": name,
            "shape": [1, 1],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [value],
            **({"parameters": {"content_type": "str"}} if isinstance(value, str) else {}),
        }
        for name, value in record.items()
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


@dataclass(frozen=True)
class Server:
    """A service to measure.

    Attributes
    ----------
    needs : str
        Module that the service requires.
    command : callable
        Function of the Python executable, the run, a free port and an empty folder that returns the command.
    """

    needs: str
    command: Callable[[str, Path, int, Path], list[str]]
    path: str = "/predict"
    body: Callable[[dict], dict] = flat
    read: Callable[[dict], float] = probability
    constant: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def uvicorn(name: str) -> Callable[[str, Path, int, Path], list[str]]:
    """Return the command for an application in apps.py, without the access log, which would slow it down."""
    return lambda python, _run, port, _folder: [
        *(python, "-m", "uvicorn", "--factory", f"apps:{name}", "--port", str(port)),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
    ]


def mlflow(python: str, run: Path, port: int, folder: Path) -> list[str]:
    model = folder / "model"
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{ROOT}", "BENCH_RUN": str(run)}
    subprocess.run([python, HERE / "peers.py", "mlflow", model], env=environment, check=True, capture_output=True)
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [python, "-m", "mlflow", "models", "serve", "--model-uri", str(model), *options]


def mlserver(python: str, _run: Path, port: int, folder: Path) -> list[str]:
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    model = {"name": "model", "implementation": "mlserver_runtime.Model"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [str(Path(python).with_name("mlserver")), "start", str(folder)]


def bentoml(python: str, _run: Path, port: int, _folder: Path) -> list[str]:
    return [python, "-m", "bentoml", "serve", "bento:Model", "--port", str(port), "--working-dir", str(HERE)]


SERVERS = {
    "mlsys": Server("serve", lambda python, run, port, _: [python, "-m", "serve", str(run), "--port", str(port)]),
    "mlflow": Server("mlflow", mlflow, "/invocations", split, lambda answer: answer["predictions"][0][1]),
    "ray": Server("ray.serve", lambda python, _run, port, _: [python, str(HERE / "peers.py"), "ray", str(port)]),
    "mlserver": Server(
        "mlserver", mlserver, "/v2/models/model/infer", tensors, lambda answer: answer["outputs"][0]["data"][0]
    ),
    "bentoml": Server("bentoml", bentoml, "/predict", lambda record: {"record": record}),
    "fastapi+pandas": Server("fastapi", uvicorn("plain")),
    "fastapi constant": Server("fastapi", uvicorn("constant"), constant=True),
    "msgspec constant": Server("msgspec", uvicorn("packed"), constant=True),
}
PEERS = ("mlflow", "ray", "mlserver", "bentoml", "fastapi+pandas")


def missing(name: str, python: str) -> str | None:
    """Return the reason why a service cannot run, or None if it can."""
    command = [python, "-c", f"import {SERVERS[name].needs}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@dataclass
class Running:
    """A running service."""

    process: subprocess.Popen
    server: Server
    port: int
    folder: Path
    ready: float  # seconds from the start to the first successful response

    def post(self, body: bytes, path: str | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        return post(self.port, path or self.server.path, body, headers)

    def load(self, bodies: list[bytes], connections: int, seconds: float, **more) -> subprocess.Popen:
        """Start the load client; `result` waits for its results."""
        given = Path(tempfile.mkdtemp(dir=self.folder))
        (given / "bodies").write_bytes(b"\n".join(bodies))
        job = {"host": "127.0.0.1", "port": self.port, "path": self.server.path, "bodies": str(given / "bodies")}
        (given / "job.json").write_text(json.dumps(job | {"connections": connections, "seconds": seconds} | more))
        return subprocess.Popen([sys.executable, HERE / "load.py", given / "job.json"], stdout=subprocess.PIPE)


def result(client: subprocess.Popen) -> dict:
    out, _ = client.communicate()
    if client.returncode:
        sys.exit("the load client failed")
    return json.loads(out)


def post(port: int, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextlib.contextmanager
def running(
    name: str,
    run: Path,
    record: dict,
    *,
    python: str = sys.executable,
    options: tuple[str, ...] = (),
    headers: dict[str, str] | None = None,
    timeout: float = 90.0,
) -> Iterator[Running]:
    """Run a service for the duration of the block, which starts after its first successful response."""
    server, port = SERVERS[name], free_port()
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as temporary:
        folder, body = Path(temporary), json.dumps(server.body(record)).encode()
        command = [*server.command(python, run, port, folder), *options]
        paths = str(ROOT) if name == "mlsys" else f"{HERE}:{ROOT}"
        environment = {**os.environ, **ONE_THREAD, **server.environment, "PYTHONPATH": paths, "BENCH_RUN": str(run)}
        with (folder / "log").open("wb") as log:
            started = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait(process, started + timeout, folder, lambda: post(port, server.path, body, headers))
            yield Running(process, server, port, folder, time.perf_counter() - started)
        finally:
            stop(process)


def wait(process, deadline: float, folder: Path, ask: Callable[[], tuple[int, bytes]]) -> None:
    while True:
        try:
            status, answer = ask()
        except OSError:
            status, answer = 0, b""
        if status == 200:
            return
        if process.poll() is not None or time.perf_counter() > deadline:
            log = (folder / "log").read_text(errors="replace")[-1500:]
            raise RuntimeError(f"no successful response (last {status} {answer[:300]!r}); its log ends with\n{log}")
        time.sleep(0.005)


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(
            process.pid, signal.SIGKILL
        )  # the process group belongs to the service alone: it was started in a new session
    process.wait()


def children(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for child in found for each in (child, *children(child))]


SHARED, OWN = ("Pss:",), ("Private_Clean:", "Private_Dirty:")


def memory(pid: int, kinds: tuple[str, ...] = SHARED) -> float:
    """Return the memory of a process in MB, with or without its part of shared memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(kinds)) / 1e3


def all_memory(pid: int) -> dict[int, float]:
    found = {}
    for each in (pid, *children(pid)):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has ended in the meantime
            found[each] = memory(each)
    return found
