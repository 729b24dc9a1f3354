"""What is known of many run directories, kept in one SQLite file so that only what changed is read again."""

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

VERSION = 2  # of the table below, and of what `run_row` reads: another one empties the file
TABLE = """CREATE TABLE IF NOT EXISTS runs (
    path TEXT PRIMARY KEY,   -- absolute
    stamp TEXT NOT NULL,     -- of the file that shows whether the row is up to date
    facts TEXT NOT NULL,     -- the RunRow, as JSON
    files TEXT,              -- of all files, when they were last compared with the manifest
    problem TEXT,            -- what differed then
    config TEXT              -- config.yaml, keys flattened, as JSON; null until it is asked for
) WITHOUT ROWID"""
BATCH = 250  # rows a transaction: others can write in between, and a killed build goes on where it was
PATIENCE = 30.0  # seconds to wait for another process's transaction
SPOILT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Watch = Callable[[str, int, int], None]
Result = TypeVar("Result")


def default_file() -> Path:
    """Return where the index is: in the user's cache folder, since a folder of runs may be read-only."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlsys" / "runs.sqlite"


class RunIndex:
    """Rows of run directories, remembered.

    A row is read again when its manifest (or, without one, its config or log) has another time or size. The file is
    made when it is missing and made again when it is spoilt; several processes may use it at once.

    Parameters
    ----------
    file : Path, optional
        Where it is kept; by default in the user's cache folder.
    watch : callable, optional
        Called with what is being done, how many are done and how many there are.
    """

    def __init__(self, file: Path | None = None, watch: Watch | None = None) -> None:
        self.file = file or default_file()
        self._watch: Watch = watch or _unwatched
        self._memory: sqlite3.Connection | None = None

    def rows(self, root: Path) -> list[RunRow]:
        """Return the runs below a folder, in the order of their names; their paths are absolute.

        Raises
        ------
        RunError
            If there is no such folder.
        """
        check_folder(root)
        base = root.resolve()
        found = {str(folder): _stamp(folder) for folder in run_folders(base)}

        def update(connection: sqlite3.Connection) -> list[RunRow]:
            known = dict(connection.execute(*_below("SELECT path, stamp FROM runs", base)).fetchall())
            gone = [path for path in known if path not in found and not os.path.lexists(path)]
            with connection:
                connection.executemany("DELETE FROM runs WHERE path = ?", [(path,) for path in gone])
            stale = [(path, stamp) for path, stamp in found.items() if known.get(path) != stamp]
            self._read(connection, stale)
            held = connection.execute(*_below("SELECT path, facts, problem FROM runs", base))
            rows = {path: _row(path, facts, problem) for path, facts, problem in held}
            return [rows[path] for path in found if path in rows]

        return self._with(update)

    def checked(self, rows: Sequence[RunRow], *, fully: bool = False) -> list[RunRow]:
        """Return rows whose files were compared with their manifests.

        Parameters
        ----------
        rows : sequence of RunRow
        fully : bool
            Read every file. Otherwise only those that are newer than their manifest, and of the others the sizes; what
            was compared and has not been touched since is not compared again.
        """

        def check(connection: sqlite3.Connection) -> list[RunRow]:
            result = []
            for number, row in enumerate(rows):
                if fully:
                    self._watch("verify", number, len(rows))
                result.append(_checked(connection, row, fully=fully))
            return result

        return self._with(check)

    def config_values(self, rows: Sequence[RunRow], keys: Sequence[str]) -> dict[Path, dict[str, Any]]:
        """Return values of the config by dotted key, for each run's path; a run without a key has None there.

        All configs are read the first time, which takes about 2 ms a run.
        """

        def look(connection: sqlite3.Connection) -> dict[Path, dict[str, Any]]:
            self._read_configs(connection, [str(row.path) for row in rows])
            places = [f'$."{key}"' for key in (*keys, keys[0])]  # two at least: the answer is an array then
            marks = ", ".join("?" * len(places))
            query = f"SELECT path, json_extract(config, {marks}) FROM runs WHERE config IS NOT NULL"
            values = dict(connection.execute(query, places).fetchall())
            found = {}
            for row in rows:
                entries = json.loads(values.get(str(row.path), "[]"))
                found[row.path] = dict(zip(keys, entries, strict=False))
            return found

        return self._with(look)

    def config_keys(self, rows: Sequence[RunRow]) -> set[str]:
        """Return every dotted config key of these runs."""

        def look(connection: sqlite3.Connection) -> set[str]:
            wanted = {str(row.path) for row in rows}
            self._read_configs(connection, sorted(wanted))
            query = "SELECT path, config FROM runs WHERE config IS NOT NULL"
            return {key for path, config in connection.execute(query) if path in wanted for key in json.loads(config)}

        return self._with(look)

    def _read(self, connection: sqlite3.Connection, stale: Sequence[tuple[str, str]]) -> None:
        for start in range(0, len(stale), BATCH):
            self._watch("read", start, len(stale))
            new = [_entry(path, stamp) for path, stamp in stale[start : start + BATCH]]
            with connection:
                connection.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, NULL)", filter(None, new))

    def _read_configs(self, connection: sqlite3.Connection, paths: Sequence[str]) -> None:
        empty = {path for (path,) in connection.execute("SELECT path FROM runs WHERE config IS NULL")}
        missing = [path for path in paths if path in empty]
        for start in range(0, len(missing), BATCH):
            self._watch("read configs", start, len(missing))
            new = [(json.dumps(_config(Path(path))), path) for path in missing[start : start + BATCH]]
            with connection:
                connection.executemany("UPDATE runs SET config = ? WHERE path = ?", new)

    def _with(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do work with the index; where it is spoilt, with a new one; where it cannot be kept, with one in memory."""
        if self._memory is not None:
            return work(self._memory)
        try:
            return self._work(work)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in SPOILT:
                self._discard()
                return self._work(work)
            reason: Exception = error
        except OSError as error:
            reason = error
        logger.warning("The index of runs, %s, cannot be kept (%s): every run is read anew.", self.file, reason)
        self._memory = sqlite3.connect(":memory:")
        self._memory.execute(TABLE)
        return work(self._memory)

    def _work(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.file, timeout=PATIENCE)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                with connection:
                    connection.execute("BEGIN IMMEDIATE")  # of two processes that find it old, one empties it
                    if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                        connection.execute("DROP TABLE IF EXISTS runs")
                        connection.execute(TABLE)
                        connection.execute(f"PRAGMA user_version = {VERSION}")
            return work(connection)

    def _discard(self) -> None:
        """Remove a spoilt file, unless another process has done so and made a new one."""
        with FileLock(self.file.with_suffix(".lock"), timeout=PATIENCE):
            try:
                with contextlib.closing(sqlite3.connect(self.file, timeout=PATIENCE)) as connection:
                    sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
            except sqlite3.DatabaseError:
                sound = False
            if not sound:
                for path in (self.file, self.file.with_name(f"{self.file.name}-journal")):
                    path.unlink(missing_ok=True)


