"""Loads a text file of a table (CSV or JSON lines) into DuckDB, without the guesses that DuckDB makes silently."""

from __future__ import annotations

import contextlib
import gzip
import logging
import tempfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Literal, cast

import duckdb
import pandas as pd

from mlsys.data.sql_names import quoted
from mlsys.data.table.delimited import decode, without_comments
from mlsys.data.table.values import MAX_EXACT, thousands

Reader = Literal["read_csv", "read_json"]

# DuckDB would guess the order of day and month for each file by itself; see mlsys.data.event_dates.
_OPTIONS: dict[Reader, str] = {
    "read_csv": "auto_type_candidates = ['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR']",
    "read_json": "dateformat = '%Y-%m-%d', timestampformat = '%Y-%m-%d %H:%M:%S'",
}
_ISO_TYPES = {
    "DATE": r"\d{4}-\d\d-\d\d|-?infinity",
    "TIMESTAMP": r"-?infinity|\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?",
    "TIMESTAMPTZ": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)",
}
_ID_TYPES = {"BIGINT": "0|-?[1-9][0-9]*", "DOUBLE": r"(0|-?[1-9][0-9]{0,14})(\.0)?"}
logger = logging.getLogger(__name__)


def load_text(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    location: str,
    reader: Reader,
    table: str,
    ids: Collection[str] = (),
) -> None:
    """Load a text file as a temporary table.

    Types are inferred from the whole file: with a sample, they would depend on the order of rows. Text that holds
    nothing but ISO 8601 dates or times gets their type; other dates stay text. Files that are not UTF-8 are decoded,
    and comment lines before the header are skipped. In a file with semicolons, 2.256 is 2,256 if all other numbers of
    the column are below 1,000 or written like that. Columns of digits that no number has exactly are text. So are ids,
    unless all of them are written as whole numbers are: 1E5, 007 and 7 are three ids.

    Parameters
    ----------
    connection : DuckDBPyConnection
    file : Path
        The file, for its suffix and for messages.
    location : str
        The file's path as DuckDB's readers expect it.
    reader : {"read_csv", "read_json"}
        DuckDB's function.
    table : str
        Name of the table to create.
    ids : collection of str
        Columns of ids; those that the file lacks are ignored.

    Raises
    ------
    DataError
        If the file is not UTF-8 and not text in another encoding.
    duckdb.Error
        If the file is not such a table.
    """
    doubtful: list[str] = []
    text = _uncommented(file) if reader == "read_csv" else None
    if text is None:
        try:
            doubtful = _load(connection, location, reader, table, ids, is_packed=file.suffix == ".gz")
        except duckdb.Error:
            text = _decoded(file)
            if text is None:
                raise
    if text is not None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "utf-8")
            copy.write_text(text, encoding="utf-8", newline="")
            doubtful = _load(connection, str(copy), reader, table, ids, is_packed=False)
    _convert_thousands(connection, file, table, doubtful)
    _convert_iso_dates(connection, table)


def _uncommented(file: Path) -> str | None:
    """Return the text of a file without the lines that start with # before its header; None if there are none."""
    with contextlib.suppress(OSError, EOFError, zlib.error), _opened(file) as stream:
        if stream.read(1) != b"#":
            return None
        text = decode(b"#" + stream.read(), file)
        found = without_comments(text, "", file)
        return None if found == text else found.lstrip("\n")
    return None


