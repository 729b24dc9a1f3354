"""Small synthetic run directories to compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mlsys.evaluation.metrics import evaluate
from mlsys.runs import Run, RunWriter
from mlsys.runs.catalog.index import RunIndex

AS_OFS = ("2020-02-24", "2020-03-23", "2020-04-27")


def predictions(skill: float, *, as_ofs: tuple[str, ...] = AS_OFS, entities: int = 80, seed: int = 0) -> pd.DataFrame:
    """Return predictions whose outcomes do not depend on the skill; an as-of of None is a fold of a flat table."""
    parts = []
    for fold, as_of in enumerate(as_ofs):
        outcomes = np.random.default_rng([7, *map(ord, str(as_of))])
        label = (outcomes.random(entities) < 0.15).astype(int)
        noise = np.random.default_rng([seed, fold]).normal(size=entities)
        logit = skill * (label - 0.5) + noise - 2
        ids = np.arange(entities) + (0 if as_of else fold * entities)
        parts.append(
            pd.DataFrame({"id": ids, "as_of": pd.Timestamp(as_of) if as_of else pd.NaT, "fold": fold, "label": label})
            .assign(label_complete=fold < 2, score=logit, probability=1 / (1 + np.exp(-logit)))
            .assign(value=np.where(label == 1, 50.0, np.nan), activity=np.nan)
        )
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"as_of": "datetime64[us]"})


def config(**changes: Any) -> dict[str, Any]:
    """Return a config with changes; keys with dots are nested."""
    made: dict[str, Any] = {
        "data": {"kind": "events", "name": "demo", "url": None, "horizon_days": 30, "outcome": {"time": "CLOSEDATE"}},
        "model": {"_target_": "xgboost.XGBClassifier", "max_depth": 3},
        "metrics": {"top_k": [5, 10], "bootstrap_resamples": 40, "confidence": 0.95},
        "objective": "log_loss",
        "seed": 3,
        "choices": {"model": "xgboost", "data": "demo", "sampler": "none"},
    }
    for key, value in changes.items():
        *parents, last = key.split(".")
        node = made
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return made


@pytest.fixture(scope="session")
def write() -> Callable[..., Run]:
    """Return a function that writes a run directory."""

    def make(folder: Path, rows: pd.DataFrame | None = None, *, status: str = "complete", **given: Any) -> Run:
        fingerprint = given.pop("fingerprint", "f" * 64)
        settings = config(**given)
        writer = RunWriter(folder)
        writer.write_text("config.yaml", yaml.safe_dump(settings, sort_keys=False))
        if status in ("complete", "trial"):
            rows = predictions(1.5) if rows is None else rows
            options = {name: settings["metrics"][name] for name in ("top_k", "bootstrap_resamples", "confidence")}
            options |= {"bootstrap_resamples": 0} if status == "trial" else {}
            writer.write_json("metrics.json", evaluate(rows, **options, seed=3))
            writer.write_parquet("predictions.parquet", rows)
        if status == "complete":
            writer.write_text("model/pipeline.skops", "x" * 2500)
        timing = {"fit": 2.0, "predict_ms": 10.0, "total": 3.0}
        writer.finish(seed=3, threads=1, status=status, data_fingerprint=fingerprint, timing=timing)  # type: ignore[arg-type]
        return Run.open(folder)

    return make


@pytest.fixture
def index(tmp_path: Path) -> RunIndex:
    return RunIndex(tmp_path / "index.sqlite")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Run]) -> Path:
    """A working folder with two runs that differ in their model: outputs/good and outputs/poor. Do not write there."""
    root = tmp_path_factory.mktemp("pair")
    write(root / "outputs" / "good", predictions(2.5))
    changes = {"model._target_": "sklearn.Dummy", "model.C": 1.0, "choices.model": "logistic"}
    write(root / "outputs" / "poor", predictions(0.2, seed=1), **changes)
    return root
