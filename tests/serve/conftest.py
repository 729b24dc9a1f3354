"""Fixtures: small runs, the service inside the test process, and the service as a user starts it."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from mlsys.pipeline.encoders import OneHot
from mlsys.pipeline.requirements import requirements_of
from mlsys.runs.calibration import Calibration
from mlsys.runs.golden import golden_frame
from mlsys.runs.inputs import to_inputs
from mlsys.runs.model_io import save_model
from mlsys.runs.reader import Run
from mlsys.runs.writer import RunWriter
from serve.http.app import create_app
from serve.metrics import Metrics
from serve.model_reference import resolve_model
from serve.processes.http_worker import build_service
from serve.served_models import ModelSlot
from serve.settings import Settings
from serve.shared_state import Models
from tests.waiting import HANG, wait_until

ROOT = Path(__file__).parents[2]
INDUSTRIES = ["Retail", "Software", "Ärzte"]
SCHEMA = {
    "inputs": [
        {
            "name": "users",
            "dtype": "float64",
            "nullable": True,
            "min": 0.0,
            "max": 20.0,
            "unit": "users",
            "example": 3.0,
            "description": "users: latest 7 days",
        },
        {
            "name": "actions",
            "dtype": "float64",
            "nullable": False,
            "min": -10.0,
            "max": 10.0,
            "example": 0.5,
            "description": "actions: trend",
        },
        {
            "name": "industry",
            "dtype": "string",
            "nullable": True,
            "categories": INDUSTRIES,
            "example": "Software",
            "description": "industry sector",
        },
    ],
    "id": "account",
    "as_of": "as_of",
    "target": "CLOSEDATE within 30 days after the as-of",
    "positive": "converts",
}
RECORD = {"users": 3.0, "actions": 0.5, "industry": "Software"}


def write_run(folder, seed=7, recipe=None):
    rng = np.random.default_rng(seed)
    rows = 200
    frame = pd.DataFrame(
        {
            "users": np.where(rng.random(rows) < 0.1, np.nan, rng.poisson(3, rows)),
            "actions": rng.normal(size=rows),
            "industry": rng.choice([*INDUSTRIES, None], rows),
        }
    )
    label = (frame["actions"] + (frame["industry"] == "Software") + rng.normal(size=rows) > 0.5).astype(int)
    inputs = to_inputs(frame, SCHEMA)
    model = LogisticRegression()
    encoder = OneHot().build(["users", "actions"], ["industry"], requirements_of(model, None))
    pipeline = Pipeline([("encoder", encoder), ("model", model)]).fit(inputs, label.to_numpy())
    calibration = Calibration.prior(0.5, 0.3)
    writer = RunWriter(folder)
    writer.write_text("config.yaml", "seed: 1\nchoices: {model: logistic, data: crm}\n")
    writer.write_text("overrides.yaml", "- model=logistic\n")
    writer.write_json("schema.json", SCHEMA)
    writer.write_json("metrics.json", {"overall": {"roc_auc": {"value": 0.9, "low": 0.8, "high": 0.95}}})
    writer.write_json("audit.json", {"status": "pass", "checks": []})
    writer.write_json("threshold.json", {"threshold": 0.4})
    writer.write_json("reference.json", {})
    if recipe:
        writer.write_json("recipe.json", recipe)
    writer.write_text("card.md", "# A card of <b>this</b> run\n")
    save_model(pipeline, writer.folder)
    writer.write_json("model/calibration.json", calibration.to_dict())
    writer.write_parquet("golden.parquet", golden_frame(pipeline, calibration, inputs.head(20)))
    writer.finish(seed=1, threads=2, timing={"fit": 1.5})
    return Run.open(folder)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run, shared by all tests and never modified."""
    return write_run(tmp_path_factory.mktemp("runs") / "outputs" / "2026-11-20" / "10-00-00")


@pytest.fixture(scope="session")
def other_run(tmp_path_factory):
    """A run with the same inputs and another model."""
    return write_run(tmp_path_factory.mktemp("runs") / "outputs" / "2026-11-21" / "11-00-00", seed=8)


@pytest.fixture
def record():
    return dict(RECORD)


class Inside:
    """The service in this process, called without a network."""

    def __init__(self, settings, *, keys=(), rate=None):
        metrics = Metrics(CollectorRegistry())
        registry = Path(settings.registry)
        shadow = resolve_model(settings.shadow, registry) if settings.shadow else None
        slot = ModelSlot(Models(resolve_model(settings.run, registry), shadow), metrics.set_model)
        self.service = build_service(settings, slot, metrics, keys=keys, rate=rate)
        self.app = create_app(self.service)

    def __call__(self, method, path, **options):
        import asyncio

        return asyncio.run(self.ask(method, path, **options))

    async def ask(self, method, path, **options):
        transport = httpx.ASGITransport(app=self.app, client=("203.0.113.7", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **options)

    def get(self, path, **options):
        return self("GET", path, **options)

    def post(self, path, body=None, **options):
        return self("POST", path, json=body, **options) if body is not None else self("POST", path, **options)

    def metric(self, name, **labels):
        value = self.service.metrics.registry.get_sample_value(name, labels)
        return 0.0 if value is None else value


@pytest.fixture(scope="session")
def inside_of():
    """Return a factory of services in this process; their logs are closed at the end."""
    made = []

    def make(run, *, keys=(), rate=None, **settings):
        given = {"log_url": "none", "batch_workers": 0, "access_log": False, **settings}
        made.append(Inside(Settings(run=str(getattr(run, "path", run)), **given), keys=keys, rate=rate))
        return made[-1]

    yield make
    for inside in made:
        inside.service.log.close()


@pytest.fixture(scope="session")
def inside(run, inside_of):
    """The service of the run, without keys, limits or a prediction log."""
    return inside_of(run)


class Started:
    """The service in a separate process."""

    def __init__(self, process, url, log):
        self.process = process
        self.url = url
        self.log = log
        self.client = httpx.Client(base_url=url, timeout=HANG)

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def until(self, condition, what="what the test waits for"):
        """Wait until a condition holds while the service runs; return its value."""
        return wait_until(condition, what, process=self.process, output=lambda: self.log.read_text()[-3000:])

    def children(self):
        """Return the process ids of the workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@contextmanager
def started(folder, *arguments):
    log = folder / "service.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", *map(str, arguments), "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        assert lines[1].startswith("http"), log.read_text()
        service = Started(process, lines[1].split()[0], log)
        with service.client:
            yield service
    finally:
        process.terminate()
        process.wait(HANG)
        process.stdout.close()


@pytest.fixture(scope="session")
def start():
    """Return :func:`started`: a context manager that runs ``python -m serve`` in a folder."""
    return started
