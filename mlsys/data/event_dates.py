"""Reads the times of event tables that are not written in ISO 8601, with one order of day and month for all tables."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import ibis
import numpy as np
import pyarrow as pa
from ibis.util import gen_name

from mlsys.data.config import DateOrder, EventsData
from mlsys.data.parse_columns import MOMENT, ColumnUse, column_uses
from mlsys.data.sources import RawTables
from mlsys.data.table.date_formats import MIN_VALID, DateFormat, counted_format, find_format
from mlsys.data.table.date_order import decide_order
from mlsys.data.table.moments import ISO, parse_moments
from mlsys.data.table.values import Levels

if TYPE_CHECKING:
    import ibis.expr.types as ir

TIMES = ("time", "created")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _DateColumn:
    """A column of dates, by the table and name at the source.

    Attributes
    ----------
    table, name : str
    keys : tuple of str
        Where the config refers to it.
    levels : Levels
        Its distinct values.
    format : DateFormat
    """

    table: str
    name: str
    keys: tuple[str, ...]
    levels: Levels
    format: DateFormat

    @property
    def is_time(self) -> bool:
        return any(key.partition(".")[2] in TIMES for key in self.keys)

    @property
    def place(self) -> str:
        return f"{self.table}.{self.name}"


def read_dates(data: EventsData, raw: RawTables) -> RawTables:
    r"""Return the tables with their times as timestamps; values that do not parse stay as they are, for the contracts.

    Reads times written in any order, with or without a zone, Unix times, Excel days and days as 20200131. Tables whose
    times are timestamps or ISO 8601 text are returned as they are. The order of day and month is decided by all tables
    together, or by ``data.dates``.

    Parameters
    ----------
    data : EventsData
        The data config.
    raw : RawTables
        As opened by :func:`mlsys.data.sources.open_tables`. Columns that do not exist are ignored.

    Raises
    ------
    DataError
        If dates have two readings, and neither another date nor ``data.dates`` decides.

    Examples
    --------
    >>> from mlsys.data.sources import open_tables
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "accounts.csv").write_text("id\n1\n2\n")
    >>> _ = (folder / "orders.csv").write_text("account,day\n1,03/31/2020\n")
    >>> _ = (folder / "visits.csv").write_text("account,day,n\n1,02/01/2020,3\n")
    >>> data = EventsData.model_validate({
    ...     "kind": "events", "name": "shop", "dir": str(folder),
    ...     "entities": {"tables": ["accounts"], "id": "id"},
    ...     "outcome": {"table": "orders", "id": "account", "time": "day"},
    ...     "events": {"table": "visits", "id": "account", "time": "day", "measures": {"visits": {"web": "n"}},
    ...                "activity": {"measure": "visits"}}})
    >>> raw = read_dates(data, open_tables(data))
    >>> raw.date_formats
    {'outcome.time': ('%m/%d/%Y',), 'events.time': ('%m/%d/%Y',)}
    >>> raw.events.day.max().to_pyarrow().as_py()
    datetime.datetime(2020, 2, 1, 0, 0)
    """
    columns = _date_columns(data, raw)
    if not columns:
        return raw
    day_first = decide_order({column.place: column.format for column in columns}, data.dates)
    columns = [replace(column, format=column.format.ordered(day_first)) for column in columns]
    for column in columns:
        if guess := column.format.guess:
            logger.warning("%s: %s", column.place, guess)
    tables = {
        name: _converted(raw, table, [column for column in columns if column.table == name])
        for name, table in raw.by_name(data).items()
    }
    return replace(
        raw,
        entities={name: tables[name] for name in raw.entities},
        outcome=tables[data.outcome.table],
        events=tables[data.events.table],
        date_formats=_formats_by_key(columns),
    )


def _formats_by_key(columns: list[_DateColumn]) -> dict[str, tuple[str, ...]]:
    """Return the formats other than ISO 8601 by their keys in the config; entity tables may differ in them."""
    formats: dict[str, tuple[str, ...]] = {}
    for column in columns:
        for key in column.keys:
            known = formats.get(key, ())
            if column.format.pattern not in (ISO, *known):
                formats[key] = (*known, column.format.pattern)
    return formats


def _date_columns(data: EventsData, raw: RawTables) -> list[_DateColumn]:
    """Return the columns of dates that are not typed as such, in the order of the config.

    Attributes of an embedded database count too: their dates show the order of day and month. An attribute is read as
    dates in all entity tables or in none: otherwise its values would tell the tables apart, and with them the outcome.
    """
    tables = raw.by_name(data)
    uses: dict[tuple[str, str], list[ColumnUse]] = {}
    for use in column_uses(data):
        if use.key in TIMES or (raw.files and use.key.startswith("attributes.")):
            uses.setdefault((use.table, use.column), []).append(use)
    uses = {place: own for place, own in uses.items() if place[1] in tables[place[0]].columns}
    found = {place: _date_column(tables[place[0]], own, data.dates) for place, own in uses.items()}
    undated = {
        name
        for (table, name), column in found.items()
        if table in raw.entities and column is None and not _may_be_dates(tables[table][name])
    }
    return [
        column
        for (table, name), column in found.items()
        if column is not None and (column.is_time or table not in raw.entities or name not in undated)
    ]


def _may_be_dates(column: ir.Column) -> bool:
    """Whether a column is typed as dates, has nothing but dates in ISO 8601, or is empty."""
    kind = column.type()
    if kind.is_date() or kind.is_timestamp():
        return True
    if not kind.is_string():
        return not column.notnull().any().to_pyarrow().as_py()
    return not (~column.strip().nullif("").re_search(MOMENT)).any().to_pyarrow().as_py()


def _date_column(table: ir.Table, uses: list[ColumnUse], stated: DateOrder | None) -> _DateColumn | None:
    use, is_time = uses[0], any(use.key in TIMES for use in uses)
    column = table[use.column]
    kind = column.type()
    if not (kind.is_string() or (is_time and kind.is_numeric())):
        return None
    text = column.cast("string").strip().nullif("")
    if kind.is_string() and not (~text.re_search(MOMENT)).any().to_pyarrow().as_py():
        return None
    levels = _levels(text)
    form = find_format(levels, stated) if kind.is_string() else None
    form = form or (counted_format(levels, share=MIN_VALID) if is_time else None)
    if form is None or (not is_time and form.day_first is None):  # such as months, which are good categories
        return None
    if not form.is_mixed and form.rows < (0.5 if is_time else MIN_VALID) * form.filled:
        return None
    return _DateColumn(use.table, use.column, tuple(use.meaning for use in uses), levels, form)


def _levels(text: ir.Column) -> Levels:
    counts = text.name("text").as_table().group_by("text").aggregate(rows=ibis._.count())
    frame = counts.filter(counts.text.notnull()).order_by("text").to_pyarrow().to_pandas()
    return Levels(np.arange(len(frame)), frame["text"].astype("str"), frame["rows"].to_numpy())


def _converted(raw: RawTables, table: ir.Table, columns: list[_DateColumn]) -> ir.Table:
    if not columns:
        return table
    names = table.columns
    for column in columns:
        table = _with_timestamps(table, column).select(*names)
    # An embedded database would join the distinct dates again in every query.
    return raw.connection.create_table(gen_name("dated"), table, temp=True) if raw.files else table


def _with_timestamps(table: ir.Table, column: _DateColumn) -> ir.Table:
    texts = column.levels.values
    times = parse_moments(texts, column.format.pattern).astype("datetime64[us]")
    found = pa.table({"date_text": pa.array(texts, pa.string()), "date_time": pa.array(times, pa.timestamp("us"))})
    read = ibis.memtable(found)
    joined = table.left_join(read, table[column.name].cast("string").strip() == read.date_text)
    if times.notna().all():
        return joined.mutate(**{column.name: joined.date_time})
    kept = joined[column.name].cast("string")
    return joined.mutate(**{column.name: joined.date_time.cast("string").fill_null(kept)})
