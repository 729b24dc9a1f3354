"""The contracts of the raw tables as pandera schemas: the columns that the config names, and a check for each rule."""

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
    """What a table has to keep.

    Attributes
    ----------
    name : str
        Of the table, or of several together.
    table : ibis table
        The rows to check.
    id : str
        The column that names a row in examples.
    schema : pandera DataFrameSchema
        Columns, and one check for each of ``rules``, in their order. It prints, and validates other tables by itself.
    rules : tuple of Rule
        What the checks mean.
    """

    name: str
    table: ir.Table
    id: str
    schema: DataFrameSchema
    rules: tuple[Rule, ...]


def make_contracts(book: RuleBook, raw: RawTables) -> list[Contract]:
    """Return the contract of each raw table, of all entity ids together, and of the events' ids and times.

    See Also
    --------
    mlsys.data.contracts.check_tables : checks tables by them, with an example.
    """
    data = book.data
    made = []
    for name, table in raw.by_name(data).items():
        rules = book.rules(name, table.columns)
        id_column = next(use.column for use in column_uses(data) if use.table == name and use.key == "id")
        made.append(Contract(name, table, id_column, _schema(name, _columns(data, raw, name), rules), rules))
    if book.entity_ids is not None:
        ids = book.entity_ids.rename({data.entities.id: "id"})
        made.append(_of_keys(", ".join(raw.entities), ids, book.repeated_ids()))
    events = data.events
    if {events.id, events.time} <= set(raw.events.columns):
        uses = [use for use in book.uses(events.table, raw.events.columns) if use.key in ("id", "time")]
        made.append(_of_keys(events.table, raw.events.select(**book.typed(raw.events, uses)), book.repeated_events()))
    return made


def _of_keys(name: str, keys: ir.Table, rule: Rule) -> Contract:
    columns = {column: Column(name=column) for column in keys.columns}
    return Contract(name, keys, keys.columns[0], _schema(name, columns, [rule]), (rule,))


def _schema(name: str, columns: Mapping[str, Column], rules: Sequence[Rule]) -> DataFrameSchema:
    def check(rule: Rule) -> Check:
        return Check(lambda rows: ~rule.breaks(rows.table), name=rule.name, error=rule.allowed)

    return DataFrameSchema(dict(columns), checks=[check(rule) for rule in rules], name=name)


def _columns(data: EventsData, raw: RawTables, table: str) -> dict[str, Column]:
    """Describe the named columns, without types: pandera knows no uuid or array, and wrong_types counts rows anyway."""
    of_entities = {column for entities in raw.entities.values() for column in entities.columns}
    columns: dict[str, Column] = {}
    for use in (use for use in column_uses(data) if use.table == table):
        # An attribute may be in one entity table only; where it is in none, the first is to blame.
        optional = use.role == "entities" and use.key != "id"
        required = not optional or (use.column not in of_entities and table == data.entities.tables[0])
        nullable = use.key != "id" and use.meaning != "events.time"
        before = columns.get(use.column)
        columns[use.column] = Column(
            name=use.column,
            nullable=nullable and (before is None or before.nullable),
            required=required or (before is not None and before.required),
            description=use.meaning if before is None else f"{before.description}, {use.meaning}",
        )
    return columns
