"""Features of a panel in one piece per as-of, each built only if something that was known at the as-of has changed.

The labels are not part of a piece: they change as outcomes become known. So a new as-of, or new events after the
existing ones, costs one piece, not the whole panel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.operations as ops
import pyarrow as pa
import pyarrow.compute as pc
from ibis.common.exceptions import OperationNotDefinedError
from ibis.util import gen_name

from mlsys.data.engines import in_duckdb, is_duckdb, stored
from mlsys.data.panel import REPEATED, PanelRequest, Times, event_cells, features_query, sorted_rows
from mlsys.data.running_cells import RunningCells
from mlsys.data.spine import eligible_rows, to_day
from mlsys.errors import DataError
from mlsys.features.base import Block, EntityBlock, TableBlock

if TYPE_CHECKING:
    import ibis.expr.types as ir

BATCH_ROWS = 65_536
OUTCOME_COLUMNS = frozenset({"outcome_day", "value"})


class PartitionBuilder:
    """Builds the features of one as-of after the other, from events that are aggregated once.

    Parameters
    ----------
    connection : Ibis backend
        The engine that holds both tables.
    entities, events : ibis table
        Tables in canonical form.
    request : PanelRequest
        The as-ofs also determine the edges of all cells, so that a piece does not depend on which pieces are missing.
    """

    def __init__(self, connection: Any, entities: ir.Table, events: ir.Table, request: PanelRequest) -> None:  # noqa: ANN401
        self._connection = connection
        self._entities, self._events, self._request = entities, events, request
        self._times = Times.at(request.as_ofs, request.windows)
        self._cutoffs = gen_name("cutoffs")
        self._running: tuple[RunningCells, str] | None = None
        self._ready: dict[date, pa.Table] = {}

    @property
    def cells(self) -> ir.Table:
        """The cells that the latest as-of could see, in DuckDB."""
        return self._opened()[0].table

    def build(self, as_of: date) -> pa.RecordBatchReader:
        """Return the features of an as-of in batches, sorted by id; see :func:`mlsys.data.panel.features_query`.

        DuckDB builds one as-of at a time, in batches; reading one raises DataError if a block repeats rows. For other
        engines the number of queries matters more than their size, so the first one also builds all later as-ofs.
        """
        if is_duckdb(self._events):
            return self._streamed(as_of)
        if as_of not in self._ready:
            as_ofs = [day for day in self._request.as_ofs if day >= as_of]
            cutoffs = Times.at(as_ofs, self._request.windows).cutoffs
            rows = sorted_rows(self._query(cutoffs, self._all_cells, self._attributes))
            self._ready = {day: rows.filter(pc.field("as_of_day") == to_day(day)) for day in as_ofs}
        return self._ready.pop(as_of).to_reader()

    def close(self) -> None:
        """Drop the tables that were made in DuckDB, which take memory; the next as-of makes them again.

        Those of other engines end with their connection.
        """
        if self._running:
            self._running[0].close()
            self._run(f'DROP TABLE "{self._cutoffs}"')  # DuckDB 2 rejects the DROP statement that Ibis 12 generates
        self._running = None

    def _streamed(self, as_of: date) -> pa.RecordBatchReader:
        cells, query = self._opened()
        cells.advance(as_of)
        self._run(f'DELETE FROM "{self._cutoffs}"')
        self._run(f'INSERT INTO "{self._cutoffs}" VALUES (?)', [to_day(as_of)])
        # Ibis 12's own to_pyarrow_batches does not work with DuckDB 2.
        batches = self._connection.con.sql(query).to_arrow_reader(BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(batches.schema, _in_order(batches))

    def _opened(self) -> tuple[RunningCells, str]:
        """Return the cells, and the query for the as-of in the cutoffs: compiled once, as that takes a while."""
        if self._running is None:
            cells = RunningCells(self._connection, self._events, self._request)
            cutoffs = self._connection.create_table(self._cutoffs, self._times.cutoffs, temp=True)
            query = self._query(cutoffs, cells.table, self._entities).order_by("id")
            self._running = cells, self._connection.compile(query)
        return self._running

    @cached_property
    def _all_cells(self) -> ir.Table:
        return stored(event_cells(self._events, self._request, self._times), self._connection)

    @cached_property
    def _attributes(self) -> ir.Table:
        return in_duckdb(self._entities)

    def _query(self, cutoffs: ir.Table, cells: ir.Table, attributes: ir.Table) -> ir.Table:
        times = replace(self._times, cutoffs=cutoffs)
        return features_query(self._entities, self._events, self._request, times, cells, attributes)

    def _run(self, statement: str, values: Sequence[int] = ()) -> None:
        self._connection.con.execute(statement, values).fetchall()


def _in_order(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches whose ids increase: the embedded database sorts as Arrow does."""
    last: pa.Array | None = None
    for batch in batches:
        ids = batch.column("id")
        if last is not None:
            ids = pa.concat_arrays([last, ids])
        if len(ids) > 1 and not pc.all(pc.less(ids[:-1], ids[1:])).as_py():
            raise DataError(REPEATED)
        last = ids[-1:] if len(ids) else last
        yield batch


