"""What a run directory tells of its run: where it belongs, and what can be shown of it."""

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

SWEEP_FILE = "multirun.yaml"  # which every sweeper leaves in its directory before the first job
DEPTH = 3  # SWEEP/refit/TRIALS/NUMBER


def sweep_of(folder: Path) -> Path | None:
    """Return the sweep directory that a run lies in."""
    return next((parent for parent in folder.parents[:DEPTH] if (parent / SWEEP_FILE).is_file()), None)


def config_of(folder: Path) -> dict[str, Any]:
    """Return the config that a run wrote first, whether or not the run is whole."""
    return dict(yaml_value((folder / "config.yaml").read_bytes()) or {})


def run_data(folder: Path, config: Mapping[str, Any]) -> RunData:
    """Return what is known of a run when it starts, or later."""
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
    """Return all numbers of a run that are about the whole of it, by name.

    Intervals are ``NAME/low`` and ``NAME/high``, baselines ``baselines/WHICH/NAME``; ``objective`` is the first one's.
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
    """Return the numbers of each fold: ``fold``, ``as_of`` and its metrics."""
    metrics = run.metrics if "metrics.json" in run.manifest.files else {}
    return [
        {name: float(value) for name, value in entry.items() if _is_number(value)}
        | {"fold": number, "as_of": entry.get("as_of")}
        for number, entry in enumerate(metrics.get("folds", []))
    ]


def labels(run: Run) -> dict[str, str]:
    """Return words to filter runs by."""
    manifest = run.manifest
    words = {
        "status": manifest.status,
        "git_commit": manifest.git.commit,
        "data_fingerprint": manifest.data_fingerprint,
    }
    if "audit.json" in manifest.files:
        words["audit"] = run.audit.get("status")
    return {name: str(word) for name, word in words.items() if word}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping with dotted keys.

    Examples
    --------
    >>> flat({"model": {"depth": 3, "layers": []}})
    {'model.depth': 3, 'model.layers': []}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found


def shown_files(run: Run) -> Sequence[str]:
    """Return the names of all files of a run, the manifest last."""
    return [*run.manifest.files, MANIFEST]


def _value(entry: Any) -> Any:  # noqa: ANN401 - a number, or one with its interval
    return entry.get("value") if isinstance(entry, Mapping) else entry


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
