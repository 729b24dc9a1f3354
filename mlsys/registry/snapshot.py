"""Read-only copy of a run directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from mlsys.errors import RegistryError
from mlsys.runs import Run
from mlsys.runs.files import MANIFEST, digest_file, sync_folder

READ_ONLY = 0o444
CHUNK_BYTES = 2**26  # 64 MiB


def copy_run(run: Run, target: Path) -> None:
    """Copy the files in a run's manifest, compare each copy with its digest, and flush all to disk.

    Files are never linked, because a link would change with the original. The kernel uses copy-on-write where the file
    system supports it.

    Parameters
    ----------
    run : Run
    target : Path
        Folder to create.

    Raises
    ------
    RegistryError
        If a file changed during the copy.
    """
    target.mkdir()
    for name, expected in run.manifest.files.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy(run.path / name, copy)
        if digest_file(copy, sync=True) != expected:
            raise RegistryError(f"{run.path / name} changed while it was copied. Nothing was added; try again.")
        copy.chmod(READ_ONLY)
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
    """Copy in the kernel, copy-on-write where supported; return whether it succeeded."""
    copy = getattr(os, "copy_file_range", None)  # Linux only
    if copy is None:
        return False
    try:
        while copy(reading.fileno(), writing.fileno(), CHUNK_BYTES):
            continue
    except OSError:  # not supported here; if it is another error, the plain copy raises it
        return False
    return True
