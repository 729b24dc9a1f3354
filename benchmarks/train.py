"""Wall time of a whole training run compared with the sum of the bare library fits on the same matrices.

    python benchmarks/train.py [--data PATH | --events 1_000_000] [--repeats 3]

The run is the command that a user types, in its own process: imports, contracts, panel without cache, fits, metrics
with 1,000 bootstrap resamples, audit, plots, report and files. The bare fits call xgboost.XGBClassifier with all cores,
one after the other, on the same matrices: for each fold and the final model, and for each fold on the parts of the
learning curve, one fit with early stopping and one with the best number of iterations. Only `fit` is timed.
With --events, the data are generated (data=demo). Beside the times stands the peak memory of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REAL = Path(__file__).parents[2] / "shared" / "data" / "hubspot"


def overrides(data: Path, events: int | None) -> list[str]:
    source = ["data=hubspot", f"data.dir={data}"] if events is None else ["data=demo", f"data.demo.events={events}"]
    return [*source, "model=xgboost", "data.cache=false", "tracking=none"]


def whole_run(options: list[str]) -> tuple[float, dict[str, float]]:
    """Return the seconds of a run, and its peak memory by stage in MB."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "mlsys.train", *options, f"hydra.run.dir={folder}/run"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        seconds = time.perf_counter() - start
        return seconds, json.loads((Path(folder) / "run" / "manifest.json").read_text())["peak_mb"]


def matrices(options: list[str]):
    """Return the patience, and each fit's estimator, encoded rows, labels, and early and validation masks."""
    from omegaconf import OmegaConf

    from mlsys.compose import compose_config
    from mlsys.evaluation.learning_curve import part_of_entities
    from mlsys.evaluation.splits import split_off_latest
    from mlsys.pipeline.choosing import with_choice
    from mlsys.pipeline.fitting import by_rule
    from mlsys.pipeline.pipeline_spec import Training
    from mlsys.pipeline.requirements import requirements_of
    from mlsys.prepare import prepare

    prepared = prepare(OmegaConf.create(compose_config(options).to_dict()))
    loaded = prepared.data.load()
    panel, spec = loaded.panel, prepared.parts.pipeline_spec(loaded.panel)
    frame, labels = panel.frame, panel.frame["label"].to_numpy()
    folds = prepared.parts.split.split(frame)
    jobs = [fold.train for fold in folds]
    for fraction in prepared.config.metrics.learning_curve:
        jobs += [part_of_entities(panel, fold, fraction, prepared.config.seed).train for fold in folds]
    jobs.append(frame["label_complete"].to_numpy().nonzero()[0])
    inputs = []
    for rows in jobs:
        early, late = split_off_latest(
            frame, rows, fraction=spec.validation_fraction, horizon_days=loaded.horizon_days, seed=0
        )
        encoder = spec.encoder.build(spec.numbers, spec.categories, requirements_of(spec.estimator, None))
        X = encoder.fit_transform(panel.inputs.iloc[rows], labels[rows])
        training = Training(panel.inputs.iloc[rows], labels[rows], late, early, frame[["group"]].iloc[rows])
        estimator = with_choice(spec.estimator, by_rule(spec, training))
        inputs.append((estimator, X, labels[rows], early, late))
    return spec.stop_after, inputs


def bare_fits(stop_after: int, jobs) -> float:
    from sklearn.base import clone

    total = 0.0
    for estimator, X, y, early, late in jobs:
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
    parser.add_argument("--events", type=int, help="size of generated data, instead of --data")
    options = parser.parse_args()
    source = overrides(options.data, options.events)
    stop_after, jobs = matrices(source)
    runs, fits = [], []
    for repeat in range(options.repeats):  # alternating, so that other load on the machine affects both sides
        fits.append(bare_fits(stop_after, jobs))
        seconds, peaks = whole_run(source)
        runs.append(seconds)
        print(f"{repeat + 1}: bare fits {fits[-1]:.1f} s, whole run {seconds:.1f} s, ratio {seconds / fits[-1]:.2f}")
        print("   peak memory of the run in MB: " + ", ".join(f"{stage} {peak:,}" for stage, peak in peaks.items()))
    ratio = statistics.median(run / fit for run, fit in zip(runs, fits, strict=True))
    print(f"median ratio {ratio:.2f} ({len(jobs)} models, {2 * len(jobs)} fits, {os.cpu_count()} cores)")


if __name__ == "__main__":
    main()
