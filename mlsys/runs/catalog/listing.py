"""A table of runs, quickly: nothing is hashed and no model is loaded."""

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

# Only these blocks of config.yaml are parsed: the whole takes 2 ms, which adds up over a sweep.
BLOCKS = re.compile(rb"^(?:choices|tags|seed|threads|objective):.*(?:\n(?:[ \t]|- ).*)*", re.MULTILINE)
GROUPS = ("model", "sampler", "features", "data", "split")

State = Status | Literal["incomplete", "damaged", "tampered"]


@dataclass(frozen=True)
class RunRow:
    """One run in the table.

    Attributes
    ----------
    path : Path
        Its directory, as found from the folder that was searched.
    created : str
        When it finished (ISO 8601, UTC); for one without a readable manifest, when its directory last changed.
    status : {"complete", "trial", "pruned", "failed", "incomplete", "damaged", "tampered"}
        "incomplete" without a manifest (killed, or still running); "damaged" if its files cannot be read; "tampered"
        if they are not what its manifest says.
    model, sampler, features, data, split : str or None
        The config group options that it was composed of.
    audit : str or None
        Status of the leakage audit: pass, warn or fail.
    seconds : float or None
        What it took.
    seed : int or None
    objective : str, list of str or None
        What the run was judged by.
    tags : list of str
    problem : str or None
        What is wrong with it.
    choices : mapping of str to str
        The options of all config groups.
    metrics : mapping of str to float or None
        All overall metrics, from metrics.json.
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
    """Return the runs below a folder, the newest first, reading each.

    `mlsys.runs.catalog.index.RunIndex` remembers what it has read, and sees files that were changed.

    Parameters
    ----------
    root : Path
        A working folder (its ``outputs`` and ``multirun`` are searched), a sweep, or any other folder.

    Raises
    ------
    RunError
        If there is no such folder.
    """
    check_folder(root)
    return sorted((run_row(folder) for folder in run_folders(root)), key=lambda row: row.created, reverse=True)


def check_folder(root: Path) -> None:
    """Raise a `RunError` if there is no such folder."""
    if not root.is_dir():
        raise RunError(f"There is no folder {root}: give one that holds runs, such as outputs or a sweep's directory.")


def run_row(folder: Path) -> RunRow:
    """Return the row of one run directory; a damaged one gives a row that says so, not an error."""
    return read_row(folder)[0]


def read_row(folder: Path) -> tuple[RunRow, Manifest | None]:
    """Return the row of one run directory and its manifest, if it has one that can be read."""
    changed = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    try:
        facts = _config_facts(folder)
        if not (folder / MANIFEST).is_file():
            problem = f"no {MANIFEST}: it was killed, or still runs"
            return RunRow(folder, changed, "incomplete", problem=problem, **facts), None
        manifest = read_manifest(folder)
        facts |= _numbers(folder) | {"seconds": manifest.seconds}
        return RunRow(folder, manifest.created, manifest.status, **facts), manifest
    except (RunError, OSError, ValueError) as error:
        return RunRow(folder, changed, "damaged", problem=str(error).splitlines()[0]), None


def _config_facts(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    text = path.read_bytes() if path.is_file() else b""
    blocks = [block[0] for block in BLOCKS.finditer(text)]
    found = any(block.startswith(b"choices") for block in blocks)
    config = _mapping(yaml_value(b"\n".join(blocks) if found else text))
    choices = {str(group): option for group, option in _mapping(config.get("choices")).items()}
    tags = config.get("tags")
    return {
        **{group: choices.get(group) for group in GROUPS},
        "seed": config.get("seed"),
        "objective": config.get("objective"),
        "tags": [str(tag) for tag in tags] if isinstance(tags, list) else [],
        "choices": choices,
    }


def _numbers(folder: Path) -> dict[str, Any]:
    overall = _mapping(_json(folder / "metrics.json").get("overall"))
    metrics = {str(name): _mapping(entry).get("value") for name, entry in overall.items()}
    return {"audit": _json(folder / "audit.json").get("status"), "metrics": metrics}


def _json(path: Path) -> Mapping[str, Any]:
    return _mapping(json.loads(path.read_bytes()) if path.is_file() else None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
