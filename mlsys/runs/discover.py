"""Where runs lie below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mlsys.runs.files import MANIFEST

# What a run leaves even when it is killed early: the config that it writes first, the log that Hydra opens.
TRACES = frozenset({"config.yaml", "train.log"})
DEPTH = 6  # multirun/NAME/DATE/TIME/N, and one to spare; keeps a walk of somebody's home folder short


def run_folders(root: Path) -> Iterator[Path]:
    """Yield the directories of runs, whole or not, in the order of their names.

    Parameters
    ----------
    root : Path
        The working folder, of which ``outputs`` and ``multirun`` are searched; a folder that has neither is searched
        itself. Links and hidden folders are not followed: the ``best`` of a sweep is not counted twice.
    """
    usual = [folder for folder in (root / "multirun", root / "outputs") if folder.is_dir()]
    for folder in usual or [root]:
        yield from _below(folder, DEPTH)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # removed meanwhile, or not ours to read: no run that could be shown
        return
    files = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    if MANIFEST in files:
        yield folder
        return
    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")]
    found = [run for entry in folders if depth > 0 for run in _below(folder / entry.name, depth - 1)]
    if not found and files & TRACES:  # the log of a sweep lies above its runs: that folder is no run
        found = [folder]
    yield from found
