"""Find run directories below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mlsys.runs.files import MANIFEST

# Files of a run that was killed early: the config, which is written first, and the log that Hydra opens.
EARLY_FILES = frozenset({"config.yaml", "train.log"})
MAX_DEPTH = 6  # multirun/NAME/DATE/TIME/N and one more; limits the search if the root is, say, a home folder


def run_folders(root: Path) -> Iterator[Path]:
    """Yield run directories, complete or not, ordered by name.

    Parameters
    ----------
    root : Path
        Working folder, whose ``outputs`` and ``multirun`` are searched; if it has neither, the folder itself is
        searched. Links and hidden folders are skipped, so that the ``best`` run of a sweep is not counted twice.
    """
    standard = [folder for folder in (root / "multirun", root / "outputs") if folder.is_dir()]
    for folder in standard or [root]:
        yield from _below(folder, MAX_DEPTH)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # removed in the meantime, or not readable
        return
    files = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    if MANIFEST in files:
        yield folder
        return
    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")]
    runs = [run for entry in folders if depth > 0 for run in _below(folder / entry.name, depth - 1)]
    if not runs and files & EARLY_FILES:  # a sweep's log is above its runs; that folder is not a run
        runs = [folder]
    yield from runs
