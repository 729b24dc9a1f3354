"""Runs to track, isolated from the user's own trackers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlsys.runs import Run
from mlsys.runs.writer import RunWriter
from mlsys.tracking import Tracker, client
from mlsys.tracking.base import Receipt
from mlsys.tracking.client import TrackingClient
from tests.conftest import Crm
from tests.tracking.wandb_stand_in import WandbServer, serving
from tests.waiting import HANG

CONFIG = """\
objective: log_loss
model: {_target_: sklearn.Dummy, depth: 3}
tags: [baseline]
"""
METRICS = {
    "overall": {"log_loss": {"value": 0.5, "low": 0.4, "high": 0.6}, "precision@10": {"value": 0.2}},
    "folds": [{"as_of": "2020-02-24", "log_loss": 0.4}, {"as_of": "2020-03-23", "log_loss": 0.6}],
    "baselines": {"chance": {"log_loss": {"value": 0.7}}},
    "calibration": {"before": {"ece": 0.1}, "after": {"ece": 0.2}},
}


# On a busy machine trackers take longer than users would wait.
LONG_TIMEOUTS = {"start_timeout": HANG, "finish_timeout": HANG}


@pytest.fixture(autouse=True)
def isolate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Track in the test's own folder, without the user's keys and settings, and close all trackers at the end."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("MLSYS_NO_TRACKING")
    for name, value in isolated_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield
    client._close_all()


def isolated_environment(folder: Path) -> dict[str, str]:
    """Return variables that keep trackers in a folder and off the network."""
    folders = {name: str(folder / name.lower()) for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR")}
    offline = {"WANDB_ERROR_REPORTING": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    offline["MLFLOW_HTTP_REQUEST_TIMEOUT"] = f"{HANG:.0f}"
    return {**folders, **offline, "NETRC": str(folder / "netrc"), "WANDB_BASE_URL": "http://127.0.0.1:9"}


def write_run(folder: Path, status: str = "complete", search: str = "null") -> Run:
    """Write a small run, of any status."""
    writer = RunWriter(folder)
    writer.write_text("config.yaml", f"{CONFIG}search: {search}\n")
    if status in ("complete", "trial"):
        writer.write_json("metrics.json", METRICS)
    writer.write_text("train.log", f"{folder}\n")
    writer.finish(seed=1, threads=1, status=status, timing={"fit": 1.5, "total": 2.0})  # type: ignore[arg-type]
    return Run.open(folder)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Return a function that writes a small run below the test's own folder."""

    def make(path: str = "outputs/2026-11-20/10-00-00", status: str = "complete", search: str = "null") -> Run:
        return write_run(tmp_path / path, status, search)

    return make


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A W&B server on the loopback."""
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, crm: Crm) -> Run:
    """A complete run of mlsys.train; read-only."""
    from omegaconf import OmegaConf

    from mlsys.compose import compose_config
    from mlsys.prepare import prepare
    from mlsys.train import train

    folder = tmp_path_factory.mktemp("tracked") / "outputs" / "day" / "run"
    small = [
        "threads=1",
        "metrics.bootstrap_resamples=10",
        "model.n_estimators=10",
        "split.folds=2",
        "features=minimal",
    ]
    config = compose_config([*crm.overrides, *small, "data.cache=false", "tracking=none", "tags=[baseline]"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSYS_NO_TRACKING", "1")
        train(prepare(OmegaConf.create(config.to_dict())), folder, [])
    return Run.open(folder)


def send(tracker: Tracker, folder: Path) -> Receipt:
    """Send a finished run as training does and return its receipt."""
    tracking_client = TrackingClient(tracker)
    tracking_client.start(folder)
    tracking_client.finish(folder)
    flushed = tracking_client.flush()
    tracking_client.close()
    assert flushed is not None
    return flushed[1]


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Address that neither accepts nor refuses connections, because its queue is full."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield "http://{}:{}".format(*listening.getsockname())
