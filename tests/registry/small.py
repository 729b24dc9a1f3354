"""Small synthetic runs that can be registered, promoted and served like real ones."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mlsys.evaluation.metrics import evaluate
from mlsys.runs import Run, RunWriter
from mlsys.runs.calibration import Calibration
from mlsys.runs.golden import golden_frame
from mlsys.runs.inputs import to_inputs
from mlsys.runs.model_io import MODEL_FILE, save_model
from tests.evaluation.comparison.conftest import config, predictions

SCHEMA: dict[str, Any] = {
    "inputs": [
        {"name": "users", "dtype": "float64", "nullable": True, "unit": "people"},
        {"name": "actions", "dtype": "float64", "nullable": False},
    ],
    "id": "id",
    "as_of": "as_of",
    "target": "converted",
    "positive": 1,
}


@lru_cache
def _model(names: tuple[str, ...]) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    rng = np.random.default_rng(3)
    frame = pd.DataFrame({name: rng.normal(size=40) for name in names})
    label = (frame[names[0]] > 0).astype(int)
    steps = [("impute", SimpleImputer(keep_empty_features=True)), ("model", LogisticRegression())]
    return Pipeline(steps).fit(frame, label), frame.head(8)


def write_run(
    folder: Path,
    rows: pd.DataFrame | None = None,
    *,
    inputs: list[dict[str, Any]] | None = None,
    audit: str = "pass",
    golden_off: float = 0.0,
    status: str = "complete",
    seed: int = 3,
    target: str = "converted",
    fingerprint: str = "f" * 64,
    **settings: Any,
) -> Run:
    """Write a run directory; ``settings`` are config keys with __ for dots."""
    schema = SCHEMA | {"inputs": inputs or SCHEMA["inputs"], "target": target}
    model, frame = _model(tuple(column["name"] for column in schema["inputs"]))
    frame = to_inputs(frame, schema)
    rows = predictions(2.5) if rows is None else rows
    chosen = config(**{key.replace("__", "."): value for key, value in settings.items()})
    writer = RunWriter(folder)
    writer.write_text("config.yaml", yaml.safe_dump(chosen, sort_keys=False))
    writer.write_text("overrides.yaml", "[]\n")
    writer.write_json("schema.json", schema)
    writer.write_json("metrics.json", evaluate(rows, top_k=[5], bootstrap_resamples=0, seed=3))
    checks = [] if audit == "pass" else [{"name": "placebo", "status": audit}]
    writer.write_json("audit.json", {"status": audit, "checks": checks})
    writer.write_json("threshold.json", {"threshold": 0.5})
    writer.write_json("reference.json", {})
    writer.write_text("card.md", "# A card\n")
    writer.write_parquet("predictions.parquet", rows)
    writer.write_parquet("folds.parquet", pd.DataFrame({"fold": [0]}))
    calibration = Calibration.none()
    writer.write_json("model/calibration.json", calibration.to_dict())
    golden = golden_frame(model, calibration, frame)
    writer.write_parquet("golden.parquet", golden.assign(probability=golden["probability"] + golden_off))
    save_model(model, writer.folder)
    assert (writer.folder / MODEL_FILE).is_file()
    writer.path("plots/roc.png").write_bytes(b"png")
    writer.finish(seed=seed, threads=1, status=status, data_fingerprint=fingerprint, timing={"total": 1.0})  # type: ignore[arg-type]
    return Run.open(folder, verify=False)