def known_digests(entities: ir.Table, events: ir.Table, request: PanelRequest) -> dict[date, str] | None:
    """Return, for each as-of, a digest of everything that its features depend on.

    These are the events known by then, and the attributes of the entities that exist and have not converted by then.

    Parameters
    ----------
    entities, events : ibis table
        Tables in canonical form.
    request : PanelRequest

    Returns
    -------
    dict of date to str, or None
        None where a block may read more than that: a `TableBlock`, or an `EntityBlock` that reads outcomes. None also
        if the database cannot hash rows.
    """
    blocks = request.blocks
    if any(isinstance(block, TableBlock) for block in blocks) or _reads_outcomes(entities, blocks):
        return None
    try:
        by_day, by_as_of = _events_by_day(events), _entities_by_as_of(entities, request)
    except OperationNotDefinedError:
        return None
    digests = {}
    for as_of in request.as_ofs:
        day = to_day(as_of)
        known = [row for row in by_day if row["known_day"] <= day]
        rows, total = sum(row["rows"] for row in known), sum(int(row["total"]) for row in known)
        parts = (day, rows, total, by_as_of.get(day))
        digests[as_of] = hashlib.sha256(repr(parts).encode()).hexdigest()
    return digests


def _events_by_day(events: ir.Table) -> list[dict[str, Any]]:
    query = events.group_by("known_day").aggregate(rows=events.count(), total=_total_hash(events, events.columns))
    rows: list[dict[str, Any]] = query.to_pyarrow().to_pylist()
    return rows


def _entities_by_as_of(entities: ir.Table, request: PanelRequest) -> dict[int, tuple[int, str]]:
    columns = [name for name in entities.columns if name not in OUTCOME_COLUMNS]
    rows = eligible_rows(entities, Times.at(request.as_ofs, request.windows).cutoffs)
    query = rows.group_by("as_of_day").aggregate(rows=rows.count(), total=_total_hash(rows, columns))
    return {row["as_of_day"]: (row["rows"], row["total"]) for row in query.to_pyarrow().to_pylist()}


def _total_hash(table: ir.Table, columns: Sequence[str]) -> ir.StringScalar:
    """Return the sum of the hashes of all rows, which does not depend on their order."""
    rows = ibis.struct({name: table[name] for name in columns})
    return rows.hash().cast("decimal(38, 0)").sum().cast("string")


def _reads_outcomes(entities: ir.Table, blocks: Sequence[Block]) -> bool:
    features = [feature for block in blocks if isinstance(block, EntityBlock) for feature in block.features(entities)]
    return any(
        field.name in OUTCOME_COLUMNS for feature in features for field in feature.expression.op().find(ops.Field)
    )
