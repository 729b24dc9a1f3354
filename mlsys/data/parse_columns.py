"""Reads raw columns as ids, moments or numbers, whatever type they come in; what cannot be read becomes missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import ibis
import ibis.expr.operations as ops

from mlsys.data.config import EventsData

if TYPE_CHECKING:
    import ibis.expr.types as ir

IdType = Literal["int64", "string"]

# Databases differ in what they take for a number or a date ("1_000", "infinity", "epoch"), and some stop at the first
# that they do not take. What has one of these forms is read the same by all of them.
NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,2})?$"
INTEGER = "^(0|-?[1-9][0-9]{0,17})$"
MOMENT = (
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?)?$"
)


@dataclass(frozen=True)
class ColumnUse:
    """What the config calls a column of a raw table.

    Attributes
    ----------
    role : {"entities", "outcome", "events"}
        Which section of the config names it.
    key : str
        The name within the section, such as ``time`` or ``measures.users.email``.
    table, column : str
        As named at the source.
    """

    role: Literal["entities", "outcome", "events"]
    key: str
    table: str
    column: str

    @property
    def meaning(self) -> str:
        """Section and name, such as ``outcome.time``."""
        return f"{self.role}.{self.key}"


@dataclass(frozen=True)
class ParsedColumn:
    """A raw column, read as an id, a moment or a number.

    Attributes
    ----------
    value : ibis column
        Typed; null where the cell is missing or unreadable. The raw column itself where there was nothing to do.
    missing : ibis boolean column
        Where the cell is null, blank or not a number (NaN).
    unreadable : ibis boolean column
        Where there is something that cannot be read.
    """

    value: ir.Column
    missing: ir.BooleanColumn
    unreadable: ir.BooleanColumn


def column_uses(data: EventsData) -> list[ColumnUse]:
    """Return every column that the config names, in its order; an entity column once for each entity table.

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
    of_entities = {"id": entities.id, "created": entities.created, **attributes}
    of_outcome = {"id": outcome.id, "time": outcome.time, "value": outcome.value}
    measures = {
        f"measures.{kind}.{name}": column for kind, by in events.measures.items() for name, column in by.items()
    }
    of_events = {"id": events.id, "time": events.time, **measures}
    return [
        *(
            ColumnUse("entities", key, table, name)
            for table in entities.tables
            for key, name in of_entities.items()
            if name
        ),
        *(ColumnUse("outcome", key, outcome.table, name) for key, name in of_outcome.items() if name),
        *(ColumnUse("events", key, events.table, name) for key, name in of_events.items()),
    ]


def read_id(column: ir.Column, id_type: IdType) -> ParsedColumn:
    """Read whole numbers or text as ids of one type."""
    kind = column.type()
    never = column.isnull() & False
    if kind.is_integer():
        return ParsedColumn(column.cast(id_type), column.isnull(), never)
    if kind.is_string():
        text = column.strip().nullif("")
        value = text if id_type == "string" else _parse(text, INTEGER, "int64")
        return ParsedColumn(value, text.isnull(), text.notnull() & value.isnull())
    if kind.is_uuid():
        return ParsedColumn(column.cast("string"), column.isnull(), never)
    if kind.is_floating() or kind.is_decimal():
        number = read_number(column)
        whole = (number.value.abs() < 2**53) & (number.value % 1 == 0)
        value = whole.ifelse(number.value, ibis.null(number.value.type())).cast("int64")
        return ParsedColumn(value.cast(id_type), number.missing, ~number.missing & value.isnull())
    return ParsedColumn(ibis.null(id_type), column.isnull(), column.notnull())


def read_moment(column: ir.Column) -> ParsedColumn:
    """Read dates, timestamps, or text in ISO form: ``2020-02-24`` or ``2020-02-24T08:30:00+01:00`` (brought to UTC)."""
    kind = column.type()
    if kind.is_date() or kind.is_timestamp():
        return ParsedColumn(column, column.isnull(), column.isnull() & False)
    if kind.is_string():
        text = column.strip().nullif("")
        # Straight to a timestamp without zone would ignore an offset.
        value = _parse(text, MOMENT, "timestamp('UTC')").cast("timestamp")
        return ParsedColumn(value, text.isnull(), text.notnull() & value.isnull())
    return ParsedColumn(ibis.null("timestamp"), column.isnull(), column.notnull())


def read_number(column: ir.Column) -> ParsedColumn:
    """Read numbers, booleans (as 0 and 1) or text such as ``-12.5``; infinity is unreadable."""
    kind = column.type()
    never = column.isnull() & False
    if kind.is_integer():
        return ParsedColumn(column, column.isnull(), never)
    if kind.is_boolean():
        return ParsedColumn(column.cast("int32"), column.isnull(), never)
    if kind.is_decimal():
        return ParsedColumn(column.cast("float64"), column.isnull(), never)
    if kind.is_floating():
        if not ibis.get_backend(column).has_operation(ops.IsNan):
            return ParsedColumn(column, column.isnull(), never)
        absent, infinite = (column.isnull() | column.isnan()).fill_null(True), column.isinf().fill_null(False)
        return ParsedColumn((absent | infinite).ifelse(ibis.null(kind), column), absent, infinite)
    if kind.is_string():
        text = column.strip().nullif("")
        value = _parse(text, NUMBER, "float64")
        return ParsedColumn(value, text.isnull(), text.notnull() & value.isnull())
    return ParsedColumn(ibis.null("float64"), column.isnull(), column.notnull())


def common_id_type(columns: Sequence[ir.Column]) -> IdType:
    """Return the type in which ids of several tables can be compared: text, unless all of them are whole numbers.

    Rows are read only where some columns are numbers and others text: text that holds nothing but whole numbers in
    their plain spelling counts as numbers, as an empty CSV column has no better type.
    """
    texts = [column for column in columns if column.type().is_string()]
    if any(column.type().is_uuid() for column in columns) or len(texts) == len(columns):
        return "string"
    for column in texts:
        if read_id(column, "int64").unreadable.any().to_pyarrow().as_py():
            return "string"
    return "int64"


def _parse(text: ir.StringColumn, form: str, kind: str) -> ir.Column:
    fitting = text.re_search(form).ifelse(text, ibis.null("string"))
    can_try = ibis.get_backend(text).has_operation(ops.TryCast)
    return fitting.try_cast(kind) if can_try else fitting.cast(kind)
