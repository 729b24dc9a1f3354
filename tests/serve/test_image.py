"""The container image, as far as it can be tested without a container engine: linter, lock, commands."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from serve.keys import add_key
from tests.serve.conftest import ROOT
from tests.waiting import HANG, wait_until

TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
COMPILE = re.findall(r"^RUN (cc .*?)&&", TEXT, re.MULTILINE)[0]
NO_REGISTRY = re.compile(
    r"error sending request|client error \(Connect\)|dns error|timed out|offline|network was disabled"
)
HASHED = ["--no-deps", "--require-hashes"]
# Imports every module of the service, and so all of its dependencies.
EVERYTHING = """
import importlib, pkgutil, serve
for module in pkgutil.walk_packages(serve.__path__, "serve."):
    importlib.import_module(module.name)
import mlsys.data, mlsys.registry.folder
"""


def last(instruction):
    """Return the JSON form of the last command of an instruction."""
    return json.loads(re.findall(rf"^{instruction} .*?(\[.*\])$", TEXT, re.MULTILINE)[-1])


def variables():
    line = re.findall(r"^ENV (.*)$", TEXT, re.MULTILINE)[-1]
    return dict(pair.split("=", 1) for pair in line.split())


def test_the_linter_finds_nothing():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_copied_files_are_in_the_build_context():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^COPY ([\w.-]+) ", TEXT, re.MULTILINE))
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_it_does_not_run_as_root_and_installs_pinned_hashes_only():
    assert re.findall(r"^USER (\d+)$", TEXT, re.MULTILINE) != []
    assert re.search(rf"uv pip install .*{' '.join(HASHED)} -r \S*requirements-serve\.lock", TEXT)
    assert re.findall(r"\bpip install\b", TEXT) == ["pip install"]


def test_training_packages_are_not_in_the_lock():
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements-serve.lock").read_text(), re.MULTILINE))
    assert locked.isdisjoint({"hydra-core", "optuna", "wandb", "mlflow", "imbalanced-learn", "pandera", "ray"})


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A folder with the contents of /opt in the image."""
    folder = tmp_path_factory.mktemp("image")
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", folder / "venv" / "bin" / "python", *HASHED]
    done = subprocess.run(
        [*command, "-r", ROOT / "requirements-serve.lock"],
        cwd=folder,  # the project's uv settings are not in the image either
        env={**os.environ, "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "20"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and NO_REGISTRY.search(done.stderr):
        pytest.skip(f"no package registry answers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    for package in ("mlsys", "serve"):
        shutil.copytree(ROOT / package, folder / "mlsys" / package, ignore=shutil.ignore_patterns("traverse.bin"))
    if shutil.which("cc"):
        subprocess.run(COMPILE.split(), cwd=folder / "mlsys", check=True)
    yield folder
    shutil.rmtree(folder)


def inside(image, **more):
    """Return the environment of a process in the image."""
    given = {name: value.replace("/opt", str(image)) for name, value in variables().items()}
    given["PATH"] = given["PATH"].replace("$PATH", os.environ["PATH"])
    return {"HOME": "/nonexistent", "TMPDIR": str(image), **given, **more}


@pytest.mark.slow
def test_the_locked_packages_serve_a_run(image, run, record, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = add_key(tmp_path / "keys.txt", "crm", "score")
    environment = inside(
        image, MLSYS_SERVE__HOST="127.0.0.1", MLSYS_SERVE__PORT=str(port), MLSYS_SERVE__KEYS=str(tmp_path / "keys.txt")
    )
    python = image / "venv" / "bin" / "python"
    entry, health = ([python, *last(name)[1:]] for name in ("ENTRYPOINT", "HEALTHCHECK"))
    assert last("ENTRYPOINT")[0] == last("HEALTHCHECK")[0] == "python"
    assert subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 1
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*entry, run.path], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        until_ready(process, f"http://127.0.0.1:{port}/ready", tmp_path / "log")
        assert subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 0
        url = f"http://127.0.0.1:{port}/predict"
        answer = httpx.post(url, json=record, headers={"authorization": f"Bearer {key}"}, timeout=HANG)
        assert answer.status_code == 200
        assert answer.json()["model"]["run"] in str(run.path)
        assert httpx.post(url, json=record, timeout=HANG).status_code == 401
    finally:
        process.terminate()
        assert process.wait(HANG) == 0
    assert (tmp_path / "predictions.db").is_file()


def until_ready(process, url, log):
    def ready():
        try:
            return httpx.get(url, timeout=HANG).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(ready, "the service is ready", process=process, output=log.read_text, pause=0.1)


@pytest.mark.slow
def test_the_lock_has_all_dependencies_of_the_service(image):
    python = image / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", EVERYTHING], cwd=image, env=inside(image), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_it_does_not_start_without_keys(image, run):
    done = subprocess.run(
        [image / "venv" / "bin" / "python", *last("ENTRYPOINT")[1:], run.path],
        cwd=image,
        env=inside(image),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "file not found: /keys.txt" in done.stderr