def _opened(file: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def _decoded(file: Path) -> str | None:
    """Return the text of a file that is not UTF-8; None if it is, or cannot be unpacked."""
    try:
        with _opened(file) as stream:
            data = stream.read()
    except (OSError, EOFError, zlib.error):
        return None
    with contextlib.suppress(UnicodeDecodeError):
        if "\0" not in data.decode():
            return None
    return decode(data, file)


def _load(
    connection: duckdb.DuckDBPyConnection,
    location: str,
    reader: Reader,
    table: str,
    ids: Collection[str],
    *,
    is_packed: bool,
) -> list[str]:
    """Create the table; return the columns of numbers that are still text, as they have two readings."""
    # DuckDB looks for the extension before the first "?".
    packing = f"hive_partitioning = false, compression = '{'gzip' if is_packed else 'auto'}'"
    source = f"{reader}(?, sample_size = -1, {packing}, {_OPTIONS[reader]}"
    create = f"CREATE OR REPLACE TEMP TABLE {quoted(table)} AS SELECT * FROM {source}"
    connection.execute(f"{create})", [location])
    doubtful = _doubtful_numbers(connection, table) if reader == "read_csv" else []
    if doubtful and connection.execute("SELECT Delimiter FROM sniff_csv(?)", [location]).fetchall() != [(";",)]:
        doubtful = []
    inexact = _inexact_numbers(connection, table)
    numbered = [name for name, kind in _columns(connection, table) if name in ids and kind != "VARCHAR"]
    numbered = numbered if reader == "read_csv" else []
    if doubtful or inexact or numbered:
        kinds = {**dict(_columns(connection, table)), **dict.fromkeys([*doubtful, *inexact, *numbered], "VARCHAR")}
        columns = ", ".join(f"{quoted(name)}: '{_escaped(kind)}'" for name, kind in kinds.items())
        connection.execute(f"{create}, {'types' if reader == 'read_csv' else 'columns'} = {{{columns}}})", [location])
    for name in numbered:
        _restore_ids(connection, table, name)
    for name in inexact:
        if name not in numbered:
            _restore_numbers(connection, table, name)
    return [name for name in doubtful if name not in numbered]


def _convert_iso_dates(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    texts = [quoted(name) for name, kind in _columns(connection, table) if kind == "VARCHAR"]
    tests = [
        f"count({column}) > 0 AND bool_and({column} IS NULL OR (regexp_full_match({column}, '{form}')"
        f" AND try_cast({column} AS {kind}) IS NOT NULL))"
        for column in texts
        for kind, form in _ISO_TYPES.items()
    ]
    if not tests:
        return
    answers = iter(connection.execute(f"SELECT {', '.join(tests)} FROM {quoted(table)}").fetchall()[0])
    for column in texts:
        kinds = [kind for kind in _ISO_TYPES if next(answers)]
        if kinds:
            connection.execute(f"ALTER TABLE {quoted(table)} ALTER COLUMN {column} TYPE {kinds[0]}")


def _doubtful_numbers(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Return the columns of numbers below 1,000 with at most three decimals, some of them with decimals."""
    names = [name for name, kind in _columns(connection, table) if kind == "DOUBLE"]
    tests = [
        f"bool_and(abs({column}) < 1000 AND round({column}, 3) = {column}) AND bool_or({column} <> floor({column}))"
        for column in map(quoted, names)
    ]
    if not tests:
        return []
    answers = connection.execute(f"SELECT {', '.join(tests)} FROM {quoted(table)}").fetchall()[0]
    return [name for name, answer in zip(names, answers, strict=True) if answer]


def _inexact_numbers(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Return the columns of numbers that may be ids of more digits than a number has."""
    names = [name for name, kind in _columns(connection, table) if kind == "DOUBLE"]
    if not names:
        return []
    tests = [f"bool_or(abs({column}) >= {MAX_EXACT})" for column in map(quoted, names)]
    answers = connection.execute(f"SELECT {', '.join(tests)} FROM {quoted(table)}").fetchall()[0]
    return [name for name, answer in zip(names, answers, strict=True) if answer]


def _restore_numbers(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> None:
    """Convert text back to numbers if it is more than digits."""
    column = quoted(name)
    digits = f"SELECT bool_and(regexp_full_match({column}, '[0-9]+')) FROM {quoted(table)}"
    if not connection.execute(digits).fetchall()[0][0]:
        connection.execute(f"ALTER TABLE {quoted(table)} ALTER COLUMN {column} TYPE DOUBLE")


def _restore_ids(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> None:
    """Convert text back to numbers if all ids are written as whole numbers are, or all end in .0 as pandas writes them.

    The decimals of the latter do not distinguish ids, and the same ids are whole numbers in other tables.
    """
    column = quoted(name)
    for kind, form in _ID_TYPES.items():
        test = f"regexp_full_match(trim({column}), '{form}') AND try_cast({column} AS {kind}) IS NOT NULL"
        query = f"SELECT bool_and({test}) FROM {quoted(table)} WHERE trim({column}) <> ''"
        if connection.execute(query).fetchall()[0][0]:
            number = f"CAST(nullif(trim({column}), '') AS {kind})"
            connection.execute(f"ALTER TABLE {quoted(table)} ALTER COLUMN {column} TYPE {kind} USING {number}")
            return


def _convert_thousands(connection: duckdb.DuckDBPyConnection, file: Path, table: str, names: list[str]) -> None:
    """Convert text of numbers; a point with three digits after it separates thousands if nothing shows otherwise."""
    rows = connection.table(table)
    groups = {name: thousands(_distinct(rows, name)) for name in names}
    others = [kind for name, kind in _columns(connection, table) if name not in names]
    has_decimals = "DOUBLE" in others or None in groups.values()
    for name, group in groups.items():
        is_grouped = group is not None and (group.has_small_numbers or not has_decimals)
        text = f"replace({quoted(name)}, '.', '')" if is_grouped else quoted(name)
        number = f"CAST({text} AS DOUBLE)"
        connection.execute(f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(name)} TYPE DOUBLE USING {number}")
        if group is not None:
            logger.warning(
                "%s, %s: %s is read as %s; if that is wrong, separate the columns with commas instead of semicolons",
                file.name,
                name,
                group.example,
                group.example.replace(".", "") if is_grouped else group.example,
            )


def _distinct(rows: duckdb.DuckDBPyRelation, name: str) -> pd.Series[str]:
    texts = rows.select(quoted(name)).distinct().order(quoted(name)).fetchall()
    return pd.Series([text for (text,) in texts if text is not None], dtype="str")


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE {quoted(table)}").fetchall()]


def _escaped(text: str) -> str:
    return text.replace("'", "''")
