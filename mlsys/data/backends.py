"""Backends for raw tables, looked up by name: a folder of files, a DuckDB or SQLite file, or a database server."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import duckdb
import ibis
import pyarrow as pa
from ibis.common.exceptions import IbisError, TableNotFound

from mlsys.data.cache import default_folder
from mlsys.data.config import EventsData, file_of
from mlsys.data.engines import DUCKDB_SETTINGS, connect
from mlsys.data.expression_cache import repair_expression_cache
from mlsys.data.sql_names import quoted
from mlsys.data.text_tables import load_text
from mlsys.errors import DataError, closest
from mlsys.memory import usable_memory_gb
from mlsys.text import joined

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends import BaseBackend

READERS: dict[str, Literal["read_csv", "read_json", "read_parquet"]] = {
    ".csv": "read_csv",
    ".csv.gz": "read_csv",
    ".parquet": "read_parquet",
    ".jsonl": "read_json",
    ".jsonl.gz": "read_json",
    ".ndjson": "read_json",
}
ENGINE_SHARE = 0.25
LEAST_GB = 0.25
TABLE_KEYS = "Set the table names with data.entities.tables, data.outcome.table and data.events.table."


class Backend(Protocol):
    """A source of raw tables.

    Attributes
    ----------
    connection : ibis backend
        The connection that runs queries on the tables.
    files : list of Path
        The files that tables have been read from so far; empty for a server.
    """

    connection: BaseBackend
    files: list[Path]

    def table(self, name: str, ids: Collection[str] = ()) -> ir.Table:
        """Return a table, whose columns ``ids`` hold ids; raise DataError if it does not exist or cannot be read."""
        ...


def open_backend(data: EventsData, *, threads: int | None = None) -> Backend:
    """Open the folder, file or server in the data config.

    Raises
    ------
    DataError
        If it does not exist or cannot be opened.
    """
    repair_expression_cache()
    location = _location(data)
    if location is None:
        return Database(connect(str(data.url), "data.url"), [])
    if not location.exists():
        siblings = [path.name for path in location.parent.iterdir()] if location.parent.is_dir() else []
        hint = closest(location.name, siblings)
        raise DataError(
            f"Not found: {_named(data)} (relative to {Path.cwd()})."
            + (f" Closest: {location.parent / hint}." if hint else "")
            + " Set it to the folder of the raw tables, or to a DuckDB or SQLite file."
        )
    settings: dict[str, Any] = DUCKDB_SETTINGS | ({"threads": threads} if threads else {})
    if location.is_dir():
        return Folder(location, _limited(data, ibis.duckdb.connect(**settings)))
    with location.open("rb") as file:
        magic = file.read(16)
    # DuckDB needs to download an extension to read SQLite; Python's standard library does not.
    if magic.startswith(b"SQLite format 3"):
        return SqliteFile(location, _limited(data, ibis.duckdb.connect(**settings)))
    if magic[8:12] != b"DUCK":
        raise DataError(
            f"{_named(data)} is a file, but not a DuckDB or SQLite database. Use such a file, or the folder of the raw "
            "tables. For a single flat table, use data=table data.path=FILE data.target=COLUMN."
        )
    try:
        return Database(_limited(data, ibis.duckdb.connect(location, read_only=True, **settings)), [location])
    except duckdb.Error as error:
        raise DataError(
            f"Cannot open {_named(data)}: {error}. Close other programs that write to it, or copy the file again."
        ) from error


def _limited(data: EventsData, connection: Any) -> BaseBackend:  # noqa: ANN401 - a DuckDB backend of Ibis
    """Limit DuckDB's memory to a quarter of the run's, and let it use the disk beyond.

    These are no settings of the connection, as connections to the same file must have the same.
    """
    limit = max(ENGINE_SHARE * usable_memory_gb(data.memory_gb), LEAST_GB)
    cache, prefix = data.cache_dir or default_folder(), f"spill-{socket.gethostname()}"
    root = cache if cache.is_dir() else Path(tempfile.gettempdir())  # DuckDB creates a folder only when it needs it
    for folder in root.glob(f"{prefix}-*"):  # it removes its own, but not after a kill
        if not Path(f"/proc/{folder.name.rpartition('-')[2]}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    run = connection.con.execute
    run(f"SET memory_limit = '{limit:.3f}GB'").fetchall()
    own = str(root / f"{prefix}-{os.getpid()}")
    if run("SELECT current_setting('temp_directory')").fetchall() != [(own,)]:
        escaped = own.replace("'", "''")
        run(f"SET temp_directory = '{escaped}'").fetchall()
    return connection


class Folder:
    """A folder with one file per table, read by DuckDB."""

    def __init__(self, folder: Path, connection: BaseBackend) -> None:
        self.folder = folder
        self.connection = connection
        self.files: list[Path] = []

    def table(self, name: str, ids: Collection[str] = ()) -> ir.Table:
        """Return the table in the file ``name``, given with or without its extension."""
        path = self._path(name)
        self.files.append(path)
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes). Export it again.")
        suffix = next((suffix for suffix in READERS if path.name.endswith(suffix)), ".csv")
        reader = READERS[suffix]
        try:
            if reader == "read_parquet":
                return self.connection.read_parquet(_literal(path), table_name=_view(name), hive_partitioning=False)
            # Once, as every query would parse the file again.
            load_text(self.connection.con, path, _literal(path), reader, _view(name), ids)
            return self.connection.table(_view(name))
        except (duckdb.Error, IbisError, UnicodeDecodeError) as error:
            kind = reader.removeprefix("read_").upper()
            raise DataError(
                f"Cannot read {path} as {kind}: {error}\nIf the file is truncated, export it again."
            ) from error

    def _path(self, name: str) -> Path:
        names = sorted(path.name for path in self.folder.iterdir() if path.is_file())
        matches = [name] if name in names else [name + suffix for suffix in READERS if name + suffix in names]
        if len(matches) == 1:
            return self.folder / matches[0]
        if matches:
            raise DataError(
                f"Table {name!r} is ambiguous: {self.folder} has {joined(matches)}. Add the file extension to the "
                f"name. {TABLE_KEYS}"
            )
        hint = closest(name, [file.split(".")[0] for file in names])
        raise DataError(
            f"Table {name!r} not found in folder {self.folder}."
            + (f" Closest: {hint!r}." if hint else "")
            + f" Expected a file with the extension {joined(list(READERS), 'or')}. {TABLE_KEYS}"
        )


class Database:
    """A DuckDB file or a database server, where queries run."""

    def __init__(self, connection: BaseBackend, files: list[Path]) -> None:
        self.connection = connection
        self.files = files

    def table(self, name: str, ids: Collection[str] = ()) -> ir.Table:  # noqa: ARG002 - its columns are typed
        """Return the table ``name`` or ``schema.name``."""
        schema, _, table = name.rpartition(".")
        try:
            return self.connection.table(table, database=schema or None)
        except (TableNotFound, IbisError, duckdb.Error) as error:
            raise _no_table(name, self._names(schema)) from error

    def _names(self, schema: str) -> list[str]:
        if self.connection.name != "duckdb":
            with contextlib.suppress(Exception):  # each backend has its own errors, and this only adds to a message
                return [str(name) for name in self.connection.list_tables(database=schema or None)]
            return []
        # Ibis 12 lists tables with a method that DuckDB 2 has removed.
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = ?"
        return [name for (name,) in self.connection.con.execute(query, [schema or "main"]).fetchall()]


class SqliteFile:
    """An SQLite file, loaded into DuckDB."""

    def __init__(self, file: Path, connection: BaseBackend) -> None:
        self.file = file
        self.connection = connection
        self.files = [file]

    def table(self, name: str, ids: Collection[str] = ()) -> ir.Table:  # noqa: ARG002 - its columns are typed
        """Return a copy of the table."""
        # Not create_table(obj=memtable): with DuckDB 2, Ibis 12 then tries to drop an unnamed view and fails.
        self.connection.con.register(_view(name), self._read(name))
        return self.connection.table(_view(name))

    def _read(self, name: str) -> pa.Table:
        try:
            with contextlib.closing(sqlite3.connect(f"{self.file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                kinds = "type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
                names = [row[0] for row in connection.execute(f"SELECT name FROM sqlite_master WHERE {kinds}")]
                if name not in names:
                    raise _no_table(name, names)
                cursor = connection.execute(f"SELECT * FROM {quoted(name)}")
                columns = [column[0] for column in cursor.description]
                rows = cursor.fetchall()
        except sqlite3.Error as error:
            raise DataError(f"Cannot read {self.file} as an SQLite file: {error}. Copy the file again.") from error
        values = zip(*rows, strict=True) if rows else [() for _ in columns]
        return pa.table(dict(zip(columns, map(_array, values), strict=True)))


def _literal(path: Path) -> str:
    """Return the path escaped for DuckDB's readers, which expand ``[``, ``*``, ``?`` and ``~``."""
    return re.sub(r"[\[*?]", r"[\g<0>]", str(path.absolute()))


def _array(values: Sequence[Any]) -> pa.Array:
    if any(value is not None for value in values):
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.array(values)
    # An empty column, or one with several types, which SQLite allows.
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _location(data: EventsData) -> Path | None:
    """Return the folder or file, given by path or URL; None for a server."""
    if data.dir is not None:
        return Path(data.dir)
    path = file_of(str(data.url))
    return None if path is None else Path(path)


def _named(data: EventsData) -> str:
    return f"data.dir={data.dir}" if data.dir is not None else f"data.url={data.url}"


def _no_table(name: str, names: Sequence[str]) -> DataError:
    hint = closest(name.rpartition(".")[2], names)
    return DataError(
        f"Table {name!r} not found in the database, which has: {', '.join(sorted(names)) or 'no tables'}."
        + (f" Closest: {hint!r}." if hint else "")
        + f" {TABLE_KEYS}"
    )


def _view(name: str) -> str:
    """Return a unique view name for a table, of letters, digits and underscores only."""
    return "raw_" + "".join(char if char.isalnum() else f"_{ord(char)}_" for char in name)
