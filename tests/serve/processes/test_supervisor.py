"""The service as a user starts it: processes, signals, large bodies, reloads under load."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from mlsys.runs.writer import RunWriter
from serve.keys import add_key
from serve.model_reference import ResolvedModel
from serve.predictions import read_predictions
from serve.processes.supervisor import import_shared
from serve.shared_state import Models
from tests.serve.conftest import ROOT, write_run
from tests.waiting import HANG, wait_until


@pytest.fixture(scope="module")
def link(tmp_path_factory, run):
    """A symbolic link to the run that can be pointed at another run."""
    link = tmp_path_factory.mktemp("link") / "best"
    link.symlink_to(run.path)
    return link


@pytest.fixture(scope="module")
def admin(link):
    """Return the key file and the headers of an admin."""
    keys = link.parent / "keys.txt"
    return keys, {"authorization": f"Bearer {add_key(keys, 'ops', 'admin')}"}


@pytest.fixture(scope="module")
def service(start, link, admin, tmp_path_factory):
    """Two workers, a batch worker and a log worker, with keys."""
    folder = tmp_path_factory.mktemp("service")
    with start(folder, link, "--workers", 2, "--keys", admin[0]) as service:
        service.client.headers.update(admin[1])
        service.folder = folder
        service.until(lambda: settled(service))
        yield service


def settled(service):
    """Return whether all four processes are idle: they sleep, and their memory does not change."""
    before = [memory(pid) for pid in service.children()]
    for _ in range(10):
        if not all(is_sleeping(pid) for pid in service.children()):  # a process that waits for a CPU does not sleep
            return False
        time.sleep(0.03)
    after = [memory(pid) for pid in service.children()]
    return len(before) == len(after) == 4 and max(abs(a - b) for a, b in zip(after, before, strict=True)) < 0.5


def is_sleeping(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def total(service, name):
    text = service.client.get("/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def memory(pid):
    """Return the private memory of a process in MB."""
    found = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^(?:Private_Clean|Private_Dirty): +(\d+)", found, re.MULTILINE)) / 1e3


def test_all_processes_respond_log_and_count(service, record):
    before = total(service, "mlsys_serve_requests_total")
    answers = []
    for _ in range(10):  # a new connection each, so that both workers get some
        with socket.create_connection(service.client.base_url.netloc.decode().split(":")) as _connection:
            pass
        answers.append(service.client.post("/predict", json=record, headers={"connection": "close"}))
    assert {answer.status_code for answer in answers} == {200}
    large = service.client.post("/predict/batch", json={"records": [record] * 1_000, "ids": list(range(1_000))})
    assert len(large.json()["predictions"]) == 1_000
    assert total(service, "mlsys_serve_requests_total") >= before + 11
    assert total(service, "mlsys_serve_batch_rows_sum") == 1_000
    assert total(service, "mlsys_serve_probability_count") == 1_010
    ids = {answer.json()["request_id"] for answer in answers}
    logged = service.until(lambda: ids <= {line.get("request_id") for line in service.lines()} and service.lines())
    line = next(line for line in logged if line.get("request_id") in ids)
    assert (line["path"], line["status"], line["client"]) == ("/predict", 200, "ops")
    url = f"sqlite:///{service.folder}/predictions.db"
    service.until(lambda: len(read_predictions(url)) == 1_010)
    kept = read_predictions(url)
    assert ids <= set(kept["request_id"])
    assert set(kept["version"]) == {large.json()["model"]["version"]}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_100_mb_uses_little_memory_and_gets_413(service, admin, chunked):
    before = {pid: memory(pid) for pid in service.children()}
    piece, peak = b" " * 1_000_000, dict(before)
    connection = http.client.HTTPConnection(service.client.base_url.netloc.decode(), timeout=HANG)
    connection.putrequest("POST", "/predict/batch")
    for name, value in {"Content-Type": "application/json", **admin[1]}.items():
        connection.putheader(name, value)
    connection.putheader(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "100000000")))
    connection.endheaders()
    for _ in range(100):
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        peak = {pid: max(size, memory(pid)) for pid, size in peak.items()}
    if chunked:
        connection.send(b"0\r\n\r\n")
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"] == "too_large"
    connection.close()
    assert max(peak[pid] - before[pid] for pid in before) < 20


def test_an_error_reaches_a_client_that_is_still_sending(service):
    for _ in range(20):
        with socket.create_connection(service.client.base_url.netloc.decode().split(":")) as connection:
            head = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head.encode() + b" " * 1_000_000)
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 401")


def test_reloading_under_load_fails_no_request(service, link, run, other_run, record):
    before = service.client.get("/model/info").json()["version"]
    stop, seen, failed, answered = threading.Event(), set(), [], Counter()

    def ask():
        connection = http.client.HTTPConnection(service.client.base_url.netloc.decode(), timeout=HANG)
        headers = {"content-type": "application/json", "authorization": service.client.headers["authorization"]}
        while not stop.is_set():
            connection.request("POST", "/predict", json.dumps(record), headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status == 200:
                seen.add((body["model"]["version"], round(body["probability"], 12)))
                answered[body["model"]["version"]] += 1
            else:
                failed.append(body)
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(ask) for _ in range(4)]
        for path in (other_run.path, run.path, other_run.path):
            link.unlink()
            link.symlink_to(path)
            answer = service.client.post("/model/reload", json={})
            assert answer.status_code == 200
            assert answer.json()["changed"]
            version = answer.json()["model"]["version"]
            enough = answered[version] + 50
            service.until(lambda: answered[version] > enough or failed, "responses of the new version")  # noqa: B023 - at once
        stop.set()
        for task in tasks:
            task.result()
    assert failed == []
    assert len(seen) == 2  # two versions, each with one probability: no response mixed them
    after = answer.json()["model"]["version"]
    assert after != before

    def all_follow():
        connections = [service.client.post("/predict", json=record, headers={"connection": "close"}) for _ in range(6)]
        batch = service.client.post("/predict/batch", json={"records": [record] * 1_000})
        return {each.json()["model"]["version"] for each in (*connections, batch)} == {after}

    service.until(all_follow)


def test_the_old_model_stays_if_the_new_one_cannot_be_served(service, link, record, tmp_path):
    before = service.client.get("/model/info").json()["version"]
    broken = write_run(tmp_path / "broken").path
    (broken / "threshold.json").write_text('{"threshold": 0.1}')
    kept = link.resolve()
    link.unlink()
    link.symlink_to(broken)
    answer = service.client.post("/model/reload", json={})
    assert (answer.status_code, answer.json()["error"]) == (409, "not_reloaded")
    assert "threshold.json" in answer.json()["message"]
    assert service.client.post("/predict", json=record).json()["model"]["version"] == before
    assert total(service, "mlsys_serve_model_swap_failures_total") >= 1
    link.unlink()
    link.symlink_to(kept)


def test_processes_that_die_are_restarted(service, record):
    before = set(service.children())
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    service.until(lambda: len(set(service.children()) - before) == 4)

    def answers():
        try:
            return service.client.post("/predict", json=record).is_success
        except httpx.TransportError:  # not listening yet, or a connection of a killed worker
            return False

    service.until(answers)
    service.until(lambda: service.client.post("/predict/batch", json={"records": [record] * 1_000}).is_success)


def test_requests_in_progress_finish_on_shutdown(start, run, record, tmp_path):
    with start(tmp_path, run.path, "--log-url", "none", "--shutdown-timeout", HANG) as service:
        answers = []

        def ask():
            answers.append(service.client.post("/predict/batch", json={"records": [record] * 20_000}))

        asking = threading.Thread(target=ask)
        asking.start()
        service.until(lambda: total(service, "mlsys_serve_batch_queue_depth") == 1 or answers)
        children = service.children()
        service.process.terminate()
        assert service.process.wait(HANG) == 0
        asking.join()
        assert [answer.status_code for answer in answers] == [200]
        assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
        assert list(tmp_path.glob("mlsys-serve-*")) == []


def test_no_process_outlives_a_killed_supervisor(service):
    """The last test of the shared service, which it kills."""
    children = service.children()
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not [pid for pid in children if Path(f"/proc/{pid}").exists()], "all processes to end")


def serve(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "serve", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )


def test_a_modified_run_is_not_served(tmp_path):
    folder = write_run(tmp_path / "damaged").path
    (folder / "model" / "calibration.json").write_text("{}")
    done = serve(tmp_path, folder, "--port", 0)
    assert done.returncode == 1
    assert done.stderr.count("calibration.json") == 1  # reported once, though several processes found it
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_in_use_is_reported(tmp_path, run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = serve(tmp_path, run.path, "--port", taken.getsockname()[1])
    assert done.returncode == 1
    assert "Cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_does_not_listen_beyond_loopback_without_keys(tmp_path, run):
    done = serve(tmp_path, run.path, "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "--insecure" in done.stderr


def test_help_has_an_example(tmp_path):
    done = serve(tmp_path, "--help")
    assert done.returncode == 0
    assert "python -m serve latest" in done.stdout
    assert "--follow" in done.stdout


@pytest.mark.parametrize(
    ("model", "needed"), [("catboost.CatBoostClassifier", True), ("sklearn.LogisticRegression", False)]
)
def test_catboost_is_imported_once_for_all_processes(tmp_path, monkeypatch, model, needed):
    writer = RunWriter(tmp_path / "run")
    writer.write_text("config.yaml", f"model:\n  _target_: {model}\n")
    writer.finish(seed=1, threads=1)
    monkeypatch.setitem(sys.modules, "catboost", None)  # makes the import fail
    with pytest.raises(ImportError) if needed else contextlib.nullcontext():
        import_shared(Models(ResolvedModel("run", "run", "1", str(writer.folder), "run")))
    import_shared(
        Models(ResolvedModel("none", "none", "1", str(tmp_path), "none"))
    )  # the process that loads it reports that it is not a run


CRASHES = {
    "an unforeseen exception": ("raise TypeError('ufunc\\n failed')", "TypeError: ufunc failed (", "--log-level debug"),
    "an abort": ("os.abort()", "worker ended by SIGABRT", "before it had loaded the model"),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("crash", CRASHES)
def test_a_model_that_cannot_be_loaded_ends_the_service_with_the_reason(crash, workers, run, tmp_path):
    action, *expected = CRASHES[crash]
    code = (
        "import os, sys, serve.__main__, serve.served_models as models\n"
        f"def load(path):\n {action}\nmodels.Scorer.load = load\nsys.exit(serve.__main__.main())"
    )
    options = [run.path, "--port", 0, "--log-url", "none", "--workers", workers]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, options)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    [reason] = done.stderr.splitlines()
    assert all(part in reason for part in expected)
