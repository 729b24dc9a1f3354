"""Caches tables on disk under a hash of everything that determines them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from mlsys.data.config import CachedData
from mlsys.errors import DataError

logger = logging.getLogger(__name__)

META = b"mlsys"
COMPRESSION = "zstd"

CacheEntry = tuple[pa.Table, dict[str, Any]]
MakeBatches = Callable[[], pa.RecordBatchReader]


class ColumnTable(Protocol):
    """A table of which columns are read one at a time: a `StoredTable`, or a PyArrow table in memory."""

    @property
    def num_rows(self) -> int: ...  # noqa: D102

    @property
    def column_names(self) -> list[str]: ...  # noqa: D102

    def column(self, name: str) -> pa.ChunkedArray: ...  # noqa: D102


def default_folder() -> Path:
    """Return the user's cache folder for mlsys (``$XDG_CACHE_HOME/mlsys``, else ``~/.cache/mlsys``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlsys"


@cache
def code_version() -> str:
    """Hash the code that determines a panel's values: the packages ``data`` and ``features``, and their libraries."""
    from importlib.metadata import version

    packages = [Path(__file__).parent, Path(__file__).parents[1] / "features"]
    digest = hashlib.sha256(f"{version('duckdb')} {version('ibis-framework')} {version('pandas')}".encode())
    for file in sorted(path for package in packages for path in package.rglob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def hash_files(files: Iterable[Path]) -> str:
    """Hash files by name and content.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def cache_key(**parts: object) -> str:
    """Hash the parts that determine a panel.

    Examples
    --------
    >>> cache_key(config={"a": 1}, data="x") == cache_key(data="x", config={"a": 1})
    True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


class TableCache:
    """A folder of Parquet files, one per key, each with JSON metadata; bounded in size and safe across processes.

    Parameters
    ----------
    folder : Path
        Where the files are stored.
    max_bytes : int
        Size limit; the least recently used files are removed first.
    level : int
        Level of the log message for an entry that is read.
    """

    def __init__(self, folder: Path, max_bytes: int, level: int = logging.INFO) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._level = level

    def get_or_make(self, key: str, make: Callable[[], CacheEntry]) -> CacheEntry:
        """Return the entry for ``key``; make and store it if there is none.

        A second process that requests the same key waits for the first instead of making the entry too. If the entry
        cannot be stored (a full disk, say), it is still returned, with a warning.
        """
        with contextlib.ExitStack() as stack:
            if not self._lock(key, stack):
                return make()
            entry = self._read(key)
            if entry is None:
                entry = make()
                self._write(key, *entry)
        return entry

    def open_or_make(self, key: str, make: MakeBatches) -> ColumnTable:
        """Return the table for ``key``; make it in batches and store them if there is none.

        If it cannot be stored, it is returned in memory, with a warning.
        """
        with contextlib.ExitStack() as stack:
            if not self._lock(key, stack):
                return _in_memory(make)
            return self._open(key) or (self._stored(key, make) and self._open(key)) or _in_memory(make)

    def file(self, key: str) -> Path:
        """Return the path of the entry for ``key``."""
        return self.folder / f"{key}.parquet"

    def _lock(self, key: str, stack: contextlib.ExitStack) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self.folder / f"{key}.lock"))
        except (OSError, NotImplementedError) as error:  # NotImplementedError: the file system has no locks
            logger.warning("panel cache: cannot use %s (%s); data.cache=false disables it", self.folder, error)
            return False
        return True

    def _read(self, key: str) -> CacheEntry | None:
        path = self.file(key)
        if not path.exists():
            return None
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            metadata = json.loads(table.schema.metadata[META])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            logger.warning("panel cache: %s is corrupt (%s); rebuilding it", path, error)
            return None
        self._used(path)
        return table, metadata

    def _open(self, key: str) -> StoredTable | None:
        path = self.file(key)
        if not path.exists():
            return None
        try:
            table = StoredTable(path)
        except (OSError, pa.ArrowException) as error:
            logger.warning("panel cache: %s is corrupt (%s); rebuilding it", path, error)
            return None
        self._used(path)
        return table

    def _used(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # a read-only folder can still be read
            os.utime(path)
        logger.log(self._level, "panel loaded from the cache: %s", path)

    def _write(self, key: str, table: pa.Table, metadata: dict[str, Any]) -> None:
        encoded = json.dumps(metadata).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), META: encoded})
        self._stored(key, table.to_reader)

    def _stored(self, key: str, make: MakeBatches) -> bool:
        """Write batches as they are made; return whether that worked."""
        partial = self.folder / f"{key}.{os.getpid()}.partial"
        batches = make()
        try:
            try:
                with pq.ParquetWriter(
                    partial, batches.schema, compression=COMPRESSION, write_page_checksum=True
                ) as writer:
                    for batch in batches:
                        writer.write_batch(batch)
                partial.replace(self.file(key))
            finally:
                partial.unlink(missing_ok=True)
            self._evict(keep=self.file(key))
        except OSError as error:
            logger.warning("panel cache: cannot store the panel in %s (%s); continuing without", self.folder, error)
            return False
        return True

    def _evict(self, keep: Path) -> None:
        total = 0
        for path, _, size in sorted(self._files(), key=lambda item: item[1], reverse=True):
            total += size
            if total > self.max_bytes and path != keep:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, float, int]]:
        for pattern in ("*.parquet", "*.partial"):  # killed processes leave *.partial
            for path in self.folder.glob(pattern):
                with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                    status = path.stat()
                    yield path, status.st_mtime, status.st_size


