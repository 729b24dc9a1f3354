"""Wall time of a whole training run compared with the sum of the bare library fits on the same matrices.

    python benchmarks/train.py [--data PATH] [--repeats 3]

The run is the command that a user types, in its own process: imports, contracts, panel without cache, fits, metrics
with 1,000 bootstrap resamples, audit, plots, report and files. The bare fits call xgboost.XGBClassifier with all cores,
one after the other, on the same matrices: for each fold and the final model, one fit with early stopping and one with
the best number of iterations. Only the calls of `fit` are timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REAL = Path(__file__).parents[2] / "shared" / "data" / "hubspot"


def overrides(data: Path) -> list[str]:
    return ["data=hubspot", f"data.dir={data}", "model=xgboost", "data.cache=false"]


def whole_run(data: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "mlsys.train", *overrides(data), f"hydra.run.dir={folder}/run"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return time.perf_counter() - start


def matrices(data: Path):
    """Return the estimator, its patience, and each model's encoded rows, labels, and early and validation masks."""
    from omegaconf import OmegaConf

    from mlsys.compose import compose_config
    from mlsys.evaluation.splits import split_off_latest
    from mlsys.pipeline.requirements import requirements_of
    from mlsys.prepare import prepare

    prepared = prepare(OmegaConf.create(compose_config(overrides(data)).to_dict()))
    loaded = prepared.data.load()
    panel, spec = loaded.panel, prepared.parts.pipeline_spec(loaded.panel)
    frame, labels = panel.frame, panel.frame["label"].to_numpy()
    jobs = [fold.train for fold in prepared.parts.split.split(frame)]
    jobs.append(frame["label_complete"].to_numpy().nonzero()[0])
    inputs = []
    for rows in jobs:
        early, late = split_off_latest(
            frame, rows, fraction=spec.validation_fraction, horizon_days=loaded.horizon_days, seed=0
        )
        encoder = spec.encoder.build(spec.numbers, spec.categories, requirements_of(spec.estimator, None))
        X = encoder.fit_transform(panel.inputs.iloc[rows], labels[rows])
        inputs.append((X, labels[rows], early, late))
    return prepared.parts.estimator, spec.stop_after, inputs


def bare_fits(estimator, stop_after: int, jobs) -> float:
    from sklearn.base import clone

    total = 0.0
    for X, y, early, late in jobs:
        first = clone(estimator).set_params(
            enable_categorical=True, n_jobs=os.cpu_count(), early_stopping_rounds=stop_after, eval_metric="logloss"
        )
        start = time.perf_counter()
        first.fit(X[early], y[early], eval_set=[(X[late], y[late])], verbose=False)
        total += time.perf_counter() - start
        second = clone(estimator).set_params(
            enable_categorical=True, n_jobs=os.cpu_count(), n_estimators=first.best_iteration + 1
        )
        start = time.perf_counter()
        second.fit(X, y)
        total += time.perf_counter() - start
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REAL)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    estimator, stop_after, jobs = matrices(options.data)
    runs, fits = [], []
    for repeat in range(options.repeats):  # alternating, so that other load on the machine affects both sides
        fits.append(bare_fits(estimator, stop_after, jobs))
        runs.append(whole_run(options.data))
        print(f"{repeat + 1}: bare fits {fits[-1]:.1f} s, whole run {runs[-1]:.1f} s, ratio {runs[-1] / fits[-1]:.2f}")
    ratio = statistics.median(run / fit for run, fit in zip(runs, fits, strict=True))
    print(f"median ratio {ratio:.2f} ({len(jobs)} models, {2 * len(jobs)} fits, {os.cpu_count()} cores)")


if __name__ == "__main__":
    main()
