"""A copy of a run directory that nobody changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from mlsys.errors import RegistryError
from mlsys.runs import Run
from mlsys.runs.files import MANIFEST, digest_file, sync_folder

READ_ONLY = 0o444
PIECE = 2**26


def copy_run(run: Run, target: Path) -> None:
    """Copy the files that a run's manifest names, compare each copy with its digest, and wait until all are on disk.

    Files are never linked: a link would change with the original. Where the file system can share blocks until one of
    the two is written, the kernel does so by itself.

    Parameters
    ----------
    run : Run
        As it was opened.
    target : Path
        A new folder.

    Raises
    ------
    RegistryError
        If a file changed while it was copied.
    """
    target.mkdir()
    for name, expected in run.manifest.files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        _copy(run.path / name, place)
        if digest_file(place, sync=True) != expected:
            raise RegistryError(f"{run.path / name} changed while it was copied. Nothing was added; try again.")
        place.chmod(READ_ONLY)
    manifest = target / MANIFEST
    manifest.write_text(run.manifest.to_text(), encoding="utf-8")
    digest_file(manifest, sync=True)
    manifest.chmod(READ_ONLY)
    for folder in {target, *((target / name).parent for name in run.manifest.files)}:
        sync_folder(folder)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        if not _copied_by_kernel(reading, writing):
            reading.seek(0)
            writing.seek(0)
            writing.truncate()
            shutil.copyfileobj(reading, writing)


def _copied_by_kernel(reading: BinaryIO, writing: BinaryIO) -> bool:
    """Let the kernel copy, which shares blocks where it can; return whether it could."""
    copy = getattr(os, "copy_file_range", None)  # Linux alone
    if copy is None:
        return False
    try:
        while copy(reading.fileno(), writing.fileno(), PIECE):
            continue
    except OSError:  # across file systems, or one that cannot: a plain copy tells what is really wrong
        return False
    return True
