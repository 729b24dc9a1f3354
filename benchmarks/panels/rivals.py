"""The libraries that build the same panel: how to start them, what to install, and whether their numbers agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPTS = {"pandas": "pandas_loop.py", "polars": "polars_groups.py", "featuretools": "featuretools_cutoffs.py"}
INSTALL = {
    "polars": "pip install --group bench",
    "featuretools": "its own environment, as it needs pandas 2: python -m venv DIR, DIR/bin/pip install --group "
    "bench-featuretools, and here --python featuretools=DIR/bin/python",
}


def run(command: list[str]) -> dict[str, Any]:
    """Run a script that prints its cost as JSON; its errors end the benchmark."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def usable(pythons: dict[str, str]) -> list[str]:
    """Return the rivals that are installed; say of the others how to install them."""
    found = []
    for name in SCRIPTS:
        python = pythons.get(name, sys.executable)
        tried = subprocess.run([python, "-W", "ignore", "-c", f"import {name}"], capture_output=True, text=True)
        if tried.returncode == 0:
            found.append(name)
        else:
            reason = tried.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
            print(f"left out: {name} ({reason[0]}). To install: {INSTALL[name]}", flush=True)
    return found


def measure(name: str, folder: Path, python: str, *, accounts: int | None = None) -> dict[str, Any]:
    """Run a rival on what `here.py` left in the folder, and check its numbers."""
    command = [python, "-W", "ignore", str(HERE / SCRIPTS[name]), str(folder)]
    found = run(command + (["--accounts", str(accounts)] if accounts else []))
    for path in sorted((folder / "here").iterdir()):
        ours = pd.read_parquet(path)
        if name == "featuretools":
            check_some(ours, pd.read_parquet(folder / "featuretools.parquet"), path.stem)
        else:
            names = [column for column in ours.columns if column != "as_of_day"]
            theirs = pd.read_parquet(folder / name / path.name)[names]
            pd.testing.assert_frame_equal(ours[names].astype("float64"), theirs.astype("float64"), rtol=1e-9)
    return found


def check_some(ours: pd.DataFrame, theirs: pd.DataFrame, as_of: str) -> None:
    """Check the columns and accounts that Featuretools has."""
    theirs = theirs[theirs["time"] == pd.Timestamp(as_of)].sort_values("id")
    names = [column for column in ours.columns if column in theirs.columns]
    ours = ours[ours["id"].isin(theirs["id"])]
    pairs = [frame[names].astype("float64").reset_index(drop=True) for frame in (ours, theirs)]
    pd.testing.assert_frame_equal(*pairs, rtol=1e-9)
