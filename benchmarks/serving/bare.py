"""Parse and predict without a service: python bare.py RUN FOLDER prints the seconds per format as JSON."""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from pathlib import Path

import msgspec
import pandas as pd

from mlsys.runs.model_io import load_model

READ = {
    "json": lambda data: pd.DataFrame(msgspec.json.decode(data)["records"]),
    "csv": lambda data: pd.read_csv(io.BytesIO(data)),
    "parquet": lambda data: pd.read_parquet(io.BytesIO(data)),
}


def seconds(model, kind: str, data: bytes) -> float:
    durations = []
    for _ in range(21):
        started = time.perf_counter()
        model.predict_proba(READ[kind](data))
        durations.append(time.perf_counter() - started)
    return statistics.median(durations[1:])


if __name__ == "__main__":
    run, folder = map(Path, sys.argv[1:])
    model = load_model(run)
    print(json.dumps({kind: seconds(model, kind, (folder / f"batch.{kind}").read_bytes()) for kind in READ}))
