"""Files of a run directory: valid names, atomic writes and digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlsys.errors import RunError

MANIFEST = "manifest.json"
RECIPE_VERSION = 1  # of the recipe of a flat table, recipe.json


@dataclass(frozen=True)
class FileEntry:
    """Entry of one file in the manifest.

    Attributes
    ----------
    sha256 : str
        Hexadecimal digest of the content.
    bytes : int
        Size in bytes.
    """

    sha256: str
    bytes: int


def digest(data: bytes) -> FileEntry:
    """Return the entry for a file with this content.

    Examples
    --------
    >>> digest(b"").bytes, digest(b"").sha256[:8]
    (0, 'e3b0c442')
    """
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def digest_file(path: Path, *, sync: bool = False) -> FileEntry:
    """Return the entry for a file, reading it once and in chunks.

    Parameters
    ----------
    path : Path
        A regular file.
    sync : bool
        Whether to flush the file to disk as well.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        if sync:
            os.fsync(file.fileno())
    return FileEntry(sha256, size)


def checked_name(name: str) -> str:
    """Return ``name`` if it is a valid name for a file of a run directory.

    Parameters
    ----------
    name : str
        Path relative to the run directory, separated by ``/``.

    Raises
    ------
    RunError
        If it is absolute, outside the directory, hidden (hidden files belong to other tools and are not part of a run)
        or the manifest.

    Examples
    --------
    >>> checked_name("plots/roc.png")
    'plots/roc.png'
    """
    parts = name.split("/")
    if "\\" in name or "\0" in name or PurePosixPath(name).is_absolute() or any(p in ("", ".", "..") for p in parts):
        raise RunError(f"{name!r} is not a path inside a run directory: use a relative path such as plots/roc.png.")
    if any(part.startswith(".") for part in parts):
        raise RunError(f"{name!r} is hidden, and hidden files are not part of a run directory: remove the leading dot.")
    if name == MANIFEST:
        raise RunError(f"{MANIFEST} is reserved for finish(): choose another name.")
    return name


def write_atomic(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file atomically: write to a temporary file, then rename it.

    Parameters
    ----------
    path : Path
    data : bytes
    sync : bool, default True
        Whether to flush the data to disk before renaming; otherwise a power failure may leave an empty file.

    Raises
    ------
    OSError
        If the file cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a directory to disk; a rename is only durable after that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run_files(folder: Path) -> Iterator[str]:
    """Yield the names of all files of a run directory, sorted within each folder.

    The manifest and hidden files are skipped: ``.hydra/`` (whose content is in config.yaml and overrides.yaml),
    ``.DS_Store`` and the like belong to other tools and may change at any time.

    Raises
    ------
    RunError
        If an entry is neither a file nor a folder; the target of a link could change.
    """
    yield from (name for name in _walk(folder, "") if name != MANIFEST)


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = prefix + entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            yield name
        else:
            kind = "a symbolic link" if entry.is_symlink() else "neither a file nor a folder"
            raise RunError(
                f"{entry.path} is {kind}, which a run directory must not have: replace it with a copy of the file."
            )
