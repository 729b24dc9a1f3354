"""Folders for what a fit keeps on disk; those of killed processes are removed by the next one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from mlsys.data.cache import default_folder
from mlsys.data.config import CachedData
from mlsys.errors import DataError


def scratch_root(data: CachedData) -> Path:
    """Return the folder for everything that is kept on disk during a run: beside the panel cache.

    Raises
    ------
    DataError
        If it cannot be created.
    """
    root = (data.cache_dir or default_folder()) / "scratch"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Cannot create {root}: {error}. Choose another folder with data.cache_dir=…") from error
    return root


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """Yield a new folder, which is removed at the end, also on an error.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root, scratch_folder(Path(root)) as folder:
    ...     folder.is_dir()
    True
    """
    for leftover in root.glob("fit-*/"):
        _remove(leftover)
    folder = root / f"fit-{uuid4().hex}"
    with FileLock(_lock(folder)):  # held as long as the folder is used, so that no other process removes it
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _lock(folder).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Remove a folder that no process uses."""
    with suppress(Timeout), FileLock(_lock(folder), timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
        _lock(folder).unlink(missing_ok=True)


def _lock(folder: Path) -> Path:
    return folder.with_suffix(".lock")
