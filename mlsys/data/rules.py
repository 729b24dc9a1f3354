"""The data rules for raw tables: which rows violate each rule, and what happens to them."""

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
    parse_id,
    parse_number,
    parse_timestamp,
)
from mlsys.data.sources import RawTables
from mlsys.text import joined

if TYPE_CHECKING:
    import ibis.expr.types as ir

Role = Literal["entities", "outcome", "events"]

EARLIEST = date(1990, 1, 1)  # older dates are placeholders for "unknown": 1900-01-01, 1970-01-01 and the like
DROPPED = "dropped"
NEVER_CONVERTED = "dropped; such an account counts as never converted"


@dataclass(frozen=True)
class Violation:
    """One way to violate a rule.

    Attributes
    ----------
    columns : tuple of str
        The columns to show in examples.
    breaks : callable
        Maps the table to a boolean column that is true where rows violate the rule; null counts as false.
    """

    columns: tuple[str, ...]
    breaks: Callable[[ir.Table], ir.BooleanColumn]


@dataclass(frozen=True)
class Rule:
    """A rule of :class:`~mlsys.data.config.RulesConfig` for one table.

    Attributes
    ----------
    name : str
        The rule's name in the config.
    role : {"entities", "outcome", "events"}
        The table's role in this check: a row is dropped from this role only.
    action : {"error", "drop", "warn"}
        The configured action.
    rows : str
        Description of the violating rows, to complete "3 rows …".
    allowed : str
        Description of valid values.
    violations : tuple of Violation
        Ways to violate the rule; any of them counts.
    dropped, kept : str
        Description of what happens to the rows on drop and on warn.
    """

    name: str
    role: Role
    action: Action
    rows: str
    allowed: str
    violations: tuple[Violation, ...]
    dropped: str = DROPPED
    kept: str = "kept"

    def breaks(self, table: ir.Table) -> ir.BooleanColumn:
        """Return whether each row violates the rule; never null."""
        return ibis.or_(*(violation.breaks(table).fill_null(False) for violation in self.violations))

    @property
    def consequence(self) -> str:
        """Description of what happens to the rows."""
        return self.dropped if self.action == "drop" else self.kept

    @property
    def removes(self) -> bool:
        """Whether to filter the rows out; :mod:`mlsys.data.sources` itself removes duplicate ids."""
        return self.action == "drop" and self.name != "duplicate_ids"


