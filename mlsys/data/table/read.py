"""Reads one flat table from a file of any common format."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from mlsys.data.table.delimited import decode, read_delimited, unique_names
from mlsys.data.table.values import text_series
from mlsys.errors import DataError, closest

_JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}


def read_table(path: Path | str) -> pd.DataFrame:
    r"""Read a flat table; what it is is told from its content more than from its name.

    Delimited text (comma, semicolon, tab or bar; UTF-8, UTF-16 or Windows Latin-1; plain or compressed with gzip, bzip2
    or xz), JSON (a list of records, or one record a line), Parquet, or a table of a DuckDB or SQLite file.

    Parameters
    ----------
    path : Path or str
        The file; ``file.duckdb::table`` names a table in a database with several.

    Returns
    -------
    DataFrame, shape (n_rows, n_columns)
        Delimited text comes as str columns, so that no leading zero or decimal comma is lost (`infer_types` reads
        numbers and dates); other formats keep their types. Empty fields are missing. Column names have no blanks around
        them.

    Raises
    ------
    DataError
        If the file is absent, empty, has no rows, repeats a column name, is not a table, or a row has another number of
        fields.

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
    _demand_file(file)
    with file.open("rb") as stream:
        magic = stream.read(16)
    frame = _reader(file, magic, table)()
    names = unique_names([str(column) for column in frame.columns], file)
    if frame.empty:
        raise DataError(f"{path} has a header ({', '.join(names)}) but no rows. Was it cut off? Export it again.")
    return frame.set_axis(names, axis="columns")


def _demand_file(file: Path) -> None:
    if file.is_file():
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes). Export it again.")
        return
    if file.is_dir():
        inside = ", ".join(sorted(child.name for child in file.iterdir())[:10]) or "nothing"
        raise DataError(f"{file} is a folder. Name one file in it; it holds: {inside}.")
    if not file.parent.is_dir():
        raise DataError(
            f"{file}: there is no folder {file.parent}. Check data.path (relative to where you run the command)."
        )
    siblings = sorted(child.name for child in file.parent.iterdir() if child.is_file())
    near = closest(file.name, siblings)
    shown = f" (closest: {near})" if near else f"; it holds: {', '.join(siblings[:10]) or 'no files'}"
    raise DataError(f"{file}: there is no such file in that folder{shown}. Check data.path.")


def _reader(file: Path, magic: bytes, table: str) -> Callable[[], pd.DataFrame]:
    if magic.startswith(b"SQLite format 3"):
        return lambda: _read_sqlite(file, table)
    if magic[8:12] == b"DUCK":
        return lambda: _read_duckdb(file, table)
    if table:
        raise DataError(f"{file} is not a DuckDB or SQLite file, so it has no table {table!r}. Leave ::{table} out.")
    if magic.startswith(b"PAR1"):
        return lambda: _read_parquet(file)
    if magic.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{file} is a spreadsheet or an archive. Save the sheet as CSV, or unpack it first.")
    data = _unpacked(file)
    if _JSON_SUFFIXES.isdisjoint(file.suffixes[-2:]):
        return lambda: read_delimited(data, file)
    return lambda: _read_json(data, file)


def _unpacked(file: Path) -> bytes:
    data = file.read_bytes()
    openers = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
    for magic, unpack in openers.items():
        if data.startswith(magic):
            try:
                return unpack(data)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise DataError(f"{file} cannot be unpacked ({error}). Was it cut off? Copy it again.") from error
    return data


def _read_parquet(file: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{file} starts like Parquet but cannot be read ({error}). Was it cut off? Copy it again."
        ) from error
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _read_json(data: bytes, file: Path) -> pd.DataFrame:
    records = _json_records(decode(data, file), file)
    odd = [record for record in records if not isinstance(record, dict)]
    if odd or not records:
        held = f"{odd[0]!r:.60} where a record was expected" if odd else "no records"
        raise DataError(f"{file} holds {held}: give one JSON object a line, or a list of objects.")
    flat = [_flat(record) for record in records]
    try:
        return pd.DataFrame(flat)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write and UTF-8 cannot
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
    if all(isinstance(column, dict) for column in columns):  # {"column": {"row": value}}, as pandas writes it
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
                wrong = f"not valid JSON ({error}): {line[:60]!r}"
                raise DataError(f"{file}, line {number}: {wrong}. Give one object a line.") from error
    return records


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Lift the fields of nested objects to the top, as outer.inner; lists stay, as text."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": deep for inner, deep in _flat(value).items()})
        else:
            flat[name] = json.dumps(value) if isinstance(value, list) else value
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
            source = ".".join(map(_quoted, names[_choose(file, table, list(names))]))
            frame: pd.DataFrame = connection.sql(f"SELECT * FROM {source}").df()
            return frame
    except duckdb.Error as error:
        raise DataError(
            f"{file} cannot be read as a DuckDB file: {error}. Close other programs that write to it."
        ) from error


def _read_sqlite(file: Path, table: str) -> pd.DataFrame:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            kinds = "type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
            names = [
                name for (name,) in connection.execute(f"SELECT name FROM sqlite_master WHERE {kinds} ORDER BY name")
            ]
            cursor = connection.execute(f"SELECT * FROM {_quoted(_choose(file, table, names))}")
            return pd.DataFrame(cursor.fetchall(), columns=[column[0] for column in cursor.description])
    except sqlite3.Error as error:
        raise DataError(f"{file} cannot be read as an SQLite file: {error}. Copy it again.") from error


def _choose(file: Path, table: str, names: list[str]) -> str:
    if table in names:
        return table
    if not table and len(names) == 1:
        return names[0]
    near = closest(table, names)
    what = f"has no table {table!r}" + (f" (closest: {near})" if near else "") if table else f"has {len(names)} tables"
    example = f" Name one: {file}::{near or names[0]}" if names else ""
    raise DataError(f"{file} {what}: {', '.join(names) or 'none'}.{example}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
