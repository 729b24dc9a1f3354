"""Measure the time to list 10,000 runs: a plain scan, the first build of the index, and later calls.

python benchmarks/runs.py [--runs 10000]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from mlsys.compose import compose_config
from mlsys.runs import RunWriter, list_runs
from mlsys.runs.catalog.index import RunIndex
from mlsys.runs.catalog.query import query_runs
from mlsys.runs.manifest import Git, package_versions

MODELS = ("xgboost", "catboost", "logistic", "lightgbm")
KINDS = ("roc_auc", "average_precision", "log_loss", "brier", "ece")
METRICS = (*KINDS, *(f"{kind}@{k}" for k in (10, 50, 100) for kind in ("precision", "recall", "lift", "revenue")))


def make(root: Path, number: int) -> None:
    """Write run directories like those of sweeps: a full config, metrics with intervals and a few files."""
    generator = random.Random(0)
    configs = {model: compose_config([f"model={model}", "threads=1"]).to_dict() for model in MODELS}
    for each in range(number):
        writer = RunWriter(root / "multirun" / f"sweep-{each // 200}" / str(each % 200))
        model = MODELS[each % len(MODELS)]
        config = configs[model] | {"seed": each, "choices": {"model": model, "data": "demo", "sampler": "none"}}
        overall = {name: {"value": generator.random(), "low": 0.0, "high": 1.0} for name in METRICS}
        writer.write_text("config.yaml", yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False))
        writer.write_json("metrics.json", {"overall": overall})
        for name in ("card.md", "overrides.yaml", "train.log", "predictions.parquet", "folds.parquet"):
            writer.write_text(name, f"{name} {each}\n")
        writer.finish(seed=each, threads=1, status="trial")


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    number = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        where = "mlsys.runs.manifest"  # query once instead of ten thousand times, and do not measure disk flushes
        with patch("os.fsync"), patch(f"{where}.git_state", return_value=Git(None, None)):
            versions = package_versions()
            with patch(f"{where}.package_versions", return_value=versions):
                make(root, number)
        index = RunIndex(root / "cache" / "runs.sqlite")
        scan = min(seconds(lambda: list_runs(root)) for _ in range(2))  # the first one also warms the file cache
        first = seconds(lambda: query_runs(index, root, limit=50))
        later = min(seconds(lambda: query_runs(index, root, limit=50)) for _ in range(3))
        metric = "model=catboost and average_precision>0.05"
        filtered = min(
            seconds(lambda: query_runs(index, root, where=metric, sort="-roc_auc", limit=50)) for _ in range(3)
        )
        configs = seconds(lambda: query_runs(index, root, where="model.max_depth=3", limit=50))
        known = min(seconds(lambda: query_runs(index, root, where="model.max_depth=3", limit=50)) for _ in range(3))
        status = min(seconds(lambda: query_runs(index, root, where="status=tampered", limit=50)) for _ in range(3))
        size = index.file.stat().st_size / 1e6
    print(f"{number:,} runs: plain scan {scan:.2f} s, first call with an index {first:.2f} s, later ones {later:.2f} s")
    print(f"ratio to the plain scan: first {first / scan:.2f}, later {later / scan:.3f}; the index takes {size:.0f} MB")
    print(f"later, by metric and model {filtered:.2f} s; checking the files of all runs {status:.2f} s")
    print(f"by a config key: the first time {configs:.2f} s, later {known:.2f} s")


if __name__ == "__main__":
    main()
