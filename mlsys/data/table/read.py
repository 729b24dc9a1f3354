"""Reads one flat table from a file in any common format."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import NoneType
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlsys.data.sql_names import quoted
from mlsys.data.table.delimited import decode, read_delimited, unique_names
from mlsys.data.table.values import MAX_EXACT, text_series
from mlsys.errors import DataError, closest
from mlsys.text import counted

_JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}


def read_table(path: Path | str) -> pd.DataFrame:
    r"""Read a flat table; the format is detected from the content rather than the file name.

    Reads delimited text (comma, semicolon, tab or pipe; UTF-8, UTF-16, Windows code pages, Mac Roman or Shift-JIS;
    optionally compressed with gzip, bzip2 or xz), JSON (a list of records, or one record per line), Parquet, and tables
    of DuckDB and SQLite files.

    Parameters
    ----------
    path : Path or str
        The file; ``file.duckdb::table`` selects a table in a database with several.

    Returns
    -------
    DataFrame, shape (n_rows, n_columns)
        Delimited text gives str columns, so that leading zeros and decimal commas are preserved (`infer_types` parses
        numbers and dates); other formats keep their types. Empty fields are missing. Whitespace around column names is
        removed.

    Raises
    ------
    DataError
        If the file does not exist, is empty, is not a table, has no rows, repeats a column name, or has rows with
        different numbers of fields.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "leads.csv")
    ...     _ = path.write_text("id;size\n007;1,5\n", encoding="utf-8-sig")
    ...     read_table(path).to_dict("records")
    [{'id': '007', 'size': '1,5'}]
    """
    name, _, table = str(path).partition("::")
    file = Path(name)
    _require_file(file)
    with file.open("rb") as stream:
        magic = stream.read(16)
    frame = _reader(file, magic, table)()
    names = unique_names([str(column) for column in frame.columns], file)
    if frame.empty:
        raise DataError(f"{path} has a header ({', '.join(names)}) but no rows. If it is truncated, export it again.")
    return frame.set_axis(names, axis="columns")


def _require_file(file: Path) -> None:
    if file.is_file():
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes). Export it again.")
        return
    if file.is_dir():
        inside = ", ".join(sorted(child.name for child in file.iterdir())[:10]) or "it is empty"
        raise DataError(f"{file} is a folder. Choose a file in it: {inside}.")
    if not file.parent.is_dir():
        raise DataError(
            f"Not found: {file} (no folder {file.parent}). Check data.path, which is relative to the working directory."
        )
    siblings = sorted(child.name for child in file.parent.iterdir() if child.is_file())
    near = closest(file.name, siblings)
    hint = f"closest: {near}" if near else f"the folder has: {', '.join(siblings[:10]) or 'no files'}"
    raise DataError(f"Not found: {file} ({hint}). Check data.path.")


def _reader(file: Path, magic: bytes, table: str) -> Callable[[], pd.DataFrame]:
    if magic.startswith(b"SQLite format 3"):
        return lambda: _read_sqlite(file, table)
    if magic[8:12] == b"DUCK":
        return lambda: _read_duckdb(file, table)
    if table:
        raise DataError(f"{file} is not a DuckDB or SQLite file, so it has no table {table!r}. Remove ::{table}.")
    if magic.startswith(b"PAR1"):
        return lambda: _read_parquet(file)
    if magic.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{file} is a spreadsheet or an archive. Save the sheet as CSV, or extract the archive.")
    data = _decompressed(file)
    _require_no_markup(data, file)
    if _JSON_SUFFIXES.isdisjoint(file.suffixes[-2:]):
        return lambda: read_delimited(data, file)
    return lambda: _read_json(data, file)


def _require_no_markup(data: bytes, file: Path) -> None:
    """Refuse pages and JSON that are named like delimited text."""
    start = data[:1_000].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if start.startswith((b"<?xml", b"<!doctype", b"<html", b"<table")):
        kind = "XML" if start.startswith(b"<?xml") else "a web page (HTML)"
        raise DataError(f"{file} is {kind}, not a table. Save the table as CSV, or open the page and export it.")
    if start.startswith((b'{"', b'[{"')) and _JSON_SUFFIXES.isdisjoint(file.suffixes[-2:]):
        name = file.name.partition(".")[0]
        raise DataError(f"{file} is JSON, but is not named so. Rename it to {name}.json, or {name}.jsonl for lines.")


def _decompressed(file: Path) -> bytes:
    data = file.read_bytes()
    openers = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
    for magic, unpack in openers.items():
        if data.startswith(magic):
            try:
                return unpack(data)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise DataError(f"Cannot decompress {file}: {error}. If it is truncated, copy it again.") from error
    return data


def _read_parquet(file: Path) -> pd.DataFrame:
    try:
        table = pq.ParquetFile(file).read()
        frame: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"Cannot read {file} as Parquet: {error}. If it is truncated, copy it again.") from error
    frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    return _exact(frame, lambda name: table[name].to_pylist() if name in table.column_names else [])


def _exact(frame: pd.DataFrame, values: Callable[[Any], list[Any]]) -> pd.DataFrame:
    """Restore whole numbers that pandas has rounded, as their column has missing values or exceeds 64 bits.

    Parameters
    ----------
    frame : DataFrame
        As pandas made it.
    values : callable
        Returns the cells of the column of a name.
    """
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind == "f" and column.abs().max() >= MAX_EXACT:
            cells = values(name)
            if cells and all(type(cell) in (int, NoneType) for cell in cells):
                frame[name] = pd.Series(_whole_numbers(cells), index=frame.index)
    return frame


def _whole_numbers(values: list[int | None]) -> pd.api.extensions.ExtensionArray | list[str | None]:
    try:
        return pd.array(values, dtype="Int64")
    except (OverflowError, TypeError):  # beyond 64 bits
        return [_text(value) for value in values]


def _read_json(data: bytes, file: Path) -> pd.DataFrame:
    records = _json_records(decode(data, file), file)
    invalid = [record for record in records if not isinstance(record, dict)]
    if invalid or not records:
        reason = f"{invalid[0]!r:.60} is not a record" if invalid else "no records"
        raise DataError(f"{file}: {reason}. Expected one JSON object per line, or a list of objects.")
    flat = [_flat(record, file, number) for number, record in enumerate(records, start=1)]
    try:
        return _exact(pd.DataFrame(flat), lambda name: [record.get(name) for record in flat])
    except UnicodeEncodeError:  # a lone surrogate, which JSON can represent but UTF-8 cannot
        names = dict.fromkeys(name for record in flat for name in record)
        return pd.DataFrame({name: text_series([_text(record.get(name)) for record in flat]) for name in names})


def _json_records(text: str, file: Path) -> list[Any]:
    try:
        whole = json.loads(text)
    except ValueError:
        return _json_lines(text, file)
    if not isinstance(whole, dict):
        return list(whole) if isinstance(whole, list) else [whole]
    columns = list(whole.values())
    if len(columns) == 1 and isinstance(columns[0], list):  # {"data": [...]}
        return columns[0]
    if all(isinstance(column, dict) for column in columns):  # {"column": {"row": value}}, the default of pandas
        rows = dict.fromkeys(row for column in columns for row in column)
        return [{name: column.get(row) for name, column in whole.items()} for row in rows]
    return [whole]


def _json_lines(text: str, file: Path) -> list[Any]:
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                reason = f"invalid JSON ({error}): {line[:60]!r}"
                raise DataError(f"{file}, line {number}: {reason}. Expected one object per line.") from error
    return records


def _flat(record: dict[str, Any], file: Path, number: int) -> dict[str, Any]:
    """Flatten nested objects to fields such as outer.inner; lists are kept as JSON text."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            fields = {f"{name}.{inner}": deep for inner, deep in _flat(value, file, number).items()}
        else:
            fields = {name: json.dumps(value) if isinstance(value, list) else value}
        if both := flat.keys() & fields.keys():
            outer, _, inner = min(both).rpartition(".")
            raise DataError(
                f"{file}, record {number}: {min(both)!r} is given twice, as a field and as {inner!r} in {outer!r}."
                " Rename one of them."
            )
        flat |= fields
    return flat


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _read_duckdb(file: Path, table: str) -> pd.DataFrame:
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            rows = connection.sql(
                "SELECT table_schema, table_name FROM information_schema.tables ORDER BY ALL"
            ).fetchall()
            names = {name if schema == "main" else f"{schema}.{name}": (schema, name) for schema, name in rows}
            source = ".".join(map(quoted, names[_choose(file, table, list(names))]))
            relation = connection.sql(f"SELECT * FROM {source}")
            return _exact(relation.df(), lambda name: [row[0] for row in relation.select(quoted(name)).fetchall()])
    except duckdb.Error as error:
        raise DataError(
            f"Cannot read {file} as a DuckDB file: {error}. Close other programs that write to it."
        ) from error


def _read_sqlite(file: Path, table: str) -> pd.DataFrame:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            kinds = "type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
            names = [
                name for (name,) in connection.execute(f"SELECT name FROM sqlite_master WHERE {kinds} ORDER BY name")
            ]
            cursor = connection.execute(f"SELECT * FROM {quoted(_choose(file, table, names))}")
            rows, names = cursor.fetchall(), [column[0] for column in cursor.description]
            frame = pd.DataFrame(rows, columns=names)
            return _exact(frame, lambda name: [row[names.index(name)] for row in rows])
    except sqlite3.Error as error:
        raise DataError(f"Cannot read {file} as an SQLite file: {error}. Copy it again.") from error


def _choose(file: Path, table: str, names: list[str]) -> str:
    if table in names:
        return table
    if not table and len(names) == 1:
        return names[0]
    near = closest(table, names)
    reason = (
        f"has no table {table!r}" + (f" (closest: {near})" if near else "")
        if table
        else f"has {counted(len(names), 'table')}"
    )
    example = f" Choose one, such as {file}::{near or names[0]}." if names else ""
    raise DataError(f"{file} {reason}. Tables: {', '.join(names) or 'none'}.{example}")
