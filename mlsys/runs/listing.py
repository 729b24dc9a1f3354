"""A table of runs, quickly: nothing is hashed and no model is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mlsys.errors import RunError
from mlsys.runs.files import MANIFEST
from mlsys.runs.manifest import Status
from mlsys.runs.reader import yaml_value
from mlsys.runs.verify import read_manifest
from mlsys.runs.walk import run_folders

# Only this block of config.yaml is parsed: the whole takes 2 ms, which adds up over a sweep.
CHOICES = re.compile(rb"^choices:.*(?:\n[ \t].*)*", re.MULTILINE)


@dataclass(frozen=True)
class RunRow:
    """One run in the table.

    Attributes
    ----------
    path : Path
        Its directory, as found from the folder that was searched.
    created : str
        When it finished (ISO 8601, UTC); for one without a readable manifest, when its directory last changed.
    status : {"complete", "trial", "pruned", "failed", "incomplete", "damaged"}
        "incomplete" without a manifest (killed, or still running); "damaged" if its files cannot be read.
    model, sampler, features, data, split : str or None
        The config group options that it was composed of.
    roc_auc, average_precision, log_loss : float or None
        Overall, from metrics.json.
    audit : str or None
        Status of the leakage audit: pass, warn or fail.
    seconds : float or None
        What it took.
    """

    path: Path
    created: str
    status: Status | Literal["incomplete", "damaged"]
    model: str | None = None
    sampler: str | None = None
    features: str | None = None
    data: str | None = None
    split: str | None = None
    roc_auc: float | None = None
    average_precision: float | None = None
    log_loss: float | None = None
    audit: str | None = None
    seconds: float | None = None


def list_runs(root: Path = Path()) -> list[RunRow]:
    """Return the runs below a folder, the newest first.

    Parameters
    ----------
    root : Path
        A working folder (its ``outputs`` and ``multirun`` are searched), a sweep, or any other folder.

    Raises
    ------
    RunError
        If there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"There is no folder {root}: give one that holds runs, such as outputs or a sweep's directory.")
    return sorted((run_row(folder) for folder in run_folders(root)), key=lambda row: row.created, reverse=True)


def run_row(folder: Path) -> RunRow:
    """Return the row of one run directory; a damaged one gives a row that says so, not an error."""
    changed = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    try:
        choices = _choices(folder)
        if not (folder / MANIFEST).is_file():
            return RunRow(folder, changed, "incomplete", **choices)
        manifest = read_manifest(folder)
        return RunRow(
            folder, manifest.created, manifest.status, **choices, **_numbers(folder), seconds=manifest.seconds
        )
    except (RunError, OSError, ValueError):
        return RunRow(folder, changed, "damaged")


def _choices(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    text = path.read_bytes() if path.is_file() else b""
    block = CHOICES.search(text)
    choices = _mapping(_mapping(yaml_value(block[0] if block else text)).get("choices"))
    return {group: choices.get(group) for group in ("model", "sampler", "features", "data", "split")}


def _numbers(folder: Path) -> dict[str, Any]:
    overall = _mapping(_json(folder / "metrics.json").get("overall"))
    names = ("roc_auc", "average_precision", "log_loss")
    numbers = {name: _mapping(overall.get(name)).get("value") for name in names}
    return {**numbers, "audit": _json(folder / "audit.json").get("status")}


def _json(path: Path) -> Mapping[str, Any]:
    return _mapping(json.loads(path.read_bytes()) if path.is_file() else None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
