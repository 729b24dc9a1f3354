"""A prediction log in an SQLite file, which several processes may write."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve.predictions.errors import LogError, LogUnavailable, RowRefusedError
from serve.predictions.row import Cells
from serve.predictions.store import SCHEMA_VERSION, PredictionFilter, check_version, foreign_table_error, new_writer_id

BUSY_SECONDS = 2.0  # how long to wait for another process that writes
PORTION = 100  # rows in one statement: one release of the interpreter's lock for all, and none held for long
READ_AT_ONCE = 10_000

TABLES = (
    """CREATE TABLE predictions (
        number INTEGER PRIMARY KEY,
        id TEXT,
        as_of TEXT,
        time TEXT NOT NULL,
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        probability REAL NOT NULL,
        request_id TEXT NOT NULL,
        shadow INTEGER NOT NULL,
        features TEXT
    )""",
    "CREATE INDEX predictions_time ON predictions (time)",
    "CREATE TABLE predictions_writers (writer TEXT PRIMARY KEY, batch INTEGER NOT NULL)",
    "CREATE TABLE predictions_version (version INTEGER NOT NULL)",
    f"INSERT INTO predictions_version VALUES ({SCHEMA_VERSION})",
)
COLUMNS = ", ".join(Cells._fields)
MOMENT = "strftime('%Y-%m-%dT%H:%M:%fZ', {}, 'unixepoch')"
VALUES = f"(?, ?, {MOMENT.format('?')}, ?, ?, ?, ?, ?, ?)"
MARK = """INSERT INTO predictions_writers VALUES (?, ?)
          ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch WHERE batch <> excluded.batch"""


class SqliteStore:
    """Predictions in an SQLite file in WAL mode.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made where they are not there.
    durable : bool
        Sync each commit to the disk. Without, a power failure may cost the latest commits, but never the file.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.name = f"sqlite:///{path}"
        self._durable = durable
        self._writer = new_writer_id()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def open(self) -> None:
        """Connect, and make the tables or check that they are ours."""
        if self._connection is not None and self._file == _identity(self.path):
            return
        self.close()  # a file that was moved away would take rows that nobody finds
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(self.path)
            self._prepare(self._connection)
            self._file = _identity(self.path)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise _failure(self.name, error) from error
        except LogError:
            self.close()
            raise

    def write(self, cells: Sequence[Cells], batch: int) -> None:
        """Write rows in one transaction; nothing where the batch that this store wrote last has this number."""
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if connection.execute(MARK, (self._writer, batch)).rowcount:
                    _insert(connection, cells)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except (sqlite3.DataError, sqlite3.IntegrityError, UnicodeError) as error:
            raise RowRefusedError(str(error)) from error
        except sqlite3.Error as error:
            raise _failure(self.name, error) from error

    def read(self, wanted: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in the order in which they were written, by portions."""
        if not self.path.is_file():
            raise LogError(f"There is no prediction log {self.path} (looked in {Path.cwd()}).")
        conditions, values = _conditions(wanted)
        columns = COLUMNS if wanted.features else COLUMNS.removesuffix(", features") + ", NULL"
        try:
            with contextlib.closing(_connect_to_read(self.path)) as connection:
                if _version(connection, self.name) is None:
                    raise LogError(f"{self.path} is an SQLite file, but no prediction log.")
                query = f"SELECT {columns} FROM predictions WHERE {conditions} ORDER BY number"
                cursor = connection.execute(query, values)
                while rows := cursor.fetchmany(READ_AT_ONCE):
                    yield rows
        except sqlite3.Error as error:
            raise _failure(self.name, error) from error

    def close(self) -> None:
        """Close the connection, be it broken."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # it may be closed because of one
                self._connection.close()
        self._connection = self._file = None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        if _version(connection, self.name) is not None:
            return
        connection.execute("BEGIN IMMEDIATE")  # of several processes that start, one makes the tables
        try:
            if _version(connection, self.name) is None:
                for statement in TABLES:
                    connection.execute(statement)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    # Opened and closed by the threads that own it, one after the other.
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    # In a folder that cannot be written, a file in WAL mode opens only as one that nobody changes.
    alone = not path.with_name(path.name + "-wal").exists()
    uri = path.resolve().as_uri()
    for mode in ("mode=ro", "immutable=1") if alone else ("mode=ro",):
        connection = sqlite3.connect(f"{uri}?{mode}", uri=True, timeout=BUSY_SECONDS)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError as error:
            connection.close()
            if mode == "immutable=1" or not alone:
                raise
            failed = error
            continue
        except sqlite3.Error:
            connection.close()
            raise
        return connection
    raise failed


def _insert(connection: sqlite3.Connection, cells: Sequence[Cells]) -> None:
    for start in range(0, len(cells), PORTION):
        portion = cells[start : start + PORTION]
        statement = f"INSERT INTO predictions ({COLUMNS}) VALUES " + ", ".join([VALUES] * len(portion))
        connection.execute(statement, [cell for row in portion for cell in row])


def _version(connection: sqlite3.Connection, name: str) -> int | None:
    """Return the version of the tables; None where there are none yet."""
    query = "SELECT name FROM sqlite_master WHERE name IN ('predictions', 'predictions_version')"
    tables = {table for (table,) in connection.execute(query)}
    if "predictions_version" not in tables:
        if tables:
            raise foreign_table_error(name)
        return None
    version = int(connection.execute("SELECT max(version) FROM predictions_version").fetchone()[0])
    check_version(version, name)
    return version


def _conditions(wanted: PredictionFilter) -> tuple[str, list[Any]]:
    given: dict[str, Any] = {
        f"time >= {MOMENT.format('?')}": wanted.since,
        f"time < {MOMENT.format('?')}": wanted.until,
        "model = ?": wanted.model,
        "version = ?": wanted.version,
        "shadow = ?": wanted.shadow,
    }
    used = {condition: value for condition, value in given.items() if value is not None}
    return " AND ".join(used) or "1", list(used.values())


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _failure(name: str, error: sqlite3.Error | OSError) -> LogError | LogUnavailable:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return LogError(f"{name} is a file, but no SQLite database. Log to another file.")
    return LogUnavailable(f"{name}: {error}")
