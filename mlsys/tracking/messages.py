"""Messages to the user about trackers: one line per tracker."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mlsys.runs.discover import run_folders
from mlsys.runs.files import MANIFEST
from mlsys.text import counted
from mlsys.tracking.base import Receipt
from mlsys.tracking.receipts import read_receipts


def run_message(folder: Path, tracker: str, receipt: Receipt) -> str:
    """Return the message about one run in one tracker.

    Examples
    --------
    >>> run_message(Path("outputs/a"), "wandb", Receipt("online", "https://wandb.ai/ann/leads/runs/1"))
    'wandb: https://wandb.ai/ann/leads/runs/1'
    """
    if receipt.state == "online":
        return f"{tracker}: {receipt.where}"
    later = f"mlsys track {relative_path(folder)} --to {tracker}"
    if receipt.state == "offline":
        return f"{tracker}: offline ({receipt.reason}). To upload: {receipt.advice or later}"
    if not (folder / MANIFEST).is_file():  # killed: nothing to send
        return f"{tracker}: not sent ({receipt.reason})"
    return f"{tracker}: not sent ({receipt.reason}). The run directory is complete; to send it later: {later}"


def sweep_messages(folder: Path) -> list[str]:
    """Return a message for each tracker that the runs of a sweep were sent to."""
    receipts = [entry for run in run_folders(folder) for entry in read_receipts(run).items()]
    names = sorted({name for name, _ in receipts})
    return [_summary(folder, name, [each for other, each in receipts if other == name]) for name in names]


def relative_path(path: Path) -> str:
    """Return a path relative to the working folder, if it is below it."""
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def _summary(folder: Path, tracker: str, receipts: list[Receipt]) -> str:
    counts = Counter(receipt.state for receipt in receipts)
    parts = [f"{counted(counts['online'], 'run')} online"] if counts["online"] else []
    parts += [f"{counts['offline']:,} offline ({_main_reason(receipts, 'offline')})"] if counts["offline"] else []
    parts += [f"{counts['failed']:,} not sent ({_main_reason(receipts, 'failed')})"] if counts["failed"] else []
    pending = counts["offline"] + counts["failed"]
    later = f"mlsys track {relative_path(folder)} --to {tracker}"
    advice = f". To send {'it' if pending == 1 else 'them'} later: {later}" if pending else ""
    return f"{tracker}: {', '.join(parts)}{advice}"


def _main_reason(receipts: Iterable[Receipt], state: str) -> str:
    """Return the most frequent reason, because one line cannot hold all of them."""
    return Counter(receipt.reason for receipt in receipts if receipt.state == state).most_common(1)[0][0]
