"""Files of a run directory: their names, how they are written so that a crash leaves no half file, their digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlsys.errors import RunError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """What the manifest remembers of one file.

    Attributes
    ----------
    sha256 : str
        Digest of the content, in hexadecimal.
    bytes : int
        Size.
    """

    sha256: str
    bytes: int


def digest(data: bytes) -> FileEntry:
    """Return the entry of content that is in memory.

    Examples
    --------
    >>> digest(b"").bytes, digest(b"").sha256[:8]
    (0, 'e3b0c442')
    """
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def digest_file(path: Path, *, sync: bool = False) -> FileEntry:
    """Return the entry of a file, reading it once and in pieces.

    Parameters
    ----------
    path : Path
        A regular file.
    sync : bool
        Also wait until the file is on disk.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        if sync:
            os.fsync(file.fileno())
    return FileEntry(sha256, size)


def checked_name(name: str) -> str:
    """Return ``name`` if it may name a file of a run directory.

    Parameters
    ----------
    name : str
        Path relative to the run directory, with ``/`` between its parts.

    Raises
    ------
    RunError
        If it is absolute, leaves the directory, is hidden (hidden files belong to other tools and are not part of
        a run), or is the manifest itself.

    Examples
    --------
    >>> checked_name("plots/roc.png")
    'plots/roc.png'
    """
    parts = name.split("/")
    if "\\" in name or "\0" in name or PurePosixPath(name).is_absolute() or any(p in ("", ".", "..") for p in parts):
        raise RunError(
            f"{name!r} does not name a file inside a run directory: give a relative path such as plots/roc.png."
        )
    if any(part.startswith(".") for part in parts):
        raise RunError(f"{name!r} is hidden, and hidden files are not part of a run directory: drop the leading dot.")
    if name == MANIFEST:
        raise RunError(f"{MANIFEST} is written by finish() alone: choose another name.")
    return name


def write_atomic(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file under another name and rename it, so that ``path`` holds all of ``data`` or is untouched.

    Parameters
    ----------
    path : Path
    data : bytes
    sync : bool, default True
        Wait until the data are on disk before it is renamed: without, a power cut may leave the name and no data.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it stays behind.
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
    """Wait until the names in ``folder`` are on disk: a rename is only durable once its directory is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run_files(folder: Path) -> Iterator[str]:
    """Yield the names of all files that are part of a run directory, sorted folder by folder.

    The manifest is not yielded, nor is anything hidden: ``.hydra/`` (config.yaml and overrides.yaml hold its content),
    ``.DS_Store`` and the like belong to other tools and may change at any time.

    Raises
    ------
    RunError
        If something in it is neither a file nor a folder: a link could show other content tomorrow.
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
                f"{entry.path} is {kind}, which a run directory must not hold: put a copy of the file there."
            )