def _in_memory(make: MakeBatches) -> ColumnTable:
    table: ColumnTable = make().read_all()
    return table


class StoredTable:
    """A Parquet file of which columns are read one at a time; it stays readable if it is removed meanwhile.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return int(self._file.metadata.num_rows)

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return list(self._file.schema_arrow.names)

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column.

        Raises
        ------
        OSError
            If its checksum is wrong.
        """
        return self._file.read(columns=[name]).column(0)


def get_or_make(
    data: CachedData, parts: Mapping[str, object], make: Callable[[], CacheEntry], *, level: int = logging.INFO
) -> CacheEntry:
    """Return a table and its metadata from the configured cache; make and store them if absent.

    Parameters
    ----------
    data : CachedData
        The data config; with ``cache=false`` nothing is read or stored.
    parts : mapping of str to object
        Everything that determines the table, besides the code.
    make : callable
        Returns the table and JSON-serializable metadata.
    level : int
        Level of the log message for an entry that is read.

    Raises
    ------
    DataError
        If ``data.cache_dir`` is a file.
    """
    if not data.cache:
        return make()
    return _cache(data, level).get_or_make(_key(parts), make)


def open_or_make(data: CachedData, parts: Mapping[str, object], make: MakeBatches) -> ColumnTable:
    """Return a table of which columns are read one at a time, from the configured cache; make and store it if absent.

    Without a cache, it is stored in a file without a name, which the operating system removes.

    Parameters
    ----------
    data, parts
        See `get_or_make`.
    make : callable
        Returns the table's batches.

    Raises
    ------
    DataError
        If ``data.cache_dir`` is a file.
    """
    if data.cache:
        return _cache(data, logging.DEBUG).open_or_make(_key(parts), make)
    with tempfile.TemporaryDirectory(prefix="mlsys-") as folder:
        return TableCache(Path(folder), max_bytes=sys.maxsize, level=logging.DEBUG).open_or_make("panel", make)


def remove(data: CachedData, parts: Mapping[str, object]) -> None:
    """Remove a table from the configured cache, as it is corrupt."""
    _cache(data, logging.DEBUG).file(_key(parts)).unlink(missing_ok=True)


def _cache(data: CachedData, level: int) -> TableCache:
    root = data.cache_dir or default_folder()
    if root.is_file():
        raise DataError(f"data.cache_dir={root} is a file; set it to a folder, or set data.cache=false.")
    return TableCache(root / "panels", int(data.cache_gb * 1e9), level)


def _key(parts: Mapping[str, object]) -> str:
    return cache_key(**parts, code=code_version())
