"""How each service is started, asked and read: each has a process with one worker that computes in one thread."""

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
    """Return what MLflow takes."""
    return {"dataframe_split": {"columns": list(record), "data": [list(record.values())]}}


def tensors(record: dict) -> dict:
    """Return what MLServer takes: the V2 inference protocol."""
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
    """A service.

    Attributes
    ----------
    needs : str
        Module without which it cannot run.
    command : callable
        From its Python, the run, a free port and an empty folder to a command.
    """

    needs: str
    command: Callable[[str, Path, int, Path], list[str]]
    path: str = "/predict"
    body: Callable[[dict], dict] = flat
    read: Callable[[dict], float] = probability
    constant: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def uvicorn(name: str) -> Callable[[str, Path, int, Path], list[str]]:
    """Return the command of an application in apps.py; without an access log, which costs it time."""
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
    """Return why a service cannot run, None if it can."""
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
    """A service that has answered."""

    process: subprocess.Popen
    server: Server
    port: int
    folder: Path
    ready: float  # seconds from its start to its first right answer

    def post(self, body: bytes, path: str | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        return post(self.port, path or self.server.path, body, headers)

    def load(self, bodies: list[bytes], connections: int, seconds: float, **more) -> subprocess.Popen:
        """Start the load client; `result` waits for what it found."""
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
    patience: float = 90.0,
) -> Iterator[Running]:
    """Run a service until the block ends; it has answered a record when the block begins."""
    server, port = SERVERS[name], free_port()
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as temporary:
        folder, body = Path(temporary), json.dumps(server.body(record)).encode()
        command = [*server.command(python, run, port, folder), *options]
        paths = str(ROOT) if name == "mlsys" else f"{HERE}:{ROOT}"
        environment = {**os.environ, **ONE_THREAD, **server.environment, "PYTHONPATH": paths, "BENCH_RUN": str(run)}
        with (folder / "log").open("wb") as log:
            begun = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait(process, begun + patience, folder, lambda: post(port, server.path, body, headers))
            yield Running(process, server, port, folder, time.perf_counter() - begun)
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
            raise RuntimeError(f"it never answered (last {status} {answer[:300]!r}); its log ends with\n{log}")
        time.sleep(0.005)


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the group is of our own making: its session began with the service
    process.wait()


def children(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for child in found for each in (child, *children(child))]


SHARED, OWN = ("Pss:",), ("Private_Clean:", "Private_Dirty:")


def memory(pid: int, kinds: tuple[str, ...] = SHARED) -> float:
    """Return MB of a process, with its part of what it shares with others or without."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(kinds)) / 1e3


def all_memory(pid: int) -> dict[int, float]:
    found = {}
    for each in (pid, *children(pid)):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has just ended
            found[each] = memory(each)
    return found
