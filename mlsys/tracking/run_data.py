"""Data that trackers log, read from a run directory."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlsys.evaluation.metric_table import PREDICT_MS
from mlsys.runs import Run
from mlsys.runs.files import MANIFEST
from mlsys.runs.manifest import Git, git_state
from mlsys.runs.reader import yaml_value
from mlsys.runs.verify import read_manifest
from mlsys.tracking.base import JobType, RunData
from mlsys.tracking.receipts import run_id

logger = logging.getLogger(__name__)

SWEEP_FILE = "multirun.yaml"  # every sweeper writes it to the sweep directory before the first job
MAX_DEPTH = 3  # of a run in its sweep directory: SWEEP/refit/TRIALS/NUMBER


def sweep_of(folder: Path) -> Path | None:
    """Return the sweep directory that a run lies in."""
    return next((parent for parent in folder.parents[:MAX_DEPTH] if (parent / SWEEP_FILE).is_file()), None)


def config_of(folder: Path) -> dict[str, Any]:
    """Return the config of a run, which may be unfinished."""
    return dict(yaml_value((folder / "config.yaml").read_bytes()) or {})


def run_data(folder: Path, config: Mapping[str, Any]) -> RunData:
    """Return what a tracker needs to know about a run, which may be unfinished."""
    sweep, search = sweep_of(folder), config.get("search") or {}
    kind: JobType = "trial" if search.get("trial") is not None else "refit" if search.get("selected_from") else "train"
    git = _git(folder)
    return RunData(
        id=run_id(folder),
        name="/".join(folder.parts[-2:]) if sweep is None else str(folder.relative_to(sweep.parent)),
        folder=folder,
        group=None if sweep is None else sweep.name,
        sweep=sweep,
        job_type=kind,
        trial=search.get("trial"),
        tags=tuple(config.get("tags") or ()),
        commit=git.commit,
        dirty=git.dirty,
    )


def _git(folder: Path) -> Git:
    return read_manifest(folder).git if (folder / MANIFEST).is_file() else git_state(Path.cwd())


def overall(run: Run) -> dict[str, float]:
    """Return the numbers of a run, except those of single folds, by name.

    Bounds of intervals are ``NAME/low`` and ``NAME/high``, baselines are ``baselines/BASELINE/NAME``, and the first
    objective is also given as ``objective``.
    """
    metrics = run.metrics if "metrics.json" in run.manifest.files else {}
    timing = dict(run.manifest.timing)
    values: dict[str, Any] = {PREDICT_MS: timing.pop(PREDICT_MS, None), "seconds": run.manifest.seconds}
    values |= {f"seconds/{stage}": seconds for stage, seconds in timing.items() if stage != "total"}
    for name, entry in metrics.get("overall", {}).items():
        values |= {name: entry.get("value"), f"{name}/low": entry.get("low"), f"{name}/high": entry.get("high")}
    for which, entries in metrics.get("baselines", {}).items():
        values |= {f"baselines/{which}/{name}": _value(entry) for name, entry in entries.items()}
    for moment, entries in metrics.get("calibration", {}).items():
        values |= {f"calibration/{moment}/{name}": _value(entry) for name, entry in (entries or {}).items()}
    if "threshold.json" in run.manifest.files:
        values["threshold"] = run.threshold.get("threshold")
    objective = run.config.get("objective")
    values["objective"] = values.get(str(objective[0] if isinstance(objective, list) else objective))
    return {name: float(value) for name, value in values.items() if _is_number(value)}


def folds(run: Run) -> list[dict[str, Any]]:
    """Return ``fold``, ``as_of`` and the metrics of each fold."""
    metrics = run.metrics if "metrics.json" in run.manifest.files else {}
    return [
        {name: float(value) for name, value in entry.items() if _is_number(value)}
        | {"fold": number, "as_of": entry.get("as_of")}
        for number, entry in enumerate(metrics.get("folds", []))
    ]


def labels(run: Run) -> dict[str, str]:
    """Return labels to filter runs by."""
    manifest = run.manifest
    values = {
        "status": manifest.status,
        "git_commit": manifest.git.commit,
        "data_fingerprint": manifest.data_fingerprint,
    }
    if "audit.json" in manifest.files:
        values["audit"] = run.audit.get("status")
    if selection := run.config.get("selection"):
        values["chosen"] = " + ".join(selection["chosen"])
    return {name: str(value) for name, value in values.items() if value}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping with dotted keys.

    Examples
    --------
    >>> flat({"model": {"depth": 3, "layers": []}})
    {'model.depth': 3, 'model.layers': []}
    """
    result: dict[str, Any] = {}
    for key, value in tree.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return result


def shown_files(run: Run) -> Sequence[str]:
    """Return the names of all files of a run, the manifest last."""
    return [*run.manifest.files, MANIFEST]


def _value(entry: Any) -> Any:  # noqa: ANN401 - a number, or a mapping with its interval
    return entry.get("value") if isinstance(entry, Mapping) else entry


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
