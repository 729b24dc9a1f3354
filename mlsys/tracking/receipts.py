"""What a run directory remembers of its trackers, in a hidden file that is no part of the run."""

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

NOTES = ".tracking.json"


def read_notes(folder: Path) -> dict[str, Any]:
    """Return what is noted in a run or sweep directory; empty where nothing is."""
    try:
        notes = json.loads((folder / NOTES).read_bytes())
    except (OSError, ValueError):  # nobody tracked it, or a copy left hidden files behind
        return {}
    return notes if isinstance(notes, dict) else {}


def note(folder: Path, changes: Mapping[str, Any]) -> None:
    """Add to the notes; in a folder that cannot be written they are left out."""
    with suppress(OSError):
        write_atomic(folder / NOTES, json.dumps({**read_notes(folder), **changes}, indent=2).encode())


def note_receipt(folder: Path, tracker: str, receipt: Receipt) -> None:
    """Remember what became of a run in a tracker."""
    receipts: Mapping[str, Any] = read_notes(folder).get("receipts", {})
    note(folder, {"receipts": {**receipts, tracker: asdict(receipt)}})


def receipts_of(folder: Path) -> dict[str, Receipt]:
    """Return what became of a run, by tracker."""
    return {name: Receipt(**receipt) for name, receipt in read_notes(folder).get("receipts", {}).items()}


def run_id(folder: Path) -> str:
    """Return the id of a run in all trackers: the noted one, else one that its manifest gives.

    A run that was not tracked and lies where nothing can be written has the same id every time all the same.
    """
    noted = read_notes(folder).get("id")
    if noted:
        return str(noted)
    manifest = folder / MANIFEST
    if manifest.is_file():
        return hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]
    return new_id(folder)


def new_id(folder: Path) -> str:
    """Give a run that begins an id that no other run has."""
    drawn = secrets.token_hex(8)
    note(folder, {"id": drawn})
    return drawn
