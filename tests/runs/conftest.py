"""A small finished run, written as training writes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from mlsys.runs.calibration import Calibration
from mlsys.runs.golden import golden_frame
from mlsys.runs.inputs import to_inputs
from mlsys.runs.model_io import save_model
from mlsys.runs.reader import Run
from mlsys.runs.writer import RunWriter

SCHEMA = {
    "inputs": [
        {"name": "users", "dtype": "float64", "nullable": True},
        {"name": "actions", "dtype": "float64", "nullable": False},
        {"name": "industry", "dtype": "string", "nullable": True},
    ],
    "id": "id",
    "as_of": "as_of",
    "target": "converted",
    "positive": 1,
}


@pytest.fixture(scope="session")
def table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(7)
    rows = 200
    frame = pd.DataFrame(
        {
            "users": np.where(rng.random(rows) < 0.1, np.nan, rng.poisson(3, rows)),
            "actions": rng.normal(size=rows),
            "industry": rng.choice(["Retail", "Software", "Ärzte", None], rows),
        }
    )
    label = (frame["actions"] + (frame["industry"] == "Software") + rng.normal(size=rows) > 0.5).astype(int)
    return to_inputs(frame, SCHEMA), label.to_numpy()


@pytest.fixture(scope="session")
def pipeline(table: tuple[pd.DataFrame, np.ndarray]) -> Pipeline:
    encoder = ColumnTransformer(
        [
            ("numbers", SimpleImputer(), ["users", "actions"]),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["industry"]),
        ]
    )
    return Pipeline([("encoder", encoder), ("model", LogisticRegression())]).fit(*table)


@pytest.fixture
def make_run(table: tuple[pd.DataFrame, np.ndarray], pipeline: Pipeline) -> Callable[..., Run]:
    def make(folder: Path, *, roc_auc: float = 0.9, choices: dict[str, str] | None = None, **finish: Any) -> Run:
        writer = RunWriter(folder)
        calibration = Calibration.prior(0.5, 0.01)
        writer.write_text("config.yaml", f"seed: 1\nchoices: {choices or {'model': 'logistic', 'sampler': 'none'}}\n")
        writer.write_text("overrides.yaml", "- model=logistic\n")
        writer.write_json("schema.json", SCHEMA)
        writer.write_json("metrics.json", {"overall": {"roc_auc": {"value": roc_auc, "low": 0.8, "high": 0.95}}})
        writer.write_json("audit.json", {"status": "pass", "checks": []})
        writer.write_json("threshold.json", {"threshold": 0.5})
        writer.write_json("reference.json", {})
        writer.write_text("card.md", "# A card\n")
        writer.write_parquet("predictions.parquet", pd.DataFrame({"id": [1, 2], "score": [0.25, 0.75]}))
        writer.write_parquet("folds.parquet", pd.DataFrame({"fold": [0], "roc_auc": [roc_auc]}))
        save_model(pipeline, writer.folder)
        writer.write_json("model/calibration.json", calibration.to_dict())
        writer.write_parquet("golden.parquet", golden_frame(pipeline, calibration, table[0].head(20)))
        writer.path("plots/roc.png").write_bytes(b"png")
        writer.finish(**{"seed": 1, "threads": 2, "timing": {"fit": 1.5, "panel": 0.5}, **finish})
        return Run.open(folder)

    return make


@pytest.fixture
def run(make_run: Callable[..., Run], tmp_path: Path) -> Run:
    return make_run(tmp_path / "outputs" / "2026-11-20" / "10-00-00")
