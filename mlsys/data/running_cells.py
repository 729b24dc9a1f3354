"""The cells that an as-of can see, kept from one as-of to the next: what has left all windows is one cell per entity.

So the work at an as-of depends on the entities and on the events within the longest window, not on the whole history.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import ibis
from ibis.util import gen_name

from mlsys.data.panel import PanelRequest, Times, event_cells, time_columns, used_cell_columns
from mlsys.data.spine import to_day
from mlsys.features.base import merged_partials

if TYPE_CHECKING:
    import ibis.expr.types as ir

MERGE_AT = 2  # merge when there are so many times the cells beyond the windows that the last merge left


class RunningCells:
    """A table in the embedded database with the cells that an as-of can see.

    Merged cells have the sums of their parts, which do not depend on the order in which they are added, not even in the
    last bit (:mod:`mlsys.features.exact_sums`).

    Parameters
    ----------
    connection : Ibis backend
        The embedded database that holds the events.
    events : ibis table
        In canonical form.
    request : PanelRequest
        Its as-ofs determine the edges, so that cells do not depend on which as-ofs are built.

    Attributes
    ----------
    table : ibis table
        The cells, with the columns that the request's features need.
    """

    def __init__(self, connection: Any, events: ir.Table, request: PanelRequest) -> None:  # noqa: ANN401
        self._connection, self._con = connection, connection.con
        edges = time_columns(request.as_ofs, request.windows)[1]
        self._edges = list(zip(edges["day"], edges["until_day"], strict=True))
        self._longest = max(request.windows)
        self._calendar, self._name = gen_name("calendar"), gen_name("cells")
        empty = ibis.memtable({"day": [], "until_day": []}, schema={"day": "int64", "until_day": "int64"})
        calendar = connection.create_table(self._calendar, empty, temp=True)
        cells = event_cells(events, request, replace(Times.at(request.as_ofs, request.windows), calendar=calendar))
        cells = cells.select(used_cell_columns(cells, request))
        self.table = connection.create_table(self._name, cells, temp=True)
        self._insert = f'INSERT INTO "{self._name}" {connection.compile(cells)}'
        self._day: int | None = None
        self._merged = 0

    def advance(self, as_of: date) -> None:
        """Let the table have all cells that the as-of can see; those beyond all windows may be merged."""
        day = to_day(as_of)
        if self._day is not None and day < self._day:
            self._run(f'DELETE FROM "{self._name}"')
            self._day = None
        edge = day - self._longest
        if self._day is None:
            self._add([(start, max(until, edge)) for start, until in self._until(day)])
            self._merged = self._beyond(edge)
        elif day > self._day:
            self._add([(start, until) for start, until in self._until(day) if start > self._day])
            if self._beyond(edge) > MERGE_AT * self._merged:
                self._merge(edge)
        self._day = day

    def close(self) -> None:
        """Drop the tables, which take memory."""
        for name in (self._calendar, self._name):  # DuckDB 2 rejects the DROP statement that Ibis 12 generates
            self._run(f'DROP TABLE "{name}"')

    def _until(self, day: int) -> list[tuple[int, int]]:
        return [(start, until) for start, until in self._edges if start <= day]

    def _add(self, calendar: list[tuple[int, int]]) -> None:
        """Add the cells of the events of these days: the query joins events with the calendar."""
        days, until = zip(*calendar, strict=True)
        self._run(f'DELETE FROM "{self._calendar}"')
        self._con.execute(f'INSERT INTO "{self._calendar}" SELECT unnest(?), unnest(?)', [days, until]).fetchall()
        self._run(self._insert)

    def _beyond(self, edge: int) -> int:
        query = f'SELECT count(*) FROM "{self._name}" WHERE until_day <= {edge}'
        return int(self._con.execute(query).fetchall()[0][0])

    def _merge(self, edge: int) -> None:
        cells = self.table
        past = cells.filter(cells.until_day <= edge)
        past = past.group_by("id").aggregate(until_day=past.until_day.max(), **merged_partials(past))
        together = past.select(cells.columns).union(cells.filter(cells.until_day > edge))
        name = gen_name("cells")
        self._run(f'CREATE TEMP TABLE "{name}" AS {self._connection.compile(together)}')
        self._run(f'DROP TABLE "{self._name}"')
        self._run(f'ALTER TABLE "{name}" RENAME TO "{self._name}"')
        self._merged = self._beyond(edge)

    def _run(self, statement: str) -> None:
        self._con.execute(statement).fetchall()
