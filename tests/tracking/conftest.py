"""Runs to be tracked, and a place where no tracker of the user is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlsys.runs import Run
from mlsys.runs.writer import RunWriter
from mlsys.tracking import follow
from tests.tracking.wandb_stand_in import WandbServer, serving

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


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Track in a folder of the test's own, without the user's keys and settings, and end what it started."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("MLSYS_NO_TRACKING")
    for name, value in surroundings(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield
    follow._leave()


def surroundings(folder: Path) -> dict[str, str]:
    """Return variables that keep trackers in a folder, and away from the network."""
    places = {name: str(folder / name.lower()) for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR")}
    quiet = {"WANDB_ERROR_REPORTING": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**places, **quiet, "NETRC": str(folder / "netrc"), "WANDB_BASE_URL": "http://127.0.0.1:9"}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Return a function that writes a small run, of any status."""

    def make(place: str = "outputs/2026-11-20/10-00-00", status: str = "complete", search: str = "null") -> Run:
        writer = RunWriter(tmp_path / place)
        writer.write_text("config.yaml", f"{CONFIG}search: {search}\n")
        if status in ("complete", "trial"):
            writer.write_json("metrics.json", METRICS)
        writer.write_text("train.log", f"{place}\n")
        writer.finish(seed=1, threads=1, status=status, timing={"fit": 1.5, "total": 2.0})  # type: ignore[arg-type]
        return Run.open(tmp_path / place)

    return make


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A W&B server on the loopback."""
    with serving() as found:
        yield found
