"""Opens raw tables through Ibis and converts them to canonical tables of entities and events."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis

from mlsys.data.backends import open_backend
from mlsys.data.cache import hash_files
from mlsys.data.config import EventsData, OutcomeConfig
from mlsys.data.parse_columns import column_uses
from mlsys.errors import Problem, closest

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends import BaseBackend


@dataclass(frozen=True)
class RawTables:
    """The tables as they are at the source, before any rule is applied.

    Attributes
    ----------
    connection : ibis backend
        The connection that runs queries on the tables.
    entities : dict of str to ibis table
        Entity tables by name; together, their rows are all entities.
    outcome, events : ibis table
        The outcome and event tables; ``outcome`` may also be one of ``entities``.
    files : tuple of Path
        The files that the tables were read from; empty for a database server.
    date_formats : dict of str to tuple of str
        The formats of times that are not written in ISO 8601, by their keys in the config, such as ``events.time``.
    """

    connection: BaseBackend
    entities: dict[str, ir.Table]
    outcome: ir.Table
    events: ir.Table
    files: tuple[Path, ...] = ()
    date_formats: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def by_name(self, data: EventsData) -> dict[str, ir.Table]:
        """Return each distinct table by its configured name."""
        return {**self.entities, data.outcome.table: self.outcome, data.events.table: self.events}


def open_tables(data: EventsData, *, threads: int | None = None) -> RawTables:
    """Open the configured tables; text files and SQLite files are read immediately, others when queried.

    Raises
    ------
    DataError
        If a file or table does not exist or cannot be opened.
    """
    backend = open_backend(data, threads=threads)
    ids: dict[str, set[str]] = {}
    for use in column_uses(data):
        if use.key == "id":
            ids.setdefault(use.table, set()).add(use.column)
    entities = {name: backend.table(name, ids[name]) for name in data.entities.tables}
    outcome = entities.get(data.outcome.table)
    return RawTables(
        connection=backend.connection,
        entities=entities,
        outcome=backend.table(data.outcome.table, ids[data.outcome.table]) if outcome is None else outcome,
        events=backend.table(data.events.table, ids[data.events.table]),
        files=tuple(dict.fromkeys(backend.files)),
    )


def column_problems(data: EventsData, raw: RawTables) -> list[Problem]:
    """Return one problem per configured column that its table lacks, without reading rows.

    An attribute or the creation time may be missing from some entity tables; every other column must be in its table.
    """
    tables = raw.by_name(data)
    problems: dict[tuple[str, ...], Problem] = {}
    for use in column_uses(data):
        optional = use.role == "entities" and use.key != "id"
        searched = list(raw.entities) if optional else [use.table]
        columns = sorted({column for name in searched for column in tables[name].columns})
        if use.column not in columns:
            allowed = f"a column of {', '.join(searched)}: {', '.join(columns)}"
            problem = Problem(f"data.{use.meaning}", use.column, allowed, closest(use.column, columns))
            problems.setdefault((use.meaning, *searched), problem)
    return list(problems.values())


def fingerprint(raw: RawTables) -> str | None:
    """Hash the source files; None if the tables are in a database server.

    Returns
    -------
    str or None
        SHA-256, hexadecimal.
    """
    return hash_files(raw.files) if raw.files else None


def canonical_entities(data: EventsData, raw: RawTables) -> ir.Table:
    """Return one row per entity: id, created_day, outcome_day, value and the configured attributes.

    Days are whole days since 1970-01-01, rounded up, so that a time counts from the next midnight on.
    Of rows with the same id, the most complete one is kept.
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
    rows = ibis.union(*tables) if len(tables) > 1 else tables[0]
    entities = _most_complete(rows.filter(rows.id.notnull()), [*attributes, "created_day"])
    outcomes = _first_outcomes(data.outcome, raw.outcome, entities.id.type())
    return entities.left_join(outcomes, "id").drop("id_right").drop("source")


def canonical_events(data: EventsData, raw: RawTables) -> ir.Table:
    """Return the events: id, known_day (the day they become known) and one column ``kind_product`` per measure."""
    table = raw.events
    measures = {
        f"{kind}_{name}": table[column].cast("int64" if table[column].type().is_integer() else "float64")
        for kind, columns in data.events.measures.items()
        for name, column in columns.items()
    }
    return table.select(
        id=table[data.events.id],
        known_day=day_number(table[data.events.time]) + data.events.available_after_days,
        **measures,
    ).filter(lambda rows: rows.id.notnull() & rows.known_day.notnull())


def raw_types(data: EventsData, entities: ir.Table, events: ir.Table) -> dict[str, dict[str, str]]:
    """Return the Ibis type as which each raw column enters the features, by the raw column's name.

    Another raw table gives the same features only if its columns are read as the same types.

    Parameters
    ----------
    data : EventsData
    entities, events : ibis table
        Tables in canonical form.
    """
    times = {data.events.time: "timestamp"}
    created = {data.entities.created: "timestamp"} if data.entities.created else {}
    attributes = {column: str(entities[name].type()) for name, column in data.entities.attributes.items()}
    measures = {
        column: str(events[f"{kind}_{name}"].type())
        for kind, columns in data.events.measures.items()
        for name, column in columns.items()
    }
    return {
        "entities": {data.entities.id: str(entities.id.type()), **created, **attributes},
        "events": {data.events.id: str(events.id.type()), **times, **measures},
    }


def day_number(time: ir.Column) -> ir.IntegerColumn:
    """Return whole days since 1970-01-01, rounded up: the first midnight (UTC) at or after the time."""
    if time.type().is_date():
        return floor_day(time)
    stamp = time.cast("timestamp")
    # Not a cast of the comparison to a number, which PostgreSQL rejects.
    return floor_day(time) + (stamp > stamp.date().cast("timestamp")).ifelse(1, 0)


def floor_day(time: ir.Column) -> ir.IntegerColumn:
    """Return whole days since 1970-01-01, rounded down: the last midnight (UTC) at or before the time."""
    day = time if time.type().is_date() else time.cast("timestamp").date()
    return day.epoch_days().cast("int64")


def _text_or_number(column: ir.Column) -> ir.Column:
    return column.strip().nullif("") if column.type().is_string() else column


def _most_complete(table: ir.Table, attributes: list[str]) -> ir.Table:
    filled = sum((table[name].notnull().ifelse(1, 0) for name in attributes), ibis.literal(0))
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
