"""Cache the rows of run directories in a SQLite file, so that only changed runs are read again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from mlsys.errors import RunError
from mlsys.runs.catalog.listing import RunRow, check_folder, read_row
from mlsys.runs.config_diff import flatten
from mlsys.runs.discover import run_folders
from mlsys.runs.files import MANIFEST
from mlsys.runs.manifest import Manifest
from mlsys.runs.reader import yaml_value
from mlsys.runs.verify import changes, file_states, read_manifest

logger = logging.getLogger(__name__)

VERSION = 3  # of the table below and of what `read_row` reads; a file of another version is emptied
TABLE = """CREATE TABLE IF NOT EXISTS runs (
    path TEXT PRIMARY KEY,   -- absolute
    fingerprint TEXT NOT NULL,  -- of the file that shows whether the row is up to date
    content TEXT NOT NULL,   -- the RunRow as JSON
    files TEXT,              -- digest of all files' sizes and times when they were last compared with the manifest
    problem TEXT,            -- differences from the manifest at that time
    config TEXT              -- config.yaml with flattened keys, as JSON; null until needed
) WITHOUT ROWID"""
BATCH = 250  # rows per transaction; other processes can write in between, and a killed build can resume
LOCK_TIMEOUT = 30.0  # seconds
CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

ProgressCallback = Callable[[str, int, int], None]
Result = TypeVar("Result")


def default_file() -> Path:
    """Return the path of the index, in the user's cache folder because a folder of runs may be read-only."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlsys" / "runs.sqlite"


