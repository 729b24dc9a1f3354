"""Keeps panels on disk under a hash of everything that decides them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from mlsys.data.config import CachedData
from mlsys.errors import DataError

logger = logging.getLogger(__name__)

META = b"mlsys"
COMPRESSION = "zstd"

Kept = tuple[pa.Table, dict[str, Any]]


def default_folder() -> Path:
    """Return the user's cache folder for mlsys (``$XDG_CACHE_HOME/mlsys``, else ``~/.cache/mlsys``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlsys"


def code_version() -> str:
    """Hash the code that decides a panel's values: the rooms ``data`` and ``features``, and their libraries."""
    from importlib.metadata import version

    rooms = [Path(__file__).parent, Path(__file__).parents[1] / "features"]
    digest = hashlib.sha256(f"{version('duckdb')} {version('ibis-framework')} {version('pandas')}".encode())
    for file in sorted(path for room in rooms for path in room.rglob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def hash_files(files: Iterable[Path]) -> str:
    """Hash the names and contents of files.

    Returns
    -------
    str
        Hexadecimal SHA-256.
    """
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def key_of(**parts: object) -> str:
    """Hash whatever decides a panel.

    Examples
    --------
    >>> key_of(config={"a": 1}, data="x") == key_of(data="x", config={"a": 1})
    True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


class TableCache:
    """A folder of Parquet files, one per key, each with a JSON note; safe with several processes, and bounded in size.

    Parameters
    ----------
    folder : Path
        Where the files are.
    max_bytes : int
        The least recently used files are removed beyond this.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def get_or_make(self, key: str, make: Callable[[], Kept]) -> Kept:
        """Return what is kept under ``key``, else make and keep it.

        A second process that asks for the same key waits for the first instead of making it too. What cannot be kept (a
        full disk) is returned all the same, with a warning.
        """
        with contextlib.ExitStack() as stack:
            if not self._lock(key, stack):
                return make()
            kept = self._read(key)
            if kept is None:
                kept = make()
                self._write(key, *kept)
        return kept

    def _lock(self, key: str, stack: contextlib.ExitStack) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self.folder / f"{key}.lock"))
        except (OSError, NotImplementedError) as error:  # the latter where a file system knows no locks
            logger.warning("panel cache: %s cannot be used (%s). data.cache=false says so for good", self.folder, error)
            return False
        return True

    def _read(self, key: str) -> Kept | None:
        path = self._path(key)
        if not path.exists():
            return None
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            note = json.loads(table.schema.metadata[META])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            logger.warning("panel cache: %s is damaged (%s); it is made anew", path, error)
            return None
        with contextlib.suppress(OSError):  # a read-only folder still serves
            os.utime(path)
        logger.info("panel from the cache: %s", path)
        return table, note

    def _write(self, key: str, table: pa.Table, note: dict[str, Any]) -> None:
        partial = self.folder / f"{key}.{os.getpid()}.partial"
        metadata = {**(table.schema.metadata or {}), META: json.dumps(note).encode()}
        table = table.replace_schema_metadata(metadata)
        try:
            try:
                pq.write_table(table, partial, compression=COMPRESSION, write_page_checksum=True)
                partial.replace(self._path(key))
            finally:
                partial.unlink(missing_ok=True)
            self._evict(keep=self._path(key))
        except OSError as error:
            logger.warning("panel cache: cannot keep the panel in %s (%s); going on without", self.folder, error)

    def _evict(self, keep: Path) -> None:
        total = 0
        for path, _, size in sorted(self._files(), key=lambda item: item[1], reverse=True):
            total += size
            if total > self.max_bytes and path != keep:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, float, int]]:
        for pattern in ("*.parquet", "*.partial"):  # the latter are left by killed processes
            for path in self.folder.glob(pattern):
                with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                    state = path.stat()
                    yield path, state.st_mtime, state.st_size

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.parquet"


def get_or_make(data: CachedData, parts: Mapping[str, object], make: Callable[[], Kept]) -> Kept:
    """Return a table and its note from the cache that the data config describes, else make (and keep) them.

    Parameters
    ----------
    data : CachedData
        The data config; with ``cache=false`` nothing is read or kept.
    parts : mapping of str to object
        Whatever decides the table, besides the code.
    make : callable
        Returns the table and a note that JSON can hold.

    Raises
    ------
    DataError
        Where ``data.cache_dir`` is a file.
    """
    if not data.cache:
        return make()
    root = data.cache_dir or default_folder()
    if root.is_file():
        raise DataError(f"data.cache_dir={root} is a file; give a folder, or set data.cache=false.")
    key = key_of(**parts, code=code_version())
    return TableCache(root / "panels", int(data.cache_gb * 1e9)).get_or_make(key, make)
