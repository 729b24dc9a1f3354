"""Receipts and the run's id for trackers, in a hidden file of the run directory that is not part of the run."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlsys.runs.files import MANIFEST, write_atomic
from mlsys.tracking.base import Receipt

TRACKING_FILE = ".tracking.json"


def read_tracking_file(folder: Path) -> dict[str, Any]:
    """Return the content of the file in a run or sweep directory; empty if there is none."""
    try:
        content = json.loads((folder / TRACKING_FILE).read_bytes())
    except (OSError, ValueError):  # not tracked, or copied without hidden files
        return {}
    return content if isinstance(content, dict) else {}


def _update(folder: Path, changes: Mapping[str, Any]) -> None:
    """Update the file; does nothing if the folder is read-only."""
    with suppress(OSError):
        write_atomic(folder / TRACKING_FILE, json.dumps({**read_tracking_file(folder), **changes}, indent=2).encode())


def write_receipt(folder: Path, tracker: str, receipt: Receipt) -> None:
    """Save the receipt of a run from a tracker."""
    receipts: Mapping[str, Any] = read_tracking_file(folder).get("receipts", {})
    _update(folder, {"receipts": {**receipts, tracker: asdict(receipt)}})


def read_receipts(folder: Path) -> dict[str, Receipt]:
    """Return the receipts of a run by tracker."""
    return {name: Receipt(**receipt) for name, receipt in read_tracking_file(folder).get("receipts", {}).items()}


def run_id(folder: Path) -> str:
    """Return the id of a run in all trackers: the stored one, or else one derived from its manifest.

    An untracked run in a read-only folder therefore has the same id each time it is sent.
    """
    stored = read_tracking_file(folder).get("id")
    if stored:
        return str(stored)
    manifest = folder / MANIFEST
    if manifest.is_file():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]
    return new_id(folder)


def new_id(folder: Path) -> str:
    """Generate and store a unique id for a new run."""
    identifier = secrets.token_hex(8)
    _update(folder, {"id": identifier})
    return identifier
