"""Prediction log in an SQLite file, which several processes may write."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve.predictions.errors import LogError, LogUnavailableError, RowRejectedError
from serve.predictions.row import Cells
from serve.predictions.store import SCHEMA_VERSION, PredictionFilter, check_version, foreign_table_error, new_writer_id

BUSY_TIMEOUT = 2.0  # seconds to wait for another process's write
INSERT_ROWS = 100  # rows per statement: few releases of the GIL, and none held for long
FETCH_SIZE = 10_000
OWNER_ONLY = 0o600  # SQLite gives its temporary files the permissions of the database

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
CLAIM_BATCH = """INSERT INTO predictions_writers VALUES (?, ?)
          ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch WHERE batch <> excluded.batch"""


class SqliteStore:
    """Predictions in an SQLite file in WAL mode.

    Parameters
    ----------
    path : Path
        The file; it and its folder are created if they do not exist. A new file can be read by its owner only.
    durable : bool
        Whether to sync each commit to disk. Otherwise a power failure may lose the latest commits, but never the file.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.name = f"sqlite:///{path}"
        self._durable = durable
        self._writer = new_writer_id()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def open(self) -> None:
        """Connect, and create the tables or check that they belong to mlsys."""
        if self._connection is not None and self._file == _identity(self.path):
            return
        self.close()  # rows written to a file that was moved away would be lost
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _create(self.path)
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
        """Write rows in one transaction, unless this store has already written the batch with this number."""
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if connection.execute(CLAIM_BATCH, (self._writer, batch)).rowcount:
                    _insert(connection, cells)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except (sqlite3.DataError, sqlite3.IntegrityError, UnicodeError) as error:
            raise RowRejectedError(str(error)) from error
        except sqlite3.Error as error:
            raise _failure(self.name, error) from error

    def read(self, where: PredictionFilter) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of the rows in the order of writing."""
        if not self.path.is_file():
            raise LogError(f"Prediction log not found: {self.path} (working directory: {Path.cwd()}).")
        conditions, values = _conditions(where)
        columns = COLUMNS if where.features else COLUMNS.removesuffix(", features") + ", NULL"
        try:
            with contextlib.closing(_connect_to_read(self.path)) as connection:
                if _version(connection, self.name) is None:
                    raise LogError(f"{self.path} is an SQLite database, but not a prediction log.")
                query = f"SELECT {columns} FROM predictions WHERE {conditions} ORDER BY number"
                cursor = connection.execute(query, values)
                while rows := cursor.fetchmany(FETCH_SIZE):
                    yield rows
        except sqlite3.Error as error:
            raise _failure(self.name, error) from error

    def close(self) -> None:
        """Close the connection, even if it is broken."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # a database error may be the reason for closing
                self._connection.close()
        self._connection = self._file = None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        if _version(connection, self.name) is not None:
            return
        connection.execute("BEGIN IMMEDIATE")  # only one of several starting processes creates the tables
        try:
            if _version(connection, self.name) is None:
                for statement in TABLES:
                    connection.execute(statement)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _create(path: Path) -> None:
    """Create the file so that only its owner can read it: ids and inputs are about people."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))


def _connect(path: Path) -> sqlite3.Connection:
    # The connection is opened and closed by different threads, but never used by two at once.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    # In a read-only folder, a file in WAL mode can only be opened as immutable.
    has_no_wal = not path.with_name(path.name + "-wal").exists()
    uri = path.resolve().as_uri()
    for mode in ("mode=ro", "immutable=1") if has_no_wal else ("mode=ro",):
        connection = sqlite3.connect(f"{uri}?{mode}", uri=True, timeout=BUSY_TIMEOUT)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError as error:
            connection.close()
            if mode == "immutable=1" or not has_no_wal:
                raise
            last_error = error
            continue
        except sqlite3.Error:
            connection.close()
            raise
        return connection
    raise last_error


def _insert(connection: sqlite3.Connection, cells: Sequence[Cells]) -> None:
    for start in range(0, len(cells), INSERT_ROWS):
        chunk = cells[start : start + INSERT_ROWS]
        statement = f"INSERT INTO predictions ({COLUMNS}) VALUES " + ", ".join([VALUES] * len(chunk))
        connection.execute(statement, [cell for row in chunk for cell in row])


def _version(connection: sqlite3.Connection, name: str) -> int | None:
    """Return the version of the tables, or None if they do not exist yet."""
    query = "SELECT name FROM sqlite_master WHERE name IN ('predictions', 'predictions_version')"
    tables = {table for (table,) in connection.execute(query)}
    if "predictions_version" not in tables:
        if tables:
            raise foreign_table_error(name)
        return None
    version = int(connection.execute("SELECT max(version) FROM predictions_version").fetchone()[0])
    check_version(version, name)
    return version


def _conditions(where: PredictionFilter) -> tuple[str, list[Any]]:
    conditions: dict[str, Any] = {
        f"time >= {MOMENT.format('?')}": where.since,
        f"time < {MOMENT.format('?')}": where.until,
        "model = ?": where.model,
        "version = ?": where.version,
        "shadow = ?": where.shadow,
    }
    used = {condition: value for condition, value in conditions.items() if value is not None}
    return " AND ".join(used) or "1", list(used.values())


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _failure(name: str, error: sqlite3.Error | OSError) -> LogError | LogUnavailableError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return LogError(f"{name} is not an SQLite database. Log to another file.")
    return LogUnavailableError(f"{name}: {error}")