@dataclass(frozen=True)
class RuleBook:
    """The rules of each table, made from the config.

    Attributes
    ----------
    data : EventsData
        The data config.
    id_type : {"int64", "string"}
        The type in which ids are compared.
    entity_ids : ibis table or None
        All known ids, in column ``id``; None if an entity table lacks its id column.
    latest : date
        The latest valid day.
    """

    data: EventsData
    id_type: IdType
    entity_ids: ir.Table | None
    latest: date

    def uses(self, table: str, columns: Collection[str]) -> list[ColumnUse]:
        """Return the configured columns that a table has; an id column of both entities and outcomes counts once."""
        data = self.data
        uses = [use for use in column_uses(data) if use.table == table and use.column in columns]
        shared_id = table in data.entities.tables and data.outcome.id == data.entities.id
        return [use for use in uses if not (shared_id and use.meaning == "outcome.id")]

    def parse(self, use: ColumnUse, table: ir.Table) -> ParsedColumn | None:
        """Parse a column as the config defines it; None for attributes, which can have any type."""
        column = table[use.column]
        if use.key == "id":
            return parse_id(column, self.id_type)
        if use.key in ("time", "created"):
            return parse_timestamp(column)
        return None if use.key.startswith("attributes.") else parse_number(column)

    def typed(self, table: ir.Table, uses: Iterable[ColumnUse]) -> dict[str, ir.Column]:
        """Return the parsed columns by name."""
        parsed = {use.column: self.parse(use, table) for use in uses}
        return {name: column.value for name, column in parsed.items() if column is not None}

    def rules(self, table: str, columns: Collection[str]) -> tuple[Rule, ...]:
        """Return the single-row rules that apply to a table."""
        uses = self.uses(table, columns)
        roles: list[Role] = ["entities", "outcome", "events"]
        rules = []
        for role in roles:
            own = {use.key: use for use in uses if use.role == role}
            rules += [self._wrong_types(role, own), self._missing_ids(role, own), self._impossible_dates(role, own)]
            if role == "outcome":
                rules += [self._non_positive_value(own), self._orphans(role, own)]
            if role == "events":
                rules += [self._negative_counts(own), self._users_over_actions(own), self._orphans(role, own)]
        return tuple(rule for rule in rules if rule.violations)

    def repeated_ids(self) -> Rule:
        """Return the rule that ids are unique across all entity tables (columns: the id)."""
        used = "only the most complete row of each id is used"
        rows, violations = "with a duplicate id", (_repeats(self.data.entities.id),)
        action = self.data.rules.duplicate_ids
        return Rule(
            "duplicate_ids",
            "entities",
            action,
            rows,
            "unique ids",
            violations,
            dropped=f"dropped; {used}",
            kept=used,
        )

    def repeated_events(self) -> Rule:
        """Return the rule that events are unique by id and time (columns: id and time); its action is always warn."""
        events = self.data.events
        violations = (_repeats(events.id, events.time),)
        rows, allowed = "with a duplicate id and time", "one row per id and time"
        return Rule("duplicate_ids", "events", "warn", rows, allowed, violations, kept="kept and summed")

    def _violation(self, use: ColumnUse, breaks: Callable[[ParsedColumn], ir.BooleanColumn]) -> Violation:
        def predicate(table: ir.Table) -> ir.BooleanColumn:
            column = self.parse(use, table)
            assert column is not None
            return breaks(column)

        return Violation((use.column,), predicate)

    def _wrong_types(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        typed = [use for key, use in uses.items() if not key.startswith("attributes.")]
        return Rule(
            "wrong_types",
            role,
            self.data.rules.wrong_types,
            "with a value of the wrong type",
            "ids: whole numbers or text; times: dates, or text such as 2020-02-24; measures and values: numbers",
            tuple(self._violation(use, lambda column: column.invalid) for use in typed),
            dropped=NEVER_CONVERTED if role == "outcome" else DROPPED,
            kept="kept; such a value counts as missing",
        )

    def _missing_ids(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        violations = (self._violation(uses["id"], lambda column: column.missing),) if "id" in uses else ()
        action = self.data.rules.missing_ids
        kept = "kept, but unused: without an id they belong to no entity"
        return Rule("missing_ids", role, action, "without an id", "an id in every row", violations, kept=kept)

    def _impossible_dates(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        def impossible(column: ParsedColumn) -> ir.BooleanColumn:
            missing = [column.missing] if role == "events" else []
            return ibis.or_(*missing, *_outside(column.value, EARLIEST, self.latest))

        latest = f"{self.latest}" + (" (data.end)" if self.data.end else " (today)")
        period = f"before {EARLIEST} or after {latest}"
        return Rule(
            "impossible_dates",
            role,
            self.data.rules.impossible_dates,
            f"without a time or with one {period}" if role == "events" else f"with a time {period}",
            f"times from {EARLIEST} to {latest}" + (", in every row" if role == "events" else ""),
            tuple(self._violation(uses[key], impossible) for key in ("created", "time") if key in uses),
            dropped=NEVER_CONVERTED if role == "outcome" else DROPPED,
        )

    def _non_positive_value(self, uses: dict[str, ColumnUse]) -> Rule:
        violations = (self._violation(uses["value"], lambda column: column.value <= 0),) if "value" in uses else ()
        return Rule(
            "non_positive_value",
            "outcome",
            self.data.rules.non_positive_value,
            "with a value of 0 or less",
            "a value above 0, or none",
            violations,
            dropped=NEVER_CONVERTED,
            kept="kept; their revenue counts as missing",
        )

    def _orphans(self, role: Role, uses: dict[str, ColumnUse]) -> Rule:
        known = self.entity_ids
        violations: tuple[Violation, ...] = ()
        if "id" in uses and known is not None:
            ids = known.id
            violations = (self._violation(uses["id"], lambda column: column.value.notnull() & ~column.value.isin(ids)),)
        allowed = "an id of " + joined(self.data.entities.tables, "or")
        action = self.data.rules.orphan_events
        rows = "whose id is in no entity table"
        return Rule("orphan_events", role, action, rows, allowed, violations, kept="kept, but unused")

    def _negative_counts(self, uses: dict[str, ColumnUse]) -> Rule:
        measures = [use for key, use in uses.items() if key.startswith("measures.")]
        violations = tuple(self._violation(use, lambda column: column.value < 0) for use in measures)
        action = self.data.rules.negative_counts
        return Rule("negative_counts", "events", action, "with a negative count", "counts of 0 or more", violations)

    def _users_over_actions(self, uses: dict[str, ColumnUse]) -> Rule:
        violations = []
        for product in self.data.events.measures.get("users", {}):
            users, actions = uses.get(f"measures.users.{product}"), uses.get(f"measures.actions.{product}")
            if users and actions:
                violations.append(Violation((users.column, actions.column), _larger(users.column, actions.column)))
        action = self.data.rules.users_over_actions
        allowed = "at least one action per user"
        return Rule("users_over_actions", "events", action, "with more users than actions", allowed, tuple(violations))


def make_rule_book(data: EventsData, raw: RawTables, today: date | None = None) -> RuleBook:
    """Return the maker of the rules; reads rows only where ids differ in type between tables."""
    named = [(table, data.entities.id) for table in raw.entities.values()]
    everywhere = [*named, (raw.outcome, data.outcome.id), (raw.events, data.events.id)]
    id_type = common_id_type([table[column] for table, column in everywhere if column in table.columns])
    known = None
    if all(column in table.columns for table, column in named):
        tables = [table.select(id=parse_id(table[column], id_type).value) for table, column in named]
        ids = ibis.union(*tables) if len(tables) > 1 else tables[0]
        known = ids.filter(ids.id.notnull())
    return RuleBook(data, id_type, known, last_possible_day(data, today))


def typed_tables(data: EventsData, raw: RawTables) -> RawTables:
    """Return the raw tables with every column parsed as the config defines it, without applying rules.

    Values that cannot be parsed become missing. Does not import pandera, which is slow to import.
    """
    book = make_rule_book(data, raw)
    return replace(
        raw,
        entities={name: typed_table(book, raw, name, table) for name, table in raw.entities.items()},
        outcome=typed_table(book, raw, data.outcome.table, raw.outcome),
        events=typed_table(book, raw, data.events.table, raw.events),
    )


def typed_table(book: RuleBook, raw: RawTables, name: str, rows: ir.Table) -> ir.Table:
    """Return rows of the raw table ``name`` with every column parsed as the config defines it."""
    columns = book.typed(rows, book.uses(name, rows.columns)) | _unified_attributes(book.data, raw, rows, name)
    changed = {column: value for column, value in columns.items() if not value.equals(rows[column])}
    return rows.mutate(**changed) if changed else rows


def _unified_attributes(data: EventsData, raw: RawTables, table: ir.Table, name: str) -> dict[str, ir.Column]:
    """Cast attributes to one type across entity tables, as a column with few or no values may be typed differently.

    Dates of one table and times of another are times.
    """
    columns = {}
    for column in data.entities.attributes.values() if name in raw.entities else ():
        types = {one[column].type() for one in raw.entities.values() if column in one.columns}
        if column in table.columns and len(types) > 1:
            numbers = all(kind.is_numeric() for kind in types)
            times = all(kind.is_date() or kind.is_timestamp() for kind in types)
            columns[column] = table[column].cast("float64" if numbers else "timestamp" if times else "string")
    return columns


def last_possible_day(data: EventsData, today: date | None = None) -> date:
    """Return the configured end of the data, else today in UTC."""
    return data.end or today or datetime.now(tz=UTC).date()


def _larger(left: str, right: str) -> Callable[[ir.Table], ir.BooleanColumn]:
    return lambda table: parse_number(table[left]).value > parse_number(table[right]).value


def _repeats(*columns: str) -> Violation:
    def breaks(table: ir.Table) -> ir.BooleanColumn:
        keys = [table[column] for column in columns]
        copy = ibis.row_number().over(group_by=keys, order_by=keys)
        return (copy > 0) & ibis.and_(*(key.notnull() for key in keys))

    return Violation(columns, breaks)


def _outside(time: ir.Column, first: date, last: date) -> tuple[ir.BooleanColumn, ir.BooleanColumn]:
    after = last + timedelta(days=1)
    if time.type().is_date():
        return time < ibis.literal(first), time >= ibis.literal(after)
    low, high = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, after))
    if time.type().timezone is None:
        low, high = low.replace(tzinfo=None), high.replace(tzinfo=None)
    return time < ibis.literal(low), time >= ibis.literal(high)
