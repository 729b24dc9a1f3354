"""The rules that raw tables must keep, each as a predicate over rows: what breaks it, and what then happens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import ibis

from mlsys.data.config import Action, EventsData
from mlsys.data.parse_columns import (
    ColumnUse,
    IdType,
    ParsedColumn,
    column_uses,
    common_id_type,
    read_id,
    read_moment,
    read_number,
)
from mlsys.data.sources import RawTables

if TYPE_CHECKING:
    import ibis.expr.types as ir

Role = Literal["entities", "outcome", "events"]

EARLIEST = date(1990, 1, 1)  # older dates stand for "unknown": 1900-01-01, 1970-01-01 and the like
NEVER_CONVERTED = "left out; such an account counts as never converted"


@dataclass(frozen=True)
class Violation:
    """One way to break a rule.

    Attributes
    ----------
    columns : tuple of str
        Shown in examples.
    breaks : callable
        Takes the table, gives a boolean column; null counts as kept.
    """

    columns: tuple[str, ...]
    breaks: Callable[[ir.Table], ir.BooleanColumn]


@dataclass(frozen=True)
class Rule:
    """A rule of :class:`~mlsys.data.config.RulesConfig` for one table.

    Attributes
    ----------
    name : str
        As in the config.
    role : {"entities", "outcome", "events"}
        The part that the table plays here: a row is left out of this part only.
    action : {"error", "drop", "warn"}
        As configured.
    rows : str
        Completes "3 rows …".
    allowed : str
        What would have been right.
    parts : tuple of Part
        A row breaks the rule where it breaks any of them.
    dropped, kept : str
        What happens to the rows on drop, on warn.
    """

    name: str
    role: Role
    action: Action
    rows: str
    allowed: str
    parts: tuple[Violation, ...]
    dropped: str = "left out"
    kept: str = "kept"

    def breaks(self, table: ir.Table) -> ir.BooleanColumn:
        """Return where rows break the rule; never null."""
        return ibis.or_(*(part.breaks(table).fill_null(False) for part in self.parts))

    @property
    def consequence(self) -> str:
        """What happens to the rows."""
        return self.dropped if self.action == "drop" else self.kept

    @property
    def removes(self) -> bool:
        """Whether rows are to be filtered out; of duplicates :mod:`mlsys.data.sources` keeps the best itself."""
        return self.action == "drop" and self.name != "duplicate_ids"


@dataclass(frozen=True)
class RuleBook:
    """Makes the rules of each table from the config.

    Attributes
    ----------
    data : EventsData
        The data config.
    id_type : {"int64", "string"}
        As what ids are compared.
    entity_ids : ibis table or None
        All known ids, in column ``id``; None where an entity table has no such column.
    latest : date
        The last possible day.
    """

    data: EventsData
    id_type: IdType
    entity_ids: ir.Table | None
    latest: date

    def uses(self, table: str, columns: Collection[str]) -> list[ColumnUse]:
        """Return the named columns that a table has; ids of entities that are outcomes too count once."""
        data = self.data
        uses = [use for use in column_uses(data) if use.table == table and use.column in columns]
        twice = table in data.entities.tables and data.outcome.id == data.entities.id
        return [use for use in uses if not (twice and use.meaning == "outcome.id")]

    def read(self, use: ColumnUse, table: ir.Table) -> ParsedColumn | None:
        """Read a column as what the config says it is; None for attributes, which may be anything."""
        column = table[use.column]
        if use.key == "id":
            return read_id(column, self.id_type)
        if use.key in ("time", "created"):
            return read_moment(column)
        return None if use.key.startswith("attributes.") else read_number(column)

    def typed(self, table: ir.Table, uses: Iterable[ColumnUse]) -> dict[str, ir.Column]:
        """Return the columns as read, by their names."""
        readings = {use.column: self.read(use, table) for use in uses}
        return {column: reading.value for column, reading in readings.items() if reading is not None}

    def rules(self, table: str, columns: Collection[str]) -> tuple[Rule, ...]:
        """Return the rules over single rows of a table that have something to check there."""
        uses = self.uses(table, columns)
        roles: list[Role] = ["entities", "outcome", "events"]
        made = []
        for role in roles:
            own = {use.key: use for use in uses if use.role == role}
            made += [self._wrong_types(role, own), self._missing_ids(role, own), self._impossible_dates(role, own)]
            if role == "outcome":
                made += [self._non_positive_value(own), self._orphans(role, own)]
            if role == "events":
                made += [self._negative_counts(own), self._users_over_actions(own), self._orphans(role, own)]
        return tuple(rule for rule in made if rule.parts)

    def repeated_ids(self) -> Rule:
        """Return the rule that an id stands once in all entity tables together (columns: the id)."""
        then = "left out; the most complete row of each id is kept"
        rows, parts = "repeating an id", (_repeats(self.data.entities.id),)
        action = self.data.rules.duplicate_ids
        return Rule("duplicate_ids", "entities", action, rows, "every id once", parts, dropped=then, kept=then)

    def repeated_events(self) -> Rule:
        """Return the rule that an entity has one event row at a time (columns: id and time); only ever a warning."""
        events = self.data.events
        parts = (_repeats(events.id, events.time),)
        rows, allowed = "repeating an id and time", "one row for an id and time"
        return Rule("duplicate_ids", "events", "warn", rows, allowed, parts, kept="kept and summed")

    def _part(self, use: ColumnUse, breaks: Callable[[ParsedColumn], ir.BooleanColumn]) -> Violation:
        def predicate(table: ir.Table) -> ir.BooleanColumn:
            reading = self.read(use, table)
            assert reading is not None
            return breaks(reading)

        return Violation((use.column,), predicate)

    def _wrong_types(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        readable = [use for key, use in uses.items() if not key.startswith("attributes.")]
        return Rule(
            "wrong_types",
            role,
            self.data.rules.wrong_types,
            "with a value of the wrong type",
            "ids: whole numbers or text; times: dates, or text such as 2020-02-24; measures and values: numbers",
            tuple(self._part(use, lambda reading: reading.unreadable) for use in readable),
            dropped=NEVER_CONVERTED if role == "outcome" else "left out",
            kept="kept; such a value counts as missing",
        )

    def _missing_ids(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        parts = (self._part(uses["id"], lambda reading: reading.missing),) if "id" in uses else ()
        action = self.data.rules.missing_ids
        kept = "kept, but of no use: they belong to no entity"
        return Rule("missing_ids", role, action, "without an id", "an id in every row", parts, kept=kept)

    def _impossible_dates(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        def impossible(reading: ParsedColumn) -> ir.BooleanColumn:
            absent = [reading.missing] if role == "events" else []
            return ibis.or_(*absent, *_outside(reading.value, EARLIEST, self.latest))

        by = f"{self.latest}" + (" (data.end)" if self.data.end else " (today)")
        span = f"before {EARLIEST} or after {by}"
        return Rule(
            "impossible_dates",
            role,
            self.data.rules.impossible_dates,
            f"without a time or with one {span}" if role == "events" else f"with a time {span}",
            f"times from {EARLIEST} to {by}" + (", in every row" if role == "events" else ""),
            tuple(self._part(uses[key], impossible) for key in ("created", "time") if key in uses),
            dropped=NEVER_CONVERTED if role == "outcome" else "left out",
        )

    def _non_positive_value(self, uses: dict[str, ColumnUse]) -> Rule:
        parts = (self._part(uses["value"], lambda reading: reading.value <= 0),) if "value" in uses else ()
        return Rule(
            "non_positive_value",
            "outcome",
            self.data.rules.non_positive_value,
            "with a value of 0 or less",
            "a value above 0, or none",
            parts,
            dropped=NEVER_CONVERTED,
            kept="kept; revenue counts as missing",
        )

    def _orphans(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        known = self.entity_ids
        parts: tuple[Violation, ...] = ()
        if "id" in uses and known is not None:
            ids = known.id
            parts = (self._part(uses["id"], lambda reading: reading.value.notnull() & ~reading.value.isin(ids)),)
        where = "an id of " + ", ".join(self.data.entities.tables)
        action = self.data.rules.orphan_events
        return Rule(
            "orphan_events", role, action, "whose id is in no entity table", where, parts, kept="kept, but of no use"
        )

    def _negative_counts(self, uses: dict[str, ColumnUse]) -> Rule:
        measures = [use for key, use in uses.items() if key.startswith("measures.")]
        parts = tuple(self._part(use, lambda reading: reading.value < 0) for use in measures)
        action = self.data.rules.negative_counts
        return Rule("negative_counts", "events", action, "with a negative count", "counts of 0 or more", parts)

    def _users_over_actions(self, uses: dict[str, ColumnUse]) -> Rule:
        parts = []
        for product in self.data.events.measures.get("users", {}):
            users, actions = uses.get(f"measures.users.{product}"), uses.get(f"measures.actions.{product}")
            if users and actions:
                parts.append(Violation((users.column, actions.column), _larger(users.column, actions.column)))
        action = self.data.rules.users_over_actions
        allowed = "at least one action by each user"
        return Rule("users_over_actions", "events", action, "with more users than actions", allowed, tuple(parts))


def make_rule_book(data: EventsData, raw: RawTables, today: date | None = None) -> RuleBook:
    """Return the maker of the rules; reads rows only where ids differ in type between tables."""
    named = [(table, data.entities.id) for table in raw.entities.values()]
    everywhere = [*named, (raw.outcome, data.outcome.id), (raw.events, data.events.id)]
    id_type = common_id_type([table[column] for table, column in everywhere if column in table.columns])
    known = None
    if all(column in table.columns for table, column in named):
        tables = [table.select(id=read_id(table[column], id_type).value) for table, column in named]
        everyone = ibis.union(*tables) if len(tables) > 1 else tables[0]
        known = everyone.filter(everyone.id.notnull())
    return RuleBook(data, id_type, known, last_possible_day(data, today))


def typed_tables(data: EventsData, raw: RawTables) -> RawTables:
    """Return the raw tables with every column read as what the config says it is, and no rule applied.

    What cannot be read is missing. It needs no pandera, which is slow to import.
    """
    book = make_rule_book(data, raw)
    return replace(
        raw,
        entities={name: typed_table(book, raw, name, table) for name, table in raw.entities.items()},
        outcome=typed_table(book, raw, data.outcome.table, raw.outcome),
        events=typed_table(book, raw, data.events.table, raw.events),
    )


def typed_table(book: RuleBook, raw: RawTables, name: str, rows: ir.Table) -> ir.Table:
    """Return rows of the raw table ``name`` with every column read as what the config says it is."""
    columns = book.typed(rows, book.uses(name, rows.columns)) | _alike(book.data, raw, rows, name)
    changed = {column: value for column, value in columns.items() if not value.equals(rows[column])}
    return rows.mutate(**changed) if changed else rows


def _alike(data: EventsData, raw: RawTables, table: ir.Table, name: str) -> dict[str, ir.Column]:
    """Give an attribute one type in all entity tables: one of few values or none may be read as another type."""
    columns = {}
    for column in data.entities.attributes.values() if name in raw.entities else ():
        types = {one[column].type() for one in raw.entities.values() if column in one.columns}
        if column in table.columns and len(types) > 1:
            numbers = all(kind.is_numeric() for kind in types)
            columns[column] = table[column].cast("float64" if numbers else "string")
    return columns


def last_possible_day(data: EventsData, today: date | None = None) -> date:
    """Return the configured end of the data, else today in UTC."""
    return data.end or today or datetime.now(tz=UTC).date()


def _larger(left: str, right: str) -> Callable[[ir.Table], ir.BooleanColumn]:
    return lambda table: read_number(table[left]).value > read_number(table[right]).value


def _repeats(*columns: str) -> Violation:
    def breaks(table: ir.Table) -> ir.BooleanColumn:
        keys = [table[column] for column in columns]
        copy = ibis.row_number().over(group_by=keys, order_by=keys)
        return (copy > 0) & ibis.and_(*(key.notnull() for key in keys))

    return Violation(columns, breaks)


def _outside(moment: ir.Column, first: date, last: date) -> tuple[ir.BooleanColumn, ir.BooleanColumn]:
    after = last + timedelta(days=1)
    if moment.type().is_date():
        return moment < ibis.literal(first), moment >= ibis.literal(after)
    low, high = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, after))
    if moment.type().timezone is None:
        low, high = low.replace(tzinfo=None), high.replace(tzinfo=None)
    return moment < ibis.literal(low), moment >= ibis.literal(high)
