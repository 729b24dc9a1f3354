"""Run directories to serve: a synthetic flat table of 40 columns, and a model of each kind trained on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS, NUMBERS, CATEGORIES = 8_000, 36, 4
MODELS = {
    "xgboost": ["model=xgboost", "encoder=onehot", "model.n_estimators=300", "model.max_depth=6"],
    "lightgbm": ["model=lightgbm", "encoder=onehot", "model.n_estimators=300", "model.num_leaves=31"],
    "logistic": ["model=logistic", "encoder=onehot"],
    "catboost": ["model=catboost", "encoder=native", "model.iterations=300", "model.depth=6"],
}
QUICK = [
    "calibration=none",  # so that peers, which serve the pipeline alone, give the same predictions
    "fit.early_stopping.enabled=false",
    "metrics.bootstrap_resamples=0",
    "split.folds=2",
    "tracking=none",
    "audit=light",
]


def train_all(folder: Path, models: list[str]) -> dict[str, Path]:
    """Return a run directory for each model; existing ones in the folder are reused."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "leads.parquet"
    if not table.exists():
        write_table(table)
    runs = {}
    for name in models:
        runs[name] = folder / "runs" / name
        if not (runs[name] / "manifest.json").exists():
            print(f"training {name} …", file=sys.stderr, flush=True)
            train(table, runs[name], MODELS[name])
    return runs


def write_table(path: Path) -> None:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"number_{i}": np.round(rng.normal(size=ROWS) * 10, 3) for i in range(NUMBERS)})
    for i in range(CATEGORIES):
        frame[f"category_{i}"] = rng.choice([f"level {level}" for level in range(5 + 3 * i)], ROWS)
    score = frame["number_0"] / 10 + frame["number_1"] * frame["number_2"] / 200 + (frame["category_0"] == "level 1")
    frame["converted"] = (score + rng.normal(size=ROWS) > 1).astype(int)
    frame.to_parquet(path)


def train(table: Path, folder: Path, overrides: list[str]) -> None:
    given = [f"data.path={table}", "data.target=converted", "data.cache=false", f"hydra.run.dir={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "mlsys.train", "data=table", *given, *QUICK, *overrides],
        cwd=table.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLSYS_NO_TRACKING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])


def records(folder: Path, count: int) -> list[dict]:
    """Return rows of the table as records that a client would send."""
    import pandas as pd

    frame = pd.read_parquet(folder / "leads.parquet").drop(columns="converted")
    repeated = pd.concat([frame] * -(-count // len(frame))).head(count)
    return json.loads(repeated.to_json(orient="records"))