def _unwatched(_what: str, _done: int, _total: int) -> None:
    """Show nothing."""


def _below(query: str, base: Path) -> tuple[str, tuple[str, str, str]]:
    """Return a query for the runs at or below a folder, and its parameters ("0" follows "/")."""
    return f"{query} WHERE path = ? OR (path > ? AND path < ?)", (str(base), f"{base}/", f"{base}0")


def _stamp(folder: Path) -> str:
    for name in (MANIFEST, "config.yaml", "train.log"):
        with contextlib.suppress(OSError):
            state = os.stat(f"{folder}/{name}")  # noqa: PTH116 - for ten thousand runs, Path.stat takes as long as the walk
            return f"{name} {state.st_mtime_ns} {state.st_size} {state.st_ino}"
    return ""


def _entry(path: str, stamp: str) -> tuple[str, str, str, str | None, str | None] | None:
    folder = Path(path)
    try:
        row, manifest = read_row(folder)
        files, problem = (None, None) if manifest is None else _compared(folder, manifest)
    except (OSError, RunError):  # removed since it was found
        return None
    facts = {name: value for name, value in vars(row).items() if name != "path"}
    return path, stamp, json.dumps(facts), files, problem


def _row(path: str, facts: str, problem: str | None) -> RunRow:
    row = RunRow(path=Path(path), **json.loads(facts))
    return row if problem is None else replace(row, status="tampered", problem=problem)


def _compared(folder: Path, manifest: Manifest, *, fully: bool = False) -> tuple[str, str | None]:
    """Compare a run's files with its manifest; return what tells that they were touched later, and what differs."""
    states = file_states(folder)
    return _touched(states), "; ".join(changes(folder, manifest, None if fully else states)) or None


def _touched(states: Mapping[str, os.stat_result]) -> str:
    """Return a digest of the names, sizes and times of a run's files."""
    lines = (f"{name} {state.st_size} {state.st_mtime_ns}\n" for name, state in states.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _checked(connection: sqlite3.Connection, row: RunRow, *, fully: bool) -> RunRow:
    if row.status in ("incomplete", "damaged"):
        return row
    path = str(row.path)
    facts, files, problem = connection.execute(
        "SELECT facts, files, problem FROM runs WHERE path = ?", (path,)
    ).fetchone()
    try:
        if fully or files != _touched(file_states(row.path)):
            files, problem = _compared(row.path, read_manifest(row.path), fully=fully)
            with connection:
                connection.execute("UPDATE runs SET files = ?, problem = ? WHERE path = ?", (files, problem, path))
    except (OSError, RunError) as error:  # a link in its place, or a file that is not ours to read
        problem = str(error)
    return _row(path, facts, problem)


def _config(folder: Path) -> dict[str, Any]:
    try:
        return flatten(yaml_value((folder / "config.yaml").read_bytes()))
    except (OSError, RunError, UnicodeDecodeError):
        return {}
