"""List runs quickly, without hashing files or loading models."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mlsys.errors import RunError
from mlsys.runs.discover import run_folders
from mlsys.runs.files import MANIFEST
from mlsys.runs.manifest import Manifest, Status
from mlsys.runs.reader import yaml_value
from mlsys.runs.verify import read_manifest

# Only these blocks of config.yaml are parsed: parsing all of it takes 2 ms, which adds up over a sweep.
BLOCKS = re.compile(rb"^(?:choices|tags|seed|threads|objective):.*(?:\n(?:[ \t]|- ).*)*", re.MULTILINE)
GROUPS = ("model", "sampler", "features", "data", "split")

State = Status | Literal["incomplete", "damaged", "tampered"]


@dataclass(frozen=True)
class RunRow:
    """One run in the table.

    Attributes
    ----------
    path : Path
        Run directory, relative to the folder that was searched if that was relative.
    created : str
        Time when it finished (ISO 8601, UTC); without a readable manifest, the time its directory last changed.
    status : {"complete", "trial", "pruned", "failed", "incomplete", "damaged", "tampered"}
        "incomplete" without a manifest (killed or still running), "damaged" if files cannot be read, "tampered" if
        files differ from the manifest.
    model, sampler, features, data, split : str or None
        Selected options of these config groups.
    audit : str or None
        Status of the leakage audit: pass, warn or fail.
    seconds : float or None
        Duration.
    seed : int or None
    objective : str, list of str or None
        Metric or metrics that the run optimises.
    tags : list of str
    problem : str or None
        Reason for the status "incomplete", "damaged" or "tampered".
    choices : mapping of str to str
        Selected options of all config groups.
    metrics : mapping of str to float or None
        Overall metrics from metrics.json.
    """

    path: Path
    created: str
    status: State
    model: str | None = None
    sampler: str | None = None
    features: str | None = None
    data: str | None = None
    split: str | None = None
    audit: str | None = None
    seconds: float | None = None
    seed: int | None = None
    objective: str | list[str] | None = None
    tags: list[str] = field(default_factory=list)
    problem: str | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)


def list_runs(root: Path = Path()) -> list[RunRow]:
    """Read the runs below a folder, newest first.

    `mlsys.runs.catalog.index.RunIndex` caches what it has read, and detects changed files.

    Parameters
    ----------
    root : Path
        A working folder (whose ``outputs`` and ``multirun`` are searched), a sweep or any other folder.

    Raises
    ------
    RunError
        If the folder is not found.
    """
    check_folder(root)
    return sorted((run_row(folder) for folder in run_folders(root)), key=lambda row: row.created, reverse=True)


def check_folder(root: Path) -> None:
    """Raise a `RunError` if the folder is not found."""
    if not root.is_dir():
        raise RunError(f"Folder not found: {root}. Give a folder with runs, such as outputs or a sweep directory.")


def run_row(folder: Path) -> RunRow:
    """Return the row of one run directory; if it is damaged, the row says so."""
    return read_row(folder)[0]


def read_row(folder: Path) -> tuple[RunRow, Manifest | None]:
    """Return the row of one run directory, and its manifest if it is readable."""
    changed = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    try:
        values = _config_values(folder)
        if not (folder / MANIFEST).is_file():
            problem = f"no {MANIFEST}: killed or still running"
            return RunRow(folder, changed, "incomplete", problem=problem, **values), None
        manifest = read_manifest(folder)
        values |= _results(folder) | {"seconds": manifest.seconds}
        return RunRow(folder, manifest.created, manifest.status, **values), manifest
    except (RunError, OSError, ValueError) as error:
        return RunRow(folder, changed, "damaged", problem=str(error).splitlines()[0]), None


def _config_values(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    text = path.read_bytes() if path.is_file() else b""
    blocks = [block[0] for block in BLOCKS.finditer(text)]
    has_choices = any(block.startswith(b"choices") for block in blocks)
    config = _mapping(yaml_value(b"\n".join(blocks) if has_choices else text))
    choices = {str(group): option for group, option in _mapping(config.get("choices")).items()}
    tags = config.get("tags")
    return {
        **{group: choices.get(group) for group in GROUPS},
        "seed": config.get("seed"),
        "objective": config.get("objective"),
        "tags": [str(tag) for tag in tags] if isinstance(tags, list) else [],
        "choices": choices,
    }


def _results(folder: Path) -> dict[str, Any]:
    overall = _mapping(_json(folder / "metrics.json").get("overall"))
    metrics = {str(name): _mapping(entry).get("value") for name, entry in overall.items()}
    return {"audit": _json(folder / "audit.json").get("status"), "metrics": metrics}


def _json(path: Path) -> Mapping[str, Any]:
    return _mapping(json.loads(path.read_bytes()) if path.is_file() else None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
