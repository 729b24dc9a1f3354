"""Parses raw columns of any type as ids, timestamps or numbers; values that cannot be parsed become missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops

from mlsys.data.config import EventsData

if TYPE_CHECKING:
    import ibis.expr.types as ir

IdType = Literal["int64", "string"]

# Databases differ in what they accept as a number or a date ("1_000", "infinity", "epoch"), and some fail on the first
# value that they reject. All of them parse values of these forms alike.
NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$"
INTEGER = "^(0|-?[1-9][0-9]{0,17})$"
MOMENT = (
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?)?$"
)


@dataclass(frozen=True)
class ColumnUse:
    """A reference to a raw column in the data config.

    Attributes
    ----------
    role : {"entities", "outcome", "events"}
        The section of the config that refers to the column.
    key : str
        The key within the section, such as ``time`` or ``measures.users.email``.
    table, column : str
        Names of the table and the column at the source.
    """

    role: Literal["entities", "outcome", "events"]
    key: str
    table: str
    column: str

    @property
    def meaning(self) -> str:
        """The section and key, such as ``outcome.time``."""
        return f"{self.role}.{self.key}"


@dataclass(frozen=True)
class ParsedColumn:
    """A raw column, parsed as an id, a timestamp or a number.

    Attributes
    ----------
    value : ibis column
        Typed values, null where the cell is missing or invalid. The raw column itself if nothing had to change.
    missing : ibis boolean column
        Whether the cell is null, blank or NaN.
    invalid : ibis boolean column
        Whether the cell has a value that cannot be parsed.
    """

    value: ir.Column
    missing: ir.BooleanColumn
    invalid: ir.BooleanColumn


def column_uses(data: EventsData) -> list[ColumnUse]:
    """Return every column reference in the config, in its order; entity columns once per entity table.

    Examples
    --------
    >>> from mlsys.data.config import EventsData
    >>> data = EventsData.model_validate({
    ...     "kind": "events", "name": "shop", "dir": "shop",
    ...     "entities": {"tables": ["accounts"], "id": "id"},
    ...     "outcome": {"table": "orders", "id": "account", "time": "day"},
    ...     "events": {"table": "visits", "id": "account", "time": "day", "measures": {"visits": {"web": "N_WEB"}},
    ...                "activity": {"measure": "visits"}}})
    >>> [(use.meaning, use.table, use.column) for use in column_uses(data)][-1]
    ('events.measures.visits.web', 'visits', 'N_WEB')
    """
    entities, outcome, events = data.entities, data.outcome, data.events
    attributes = {f"attributes.{name}": column for name, column in entities.attributes.items()}
    entity_columns = {"id": entities.id, "created": entities.created, **attributes}
    outcome_columns = {"id": outcome.id, "time": outcome.time, "value": outcome.value}
    measures = {
        f"measures.{kind}.{name}": column
        for kind, columns in events.measures.items()
        for name, column in columns.items()
    }
    event_columns = {"id": events.id, "time": events.time, **measures}
    return [
        *(
            ColumnUse("entities", key, table, name)
            for table in entities.tables
            for key, name in entity_columns.items()
            if name
        ),
        *(ColumnUse("outcome", key, outcome.table, name) for key, name in outcome_columns.items() if name),
        *(ColumnUse("events", key, events.table, name) for key, name in event_columns.items()),
    ]


def parse_id(column: ir.Column, id_type: IdType) -> ParsedColumn:
    """Parse whole numbers or text as ids of one type."""
    kind = column.type()
    false = column.isnull() & False
    if _is_whole(kind):
        return ParsedColumn(column.cast(id_type), column.isnull(), false)
    if kind.is_string():
        text = column.strip().nullif("")
        value = text if id_type == "string" else _cast_matching(text, INTEGER, "int64")
        return ParsedColumn(value, text.isnull(), text.notnull() & value.isnull())
    if kind.is_uuid():
        return ParsedColumn(column.cast("string"), column.isnull(), false)
    if kind.is_floating() or kind.is_decimal():
        number = parse_number(column)
        whole = (number.value.abs() < 2**53) & (number.value % 1 == 0)
        value = whole.ifelse(number.value, ibis.null(number.value.type())).cast("int64")
        return ParsedColumn(value.cast(id_type), number.missing, ~number.missing & value.isnull())
    return ParsedColumn(ibis.null(id_type), column.isnull(), column.notnull())


def parse_timestamp(column: ir.Column) -> ParsedColumn:
    """Parse dates, timestamps or ISO 8601 text: ``2020-02-24`` or ``2020-02-24T08:30:00+01:00`` (converted to UTC)."""
    kind = column.type()
    if kind.is_date() or kind.is_timestamp():
        return ParsedColumn(column, column.isnull(), column.isnull() & False)
    if kind.is_string():
        text = column.strip().nullif("")
        # Casting directly to a timestamp without time zone would ignore the offset.
        value = _cast_matching(text, MOMENT, "timestamp('UTC')").cast("timestamp")
        return ParsedColumn(value, text.isnull(), text.notnull() & value.isnull())
    return ParsedColumn(ibis.null("timestamp"), column.isnull(), column.notnull())


def parse_number(column: ir.Column) -> ParsedColumn:
    """Parse numbers, booleans (as 0 and 1) or text such as ``-12.5``; infinity is invalid."""
    kind = column.type()
    false = column.isnull() & False
    if kind.is_integer():
        return ParsedColumn(column, column.isnull(), false)
    if kind.is_boolean():
        return ParsedColumn(column.cast("int32"), column.isnull(), false)
    if kind.is_decimal():
        return ParsedColumn(column.cast("float64"), column.isnull(), false)
    if kind.is_floating():
        if not ibis.get_backend(column).has_operation(ops.IsNan):
            return ParsedColumn(column, column.isnull(), false)
        missing, infinite = (column.isnull() | column.isnan()).fill_null(True), column.isinf().fill_null(False)
        return ParsedColumn((missing | infinite).ifelse(ibis.null(kind), column), missing, infinite)
    if kind.is_string():
        text = column.strip().nullif("")
        value = _cast_matching(text, NUMBER, "float64")
        return ParsedColumn(value, text.isnull(), text.notnull() & value.isnull())
    return ParsedColumn(ibis.null("float64"), column.isnull(), column.notnull())


def common_id_type(columns: Sequence[ir.Column]) -> IdType:
    """Return the type in which ids of several tables are compared: text, unless all ids are whole numbers.

    Rows are read only if some columns are numeric and others text, or if numbers may exceed 64 bits. Text columns with
    nothing but canonical whole numbers count as numeric, since an empty CSV column is typed as text.
    """
    texts = [column for column in columns if column.type().is_string()]
    if any(_exceeds_int64(column) for column in columns):
        return "string"
    if any(column.type().is_uuid() for column in columns) or len(texts) == len(columns):
        return "string"
    for column in texts:
        if parse_id(column, "int64").invalid.any().to_pyarrow().as_py():
            return "string"
    return "int64"


def _is_whole(kind: dt.DataType) -> bool:
    return bool(kind.is_integer() or (isinstance(kind, dt.Decimal) and kind.scale == 0))


def _exceeds_int64(column: ir.Column) -> bool:
    kind = column.type()
    if not _is_whole(kind) or kind.is_signed_integer() or (kind.is_unsigned_integer() and not kind.is_uint64()):
        return False
    return bool((column > 2**63 - 1).any().to_pyarrow().as_py())


def _cast_matching(text: ir.StringColumn, pattern: str, kind: str) -> ir.Column:
    matching = text.re_search(pattern).ifelse(text, ibis.null("string"))
    can_try = ibis.get_backend(text).has_operation(ops.TryCast)
    return matching.try_cast(kind) if can_try else matching.cast(kind)
