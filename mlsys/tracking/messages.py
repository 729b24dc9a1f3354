"""What people are told of their trackers: one line for each, once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mlsys.runs.discover import run_folders
from mlsys.runs.files import MANIFEST
from mlsys.tracking.base import Receipt
from mlsys.tracking.receipts import receipts_of


def of_run(folder: Path, tracker: str, receipt: Receipt) -> str:
    """Return the line about one run in one tracker.

    Examples
    --------
    >>> of_run(Path("outputs/a"), "wandb", Receipt("online", "https://wandb.ai/ann/leads/runs/1"))
    'wandb: https://wandb.ai/ann/leads/runs/1'
    """
    if receipt.state == "online":
        return f"{tracker}: {receipt.where}"
    later = f"mlsys track {shown(folder)} --to {tracker}"
    if receipt.state == "offline":
        return f"{tracker}: offline ({receipt.reason}). To upload: {receipt.advice or later}"
    if not (folder / MANIFEST).is_file():  # killed: there is nothing to be sent
        return f"{tracker}: not sent ({receipt.reason})"
    return f"{tracker}: not sent ({receipt.reason}). The run directory is whole all the same; send it later: {later}"


def of_sweep(folder: Path) -> list[str]:
    """Return a line for each tracker that the runs of a sweep were sent to."""
    found = [entry for run in run_folders(folder) for entry in receipts_of(run).items()]
    return [_summary(folder, name, [each for other, each in found if other == name]) for name in sorted(dict(found))]


def shown(path: Path) -> str:
    """Return a path as a person in the working folder would write it."""
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def _summary(folder: Path, tracker: str, receipts: list[Receipt]) -> str:
    counts = Counter(receipt.state for receipt in receipts)
    parts = [f"{counts['online']} run{'s' if counts['online'] > 1 else ''} online"] if counts["online"] else []
    parts += [f"{counts['offline']} offline ({_reasons(receipts, 'offline')})"] if counts["offline"] else []
    parts += [f"{counts['failed']} not sent ({_reasons(receipts, 'failed')})"] if counts["failed"] else []
    later = (
        f". Send them later: mlsys track {shown(folder)} --to {tracker}"
        if len(counts) > 1 or not counts["online"]
        else ""
    )
    return f"{tracker}: {', '.join(parts)}{later}"


def _reasons(receipts: Iterable[Receipt], state: str) -> str:
    """Return the most frequent reason; one line cannot hold all of them."""
    return Counter(receipt.reason for receipt in receipts if receipt.state == state).most_common(1)[0][0]
