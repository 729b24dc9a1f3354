"""Memory and time of `fit.external_memory=true`, on a panel of 10 times its memory, compared with the fit in memory.

    python benchmarks/external_memory.py [--rows 1000000] [--columns 500] [--trees 3] [--times 10]

A panel of random float32 numbers is written as Parquet, one file per as-of, as the panel cache has it. Then two
processes read it, fit XGBoost with a fixed number of trees and score the latest as-of: one with the panel on disk, the
other with the panel in memory. The first may allocate only the panel's size divided by
`--times`, beyond what the interpreter and the libraries have after their import: the kernel refuses more (RLIMIT_DATA,
all private memory including the stacks of threads). Pages of files that are mapped do not count: they are dropped when
others need the memory. Both print the same scores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

AS_OFS, MB = 10, 1e6


def write_panel(folder: Path, rows: int, columns: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    for as_of in range(AS_OFS):
        values = [rng.normal(size=rows // AS_OFS).astype(np.float32) for _ in range(columns)]
        risk = 1 / (1 + np.exp(4 - values[0] - 0.5 * values[1] * values[2]))
        table = {f"number_{i}": column for i, column in enumerate(values)}
        table["label"] = (rng.random(len(risk)) < risk).astype(np.int8)
        pq.write_table(pa.table(table), folder / f"{as_of}.parquet", compression="zstd", compression_level=1)


def status(pid: int | str, name: str) -> float:
    """Return an entry of /proc/PID/status in bytes."""
    return 1024 * int(Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].split()[0])


def fit_and_score(folder: Path, trees: int, limit: float | None) -> None:
    import numpy as np
    import pandas as pd
    from xgboost import XGBClassifier

    from mlsys.data.cache import StoredTable
    from mlsys.data.compact import compact_column, take_rows
    from mlsys.data.disk_frame import DiskFrame
    from mlsys.pipeline.calibration import Auto
    from mlsys.pipeline.encoders import Native
    from mlsys.pipeline.fitting import fit
    from mlsys.pipeline.pipeline_spec import PipelineSpec, Training

    XGBClassifier(n_estimators=1, n_jobs=2).fit(np.zeros((4, 2)), [0, 0, 1, 1])  # starts its threads
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(status("self", "VmData") + limit),) * 2)
    print("ready", int(status("self", "RssAnon")), flush=True)
    start = time.perf_counter()
    pieces = [StoredTable(folder / f"{as_of}.parquet") for as_of in range(AS_OFS)]
    names = [name for name in pieces[0].column_names if name != "label"]
    labels = np.concatenate([piece.column("label").to_numpy() for piece in pieces])
    columns = ((name, compact_column([piece.column(name) for piece in pieces])) for name in names)
    inputs = pd.DataFrame(dict(columns), copy=False) if limit is None else DiskFrame.of(columns, folder)
    read = time.perf_counter()
    per_as_of = pieces[0].num_rows
    train, test = np.arange(len(labels) - per_as_of), np.arange(len(labels) - per_as_of, len(labels))
    model = XGBClassifier(n_estimators=trees, learning_rate=0.3, max_depth=3, tree_method="hist", random_state=0)
    spec = PipelineSpec(Native(), None, model, Auto(), names, [], stop_after=None, threads=2)
    fitted = fit(spec, Training(take_rows(inputs, train), labels[train]))
    scores = fitted.scores(take_rows(inputs, test))
    end = time.perf_counter()
    print("done", f"{read - start:.1f}", f"{end - read:.1f}", hashlib.sha256(scores.tobytes()).hexdigest()[:12])


def small_thread_stacks() -> None:
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))


def measured(folder: Path, trees: int, limit: float | None) -> dict[str, float | str]:
    """Run one side in a process of its own; return its seconds, peaks and scores."""
    command = [sys.executable, __file__, "--child", str(folder), "--trees", str(trees)]
    command += [] if limit is None else ["--limit", str(limit)]
    # Less address space is reserved without being used, which the limit would count.
    environment = os.environ | {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=small_thread_stacks
    )
    assert process.stdout is not None
    before, peak = float(process.stdout.readline().split()[1]), [0.0]

    def watch() -> None:
        while process.poll() is None:
            try:
                peak[0] = max(peak[0], status(process.pid, "RssAnon"))
            except (OSError, IndexError):  # it has just ended
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    line = process.stdout.readline().split()
    watcher.join()
    if process.wait() or not line:
        sys.exit(f"The fit failed with {process.returncode}.")
    return {"read": float(line[1]), "fit": float(line[2]), "scores": line[3], "peak": peak[0] - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=500)
    parser.add_argument("--trees", type=int, default=3)
    parser.add_argument("--times", type=float, default=10, help="size of the panel relative to the memory")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        fit_and_score(options.child, options.trees, options.limit)
        return
    panel = 4 * options.rows * options.columns
    limit = panel / options.times
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_CACHE_HOME")) as folder:
        write_panel(Path(folder), options.rows, options.columns)
        size = f"{options.rows:,} rows × {options.columns} numbers, {panel / MB:,.0f} MB"
        print(f"panel: {size}; limit {limit / MB:,.0f} MB")
        sides = {"on disk": measured(Path(folder), options.trees, limit)}
        sides["in memory"] = measured(Path(folder), options.trees, None)
    for name, side in sides.items():
        print(
            f"{name:9}: peak {side['peak'] / MB:,.0f} MB (panel is {panel / side['peak']:.1f} times that), "
            f"reading {side['read']:.0f} s, fits and scoring {side['fit']:.0f} s, scores {side['scores']}"
        )
    print(f"time ratio {sides['on disk']['fit'] / sides['in memory']['fit']:.2f}")


if __name__ == "__main__":
    main()