class RunIndex:
    """Cached rows of run directories.

    A row is read again when the time or size of its manifest (or, without one, its config or log) changes. The file is
    created if it is missing and recreated if it is corrupt; several processes may use it at once.

    Parameters
    ----------
    file : Path, optional
        Path of the index; by default in the user's cache folder.
    progress : callable, optional
        Called with the name of the current step, the number of runs done and the total.
    """

    def __init__(self, file: Path | None = None, progress: ProgressCallback | None = None) -> None:
        self.file = file or default_file()
        self._progress: ProgressCallback = progress or _no_progress
        self._memory: sqlite3.Connection | None = None

    def rows(self, root: Path) -> list[RunRow]:
        """Return the runs below a folder, ordered by name, with absolute paths.

        Raises
        ------
        RunError
            If the folder is not found.
        """
        check_folder(root)
        base = root.resolve()
        fingerprints = {str(folder): _fingerprint(folder) for folder in run_folders(base)}

        def update(connection: sqlite3.Connection) -> list[RunRow]:
            known = dict(connection.execute(*_below("SELECT path, fingerprint FROM runs", base)).fetchall())
            deleted = [path for path in known if path not in fingerprints and not os.path.lexists(path)]
            with connection:
                connection.executemany("DELETE FROM runs WHERE path = ?", [(path,) for path in deleted])
            stale = [
                (path, fingerprint) for path, fingerprint in fingerprints.items() if known.get(path) != fingerprint
            ]
            self._read(connection, stale)
            cursor = connection.execute(*_below("SELECT path, content, problem FROM runs", base))
            rows = {path: _row(path, content, problem) for path, content, problem in cursor}
            return [rows[path] for path in fingerprints if path in rows]

        return self._with(update)

    def checked(self, rows: Sequence[RunRow], *, fully: bool = False) -> list[RunRow]:
        """Compare the files of runs with their manifests and return the updated rows.

        Parameters
        ----------
        rows : sequence of RunRow
        fully : bool
            Whether to read every file. Otherwise only files newer than their manifest are read, and for the others the
            size is compared; runs that were compared and have not changed since are skipped.
        """

        def check(connection: sqlite3.Connection) -> list[RunRow]:
            result = []
            for number, row in enumerate(rows):
                if fully:
                    self._progress("verify", number, len(rows))
                result.append(_checked_row(connection, row, fully=fully))
            return result

        return self._with(check)

    def config_values(self, rows: Sequence[RunRow], keys: Sequence[str]) -> dict[Path, dict[str, Any]]:
        """Return the config values of dotted keys for each run's path; None if a run lacks a key.

        The first call reads all configs, which takes about 2 ms per run.
        """

        def query(connection: sqlite3.Connection) -> dict[Path, dict[str, Any]]:
            self._read_configs(connection, [str(row.path) for row in rows])
            paths = [f'$."{key}"' for key in (*keys, keys[0])]  # at least two, so that the result is an array
            marks = ", ".join("?" * len(paths))
            sql = f"SELECT path, json_extract(config, {marks}) FROM runs WHERE config IS NOT NULL"
            values = dict(connection.execute(sql, paths).fetchall())
            result = {}
            for row in rows:
                entries = json.loads(values.get(str(row.path), "[]"))
                result[row.path] = dict(zip(keys, entries, strict=False))
            return result

        return self._with(query)

    def config_keys(self, rows: Sequence[RunRow]) -> set[str]:
        """Return every dotted config key of these runs."""

        def query(connection: sqlite3.Connection) -> set[str]:
            requested = {str(row.path) for row in rows}
            self._read_configs(connection, sorted(requested))
            sql = "SELECT path, config FROM runs WHERE config IS NOT NULL"
            return {key for path, config in connection.execute(sql) if path in requested for key in json.loads(config)}

        return self._with(query)

    def _read(self, connection: sqlite3.Connection, stale: Sequence[tuple[str, str]]) -> None:
        for start in range(0, len(stale), BATCH):
            self._progress("read", start, len(stale))
            new = [_entry(path, fingerprint) for path, fingerprint in stale[start : start + BATCH]]
            with connection:
                connection.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, NULL)", filter(None, new))

    def _read_configs(self, connection: sqlite3.Connection, paths: Sequence[str]) -> None:
        empty = {path for (path,) in connection.execute("SELECT path FROM runs WHERE config IS NULL")}
        missing = [path for path in paths if path in empty]
        for start in range(0, len(missing), BATCH):
            self._progress("read configs", start, len(missing))
            new = [(json.dumps(_config(Path(path))), path) for path in missing[start : start + BATCH]]
            with connection:
                connection.executemany("UPDATE runs SET config = ? WHERE path = ?", new)

    def _with(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run work on the index; recreate it if it is corrupt, and use one in memory if it cannot be written."""
        if self._memory is not None:
            return work(self._memory)
        try:
            return self._execute(work)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in CORRUPT:
                self._discard()
                return self._execute(work)
            reason: Exception = error
        except OSError as error:
            reason = error
        logger.warning("The index of runs %s cannot be written (%s), so every run is read again.", self.file, reason)
        self._memory = sqlite3.connect(":memory:")
        self._memory.execute(TABLE)
        return work(self._memory)

    def _execute(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.file, timeout=LOCK_TIMEOUT)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                with connection:
                    connection.execute("BEGIN IMMEDIATE")  # only one process empties an old file
                    if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                        connection.execute("DROP TABLE IF EXISTS runs")
                        connection.execute(TABLE)
                        connection.execute(f"PRAGMA user_version = {VERSION}")
            return work(connection)

    def _discard(self) -> None:
        """Remove a corrupt file, unless another process has replaced it already."""
        with FileLock(self.file.with_suffix(".lock"), timeout=LOCK_TIMEOUT):
            try:
                with contextlib.closing(sqlite3.connect(self.file, timeout=LOCK_TIMEOUT)) as connection:
                    intact = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
            except sqlite3.DatabaseError:
                intact = False
            if not intact:
                for path in (self.file, self.file.with_name(f"{self.file.name}-journal")):
                    path.unlink(missing_ok=True)


def _no_progress(_what: str, _done: int, _total: int) -> None:
    """Ignore progress."""


def _below(query: str, base: Path) -> tuple[str, tuple[str, str, str]]:
    """Return a query for the runs at or below a folder, and its parameters ("0" follows "/")."""
    return f"{query} WHERE path = ? OR (path > ? AND path < ?)", (str(base), f"{base}/", f"{base}0")


def _fingerprint(folder: Path) -> str:
    for name in (MANIFEST, "config.yaml", "train.log"):
        with contextlib.suppress(OSError):
            state = os.stat(f"{folder}/{name}")  # noqa: PTH116 - Path.stat is slow for many runs
            return f"{name} {state.st_mtime_ns} {state.st_size} {state.st_ino}"
    return ""


def _entry(path: str, fingerprint: str) -> tuple[str, str, str, str | None, str | None] | None:
    folder = Path(path)
    try:
        row, manifest = read_row(folder)
        files, problem = (None, None) if manifest is None else _compare_files(folder, manifest)
    except (OSError, RunError):  # removed in the meantime
        return None
    content = {name: value for name, value in vars(row).items() if name != "path"}
    return path, fingerprint, json.dumps(content), files, problem


def _row(path: str, content: str, problem: str | None) -> RunRow:
    row = RunRow(path=Path(path), **json.loads(content))
    return row if problem is None else replace(row, status="tampered", problem=problem)


def _compare_files(folder: Path, manifest: Manifest, *, fully: bool = False) -> tuple[str, str | None]:
    """Compare a run's files with its manifest; return a digest of their sizes and times, and the differences."""
    states = file_states(folder)
    return _files_digest(states), "; ".join(changes(folder, manifest, None if fully else states)) or None


def _files_digest(states: Mapping[str, os.stat_result]) -> str:
    """Return a digest of the names, sizes and times of a run's files."""
    lines = (f"{name} {state.st_size} {state.st_mtime_ns}\n" for name, state in states.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _checked_row(connection: sqlite3.Connection, row: RunRow, *, fully: bool) -> RunRow:
    if row.status in ("incomplete", "damaged"):
        return row
    path = str(row.path)
    content, files, problem = connection.execute(
        "SELECT content, files, problem FROM runs WHERE path = ?", (path,)
    ).fetchone()
    try:
        if fully or files != _files_digest(file_states(row.path)):
            files, problem = _compare_files(row.path, read_manifest(row.path), fully=fully)
            with connection:
                connection.execute("UPDATE runs SET files = ?, problem = ? WHERE path = ?", (files, problem, path))
    except (OSError, RunError) as error:  # replaced by a link, or not readable
        problem = str(error)
    return _row(path, content, problem)


def _config(folder: Path) -> dict[str, Any]:
    try:
        return flatten(yaml_value((folder / "config.yaml").read_bytes()))
    except (OSError, RunError, UnicodeDecodeError):
        return {}
