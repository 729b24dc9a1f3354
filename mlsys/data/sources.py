"""Opens raw tables through Ibis and gives them the names that the rest of mlsys uses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis

from mlsys.data.config import DATABASE_SUFFIXES, EventsData, OutcomeConfig
from mlsys.errors import DataError, Problem, closest

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends import BaseBackend

READERS = {
    ".csv": "read_csv",
    ".csv.gz": "read_csv",
    ".parquet": "read_parquet",
    ".jsonl": "read_json",
    ".jsonl.gz": "read_json",
    ".ndjson": "read_json",
}


@dataclass(frozen=True)
class RawTables:
    """The tables as they lie at the source, before any rule is applied.

    Attributes
    ----------
    connection : ibis backend
        Where their queries run.
    entities : dict of str to ibis table
        By table name; their rows together are all entities.
    outcome, events : ibis table
        As configured; ``outcome`` may also be one of ``entities``.
    files : tuple of Path
        The files that they were read from; empty for a database server.
    """

    connection: BaseBackend
    entities: dict[str, ir.Table]
    outcome: ir.Table
    events: ir.Table
    files: tuple[Path, ...] = ()

    def by_name(self, data: EventsData) -> dict[str, ir.Table]:
        """Return every distinct table by its configured name."""
        return {**self.entities, data.outcome.table: self.outcome, data.events.table: self.events}


def open_tables(data: EventsData, *, threads: int | None = None) -> RawTables:
    """Open the configured tables without reading their rows.

    Raises
    ------
    DataError
        Where a file or table is missing or cannot be opened.
    """
    opener = _Opener(data, threads)
    entities = {name: opener.table(name) for name in data.entities.tables}
    outcome = entities.get(data.outcome.table)
    return RawTables(
        connection=opener.connection,
        entities=entities,
        outcome=opener.table(data.outcome.table) if outcome is None else outcome,
        events=opener.table(data.events.table),
        files=tuple(dict.fromkeys(opener.files)),
    )


def column_problems(data: EventsData, raw: RawTables) -> list[Problem]:
    """Compare the columns that the config names with those that the tables have; reads no rows."""
    needed = [
        ("data.entities.id", data.entities.id, list(raw.entities.values())),
        *(
            ("data.entities.attributes", name, list(raw.entities.values()))
            for name in data.entities.attributes.values()
        ),
        ("data.outcome.id", data.outcome.id, [raw.outcome]),
        ("data.outcome.time", data.outcome.time, [raw.outcome]),
        ("data.events.id", data.events.id, [raw.events]),
        ("data.events.time", data.events.time, [raw.events]),
        *(
            (f"data.events.measures.{kind}.{name}", column, [raw.events])
            for kind, columns in data.events.measures.items()
            for name, column in columns.items()
        ),
    ]
    if data.outcome.value:
        needed.append(("data.outcome.value", data.outcome.value, [raw.outcome]))
    if data.entities.created:
        needed.append(("data.entities.created", data.entities.created, list(raw.entities.values())))
    problems = []
    for key, column, tables in needed:
        columns = sorted({name for table in tables for name in table.columns})
        if column not in columns:
            problems.append(
                Problem(key, column, "a column of the table: " + ", ".join(columns), closest(column, columns))
            )
    return problems


def fingerprint(raw: RawTables) -> str | None:
    """Hash the source files' contents; None where the tables live in a database server.

    Returns
    -------
    str or None
        Hexadecimal SHA-256.
    """
    if not raw.files:
        return None
    digest = hashlib.sha256()
    for path in raw.files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class _Opener:
    """Finds each table by name, in a folder, an embedded database file or a database server."""

    def __init__(self, data: EventsData, threads: int | None) -> None:
        self.files: list[Path] = []
        self._folder: Path | None = None
        self._database: BaseBackend | None = None
        if data.url:
            self.connection = self._database = _connect(data.url)
            return
        assert data.dir is not None  # the config has been checked: a URL or a folder
        location = Path(data.dir)
        if not location.exists():
            siblings = [path.name for path in location.parent.iterdir()] if location.parent.is_dir() else []
            hint = closest(location.name, siblings)
            raise DataError(
                f"data.dir={data.dir} does not exist (looked in {Path.cwd()})."
                + (f" Closest: {location.parent / hint}." if hint else "")
                + " Give the folder of the raw tables, or a DuckDB or SQLite file."
            )
        self.connection = ibis.duckdb.connect(**({"threads": threads} if threads else {}))
        if location.is_dir():
            self._folder = location
        else:
            self.files.append(location)
            self._database = _open_database(location)

    def table(self, name: str) -> ir.Table:
        if self._folder is not None:
            return self._from_folder(self._folder, name)
        assert self._database is not None
        table = self._from_database(self._database, name)
        if self._database is self.connection:
            return table
        return _register(self.connection, name, table.to_pyarrow())

    def _from_folder(self, folder: Path, name: str) -> ir.Table:
        names = {path.name for path in folder.iterdir() if path.is_file()}
        exact = [name] if name in names else []
        found = exact or [name + suffix for suffix in READERS if name + suffix in names]
        if len(found) != 1:
            what = f"has {', '.join(found)}: which one?" if found else "has no such table."
            hint = closest(name, [file.split(".")[0] for file in names])
            raise DataError(
                f"Table {name!r}: the folder {folder} {what}"
                + (f" Closest: {hint!r}." if hint and not found else "")
                + f" It may be a file ending in {', '.join(READERS)}; name it in the data config."
            )
        path = folder / found[0]
        self.files.append(path)
        reader = next((method for suffix, method in READERS.items() if path.name.endswith(suffix)), "read_csv")
        # Types are inferred from the whole file: a sample would decide them by the luck of the order of rows.
        options: dict[str, Any] = {"read_csv": {"sample_size": -1}, "read_json": {"sample_size": -1}}.get(reader, {})
        try:
            return getattr(self.connection, reader)(str(path), table_name=_view_name(name), **options)
        except Exception as error:  # noqa: BLE001 - DuckDB raises many kinds for unreadable files; all mean the same here
            raise DataError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}") from error

    def _from_database(self, database: BaseBackend, name: str) -> ir.Table:
        catalog_name, _, table_name = name.rpartition(".")
        tables = database.list_tables(database=catalog_name or None)
        if table_name not in tables:
            hint = closest(table_name, tables)
            raise DataError(
                f"Table {name!r} is not in the database; it has: {', '.join(sorted(tables)) or 'no tables'}."
                + (f" Closest: {hint!r}." if hint else "")
                + " Name the tables in the data config (data.entities.tables, data.outcome.table, data.events.table)."
            )
        return database.table(table_name, database=catalog_name or None)


def _connect(url: str) -> BaseBackend:
    try:
        return ibis.connect(url)
    except Exception as error:  # noqa: BLE001 - every backend has its own errors; the user needs one
        scheme = url.split("://", 1)[0]
        raise DataError(
            f"data.url: cannot connect to the {scheme!r} backend: {error}\n"
            "Expected an Ibis URL such as duckdb://file.duckdb, sqlite://file.db, "
            "postgres://user:password@host:5432/database or pyspark://; servers need their extra "
            "(pip install 'mlsys[postgres]' or 'mlsys[spark]')."
        ) from error


def _open_database(path: Path) -> BaseBackend:
    if path.suffix not in DATABASE_SUFFIXES:
        raise DataError(
            f"data.dir={path} is a file, but not a database: expected a folder, or a file ending in "
            + ", ".join(DATABASE_SUFFIXES)
            + ". A single flat table is read by data=table data.path=FILE data.target=COLUMN."
        )
    with path.open("rb") as file:
        is_sqlite = file.read(15) == b"SQLite format 3"
    # DuckDB reads SQLite only by an extension that it downloads; Ibis' own SQLite backend needs nothing.
    return ibis.sqlite.connect(path) if is_sqlite else ibis.duckdb.connect(path, read_only=True)


def _register(connection: BaseBackend, name: str, table: Any) -> ir.Table:  # noqa: ANN401 - pyarrow has no types
    # Not create_table(obj=memtable): with DuckDB 2, Ibis 12 then drops a view without a name and fails.
    connection.con.register(_view_name(name), table)
    return connection.table(_view_name(name))


def _view_name(name: str) -> str:
    return "raw_" + "".join(char if char.isalnum() else "_" for char in name)


def canonical_entities(data: EventsData, raw: RawTables) -> ir.Table:
    """Return one row per entity: id, created_day, outcome_day, value and the configured attributes.

    Days are whole days since 1970-01-01, rounded up, so that a moment counts from the next midnight on.
    Of rows with the same id the most complete one is kept.
    """
    attributes = data.entities.attributes
    parts = []
    for name, table in raw.entities.items():
        columns = {"id": table[data.entities.id]}
        for attribute, column in attributes.items():
            columns[attribute] = _text_or_number(table[column]) if column in table.columns else None
        created = data.entities.created
        columns["created_day"] = day_number(table[created]) if created and created in table.columns else None
        columns["source"] = ibis.literal(name)
        parts.append(columns)
    types = {
        column: next((part[column].type() for part in parts if part[column] is not None), "int64")
        for column in parts[0]
    }
    tables = [
        table.select(
            **{
                column: ibis.null(types[column]) if value is None else value.cast(types[column])
                for column, value in columns.items()
            }
        )
        for table, columns in zip(raw.entities.values(), parts, strict=True)
    ]
    everyone = ibis.union(*tables) if len(tables) > 1 else tables[0]
    entities = _most_complete(everyone.filter(everyone.id.notnull()), list(attributes))
    outcomes = _first_outcomes(data.outcome, raw.outcome, entities.id.type())
    return entities.left_join(outcomes, "id").drop("id_right").drop("source")


def canonical_events(data: EventsData, raw: RawTables) -> ir.Table:
    """Return the events: id, known_day (when they can be known) and one column per measure.

    Beside the configured measures stand each kind's total over its products and ``any``: 1 where anything happened.
    """
    table = raw.events
    measures = {
        f"{kind}_{name}": table[column].cast("float64" if table[column].type().is_floating() else "int64")
        for kind, columns in data.events.measures.items()
        for name, column in columns.items()
    }
    return table.select(
        id=table[data.events.id],
        known_day=day_number(table[data.events.time]) + data.events.available_after_days,
        **measures,
    ).filter(lambda rows: rows.id.notnull() & rows.known_day.notnull())


def day_number(moment: ir.Column) -> ir.IntegerColumn:
    """Return whole days since 1970-01-01, rounded up: the first midnight (UTC) at which the moment is past."""
    if moment.type().is_date():
        return moment.epoch_days().cast("int64")
    stamp = moment.cast("timestamp")
    day = stamp.date()
    return day.epoch_days().cast("int64") + (stamp > day.cast("timestamp")).cast("int64")


def _text_or_number(column: ir.Column) -> ir.Column:
    return column.strip().nullif("") if column.type().is_string() else column


def _most_complete(table: ir.Table, attributes: list[str]) -> ir.Table:
    filled = sum((table[name].notnull().cast("int64") for name in attributes), ibis.literal(0))
    order = [filled.desc(), table.source, *(table[name] for name in attributes)]
    ranked = table.mutate(copy=ibis.row_number().over(group_by=table.id, order_by=order))
    return ranked.filter(ranked.copy == 0).drop("copy")


def _first_outcomes(outcome: OutcomeConfig, table: ir.Table, id_type: Any) -> ir.Table:  # noqa: ANN401
    value = table[outcome.value].cast("float64") if outcome.value else ibis.null("float64")
    dated = table.select(
        id=table[outcome.id].cast(id_type),
        outcome_day=day_number(table[outcome.time]),
        value=(value > 0).ifelse(value, ibis.null("float64")),
    ).filter(lambda rows: rows.outcome_day.notnull())
    order = ibis.row_number().over(group_by=dated.id, order_by=[dated.outcome_day, dated.value.desc()])
    ranked = dated.mutate(copy=order)
    return ranked.filter(ranked.copy == 0).drop("copy")
