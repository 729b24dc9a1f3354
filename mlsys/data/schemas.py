"""The contracts of the raw tables as pandera schemas: the configured columns, and one check per rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pandera.ibis import Check, Column, DataFrameSchema

from mlsys.data.config import EventsData
from mlsys.data.parse_columns import column_uses
from mlsys.data.rules import Rule, RuleBook
from mlsys.data.sources import RawTables

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True)
class Contract:
    """A contract: the columns and rules that a table must satisfy.

    Attributes
    ----------
    name : str
        Name of the table, or of several tables checked together.
    table : ibis table
        The rows to check.
    id : str
        The column that identifies rows in examples.
    schema : pandera DataFrameSchema
        The columns, and one check per rule, in the order of ``rules``. Usable on its own to validate other tables.
    rules : tuple of Rule
        The rules behind the checks.
    """

    name: str
    table: ir.Table
    id: str
    schema: DataFrameSchema
    rules: tuple[Rule, ...]


def make_contracts(book: RuleBook, raw: RawTables) -> list[Contract]:
    """Return the contracts of each raw table, of all entity ids together, and of the events' ids and times.

    See Also
    --------
    mlsys.data.contracts.check_tables : checks tables against their contracts; has an example.
    """
    data = book.data
    contracts = []
    for name, table in raw.by_name(data).items():
        rules = book.rules(name, table.columns)
        id_column = next(use.column for use in column_uses(data) if use.table == name and use.key == "id")
        contracts.append(Contract(name, table, id_column, _schema(name, _columns(data, raw, name), rules), rules))
    if book.entity_ids is not None:
        ids = book.entity_ids.rename({data.entities.id: "id"})
        contracts.append(_key_contract(", ".join(raw.entities), ids, book.repeated_ids()))
    events = data.events
    if {events.id, events.time} <= set(raw.events.columns):
        uses = [use for use in book.uses(events.table, raw.events.columns) if use.key in ("id", "time")]
        contracts.append(
            _key_contract(events.table, raw.events.select(**book.typed(raw.events, uses)), book.repeated_events())
        )
    return contracts


def _key_contract(name: str, keys: ir.Table, rule: Rule) -> Contract:
    columns = {column: Column(name=column) for column in keys.columns}
    return Contract(name, keys, keys.columns[0], _schema(name, columns, [rule]), (rule,))


def _schema(name: str, columns: Mapping[str, Column], rules: Sequence[Rule]) -> DataFrameSchema:
    def check(rule: Rule) -> Check:
        return Check(lambda rows: ~rule.breaks(rows.table), name=rule.name, error=rule.allowed)

    return DataFrameSchema(dict(columns), checks=[check(rule) for rule in rules], name=name)


def _columns(data: EventsData, raw: RawTables, table: str) -> dict[str, Column]:
    """Return the configured columns, untyped: pandera lacks uuid and array types, and wrong_types checks each row."""
    entity_columns = {column for entities in raw.entities.values() for column in entities.columns}
    columns: dict[str, Column] = {}
    for use in (use for use in column_uses(data) if use.table == table):
        # An attribute needs to be in one entity table only; if it is in none, it is reported for the first.
        optional = use.role == "entities" and use.key != "id"
        required = not optional or (use.column not in entity_columns and table == data.entities.tables[0])
        nullable = use.key != "id" and use.meaning != "events.time"
        previous = columns.get(use.column)
        columns[use.column] = Column(
            name=use.column,
            nullable=nullable and (previous is None or previous.nullable),
            required=required or (previous is not None and previous.required),
            description=use.meaning if previous is None else f"{previous.description}, {use.meaning}",
        )
    return columns
