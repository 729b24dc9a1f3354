"""From raw entities and their events to a model's inputs, by the query that builds the panel."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis
import pyarrow as pa

from mlsys.data.config import EventsData
from mlsys.data.expression_cache import repair_expression_cache
from mlsys.data.panel import PanelRequest, Times, input_columns, panel_query, time_columns
from mlsys.data.rules import EARLIEST, Rule, make_rule_book, typed_tables
from mlsys.data.sources import RawTables, canonical_entities, canonical_events, day_number
from serve.features.feature_config import blocks_of, check_inputs, read_recipe
from serve.features.raw import RawTable
from serve.features.request import check_request, check_rules, not_there, rule_warnings

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir

    from mlsys.runs import Run

# Rules about values, on which the data config decides. What else may be wrong with a raw table is refused.
DECIDED = ("negative_counts", "users_over_actions")
ROW = "row of the request"


class Built(NamedTuple):
    """The inputs of the entities of a request.

    Attributes
    ----------
    records : list of dict
        One for each entity, in the order in which they came: the model's inputs by name, None where missing.
    warnings : tuple of str
        What was not used, and what is odd.
    """

    records: list[dict[str, float | str | None]]
    warnings: tuple[str, ...]


class FeatureBuilder:
    """Computes a run's inputs from raw rows at an as-of, with the same blocks and the same query as the panel's.

    The queries are written once; a request only changes the tables that they read. Calls from several threads take
    turns.

    Parameters
    ----------
    run : Run
    max_entities, max_events : int
        Rows of one request.

    Attributes
    ----------
    entities, events : RawTable
        What a request holds.

    Raises
    ------
    NoFeaturesError
        Where the run's inputs are not computed from events.
    RunError
        Where they cannot be computed here.
    """

    def __init__(self, run: Run, *, max_entities: int = 1_000, max_events: int = 100_000) -> None:
        repair_expression_cache()
        data, types = read_recipe(run)
        self.entities = RawTable.of("entities", data, types["entities"])
        self.events = RawTable.of("events", data, types["events"])
        self._limits = {"entities": max_entities, "events": max_events}
        self._inputs = [column["name"] for column in run.schema["inputs"]]
        products = {kind: tuple(columns) for kind, columns in data.events.measures.items()}
        self._request = PanelRequest(
            blocks_of(run.config), [], data.horizon_days, EARLIEST, data.events.activity, products
        )
        self._lock = threading.Lock()
        # Joins in the order in which they are written, as where the panel is built. One thread: the rows are few.
        self._connection = ibis.duckdb.connect(threads=1, disabled_optimizers="join_order")
        try:
            self._write_queries(run, data)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database, which lies in memory, once nobody reads it."""
        with self._lock:
            self._connection.disconnect()

    def build(self, entities: Sequence[Any], events: Sequence[Any], as_of: str | date) -> Built:
        """Return the model's inputs of each entity at the as-of.

        Parameters
        ----------
        entities : sequence of mapping
            Rows as in the raw entity table: the id, and every attribute, be it null.
        events : sequence of mapping
            Rows as in the raw event table, of these entities. What was not known by the as-of is not used.
        as_of : str or date
            A day; text such as 2020-02-24.

        Raises
        ------
        InvalidInput
            Listing all that is wrong.
        """
        day = check_request(self.entities, self.events, self._limits, entities, events, as_of)
        with self._lock:
            self._fill(entities, events, day)
            flagged = self._run(self._checks)
            check_rules(self._rules, flagged)
            rows = self._run(self._query)
        by_id = {row.pop("id"): row for row in rows}
        ids = self.entities.ids(entities)
        not_there(self.entities, [row for row, one in enumerate(ids) if one not in by_id], day)
        return Built([_without_nan(by_id[one]) for one in ids], rule_warnings(self._rules, flagged, day))

    def _write_queries(self, run: Run, data: EventsData) -> None:
        outcome = data.outcome
        nobody = {outcome.id: self.entities.columns[0].type, outcome.time: pa.timestamp("us")}
        if outcome.value:
            nobody[outcome.value] = pa.float64()
        self._register("outcome", pa.schema(list(nobody.items())).empty_table())  # who is scored has not converted
        self._fill([], [], EARLIEST)
        entities, events, outcomes, cutoffs, calendar = (
            self._connection.table(name) for name in ("entities", "events", "outcome", "cutoffs", "calendar")
        )
        times = Times(cutoffs, calendar, calendar.day.min().as_scalar())
        raw = RawTables(self._connection, {"entities": entities}, outcomes, events)
        book = make_rule_book(data, raw)
        decided = [rule for rule in book.rules("events", events.columns) if rule.name in DECIDED]
        self._rules = [*decided, book.repeated_events()]
        self._checks = self._parsed(_checks(data, typed_tables(data, raw).events, self._rules, times))
        removed = [rule.breaks(events) for rule in decided if rule.removes]
        typed = typed_tables(data, replace(raw, events=events.filter(~ibis.or_(*removed)) if removed else events))
        panel, infos = panel_query(canonical_entities(data, typed), canonical_events(data, typed), self._request, times)
        check_inputs(run, infos)
        columns = input_columns(panel, infos)
        self._query = self._parsed(panel.select("id", **{name: columns[name] for name in self._inputs}))

    def _fill(self, entities: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], day: date) -> None:
        """Give the queries the tables of a request."""
        cutoffs, calendar = time_columns([day], self._request.windows)
        self._register("entities", self.entities.arrow(entities))
        rows = pa.array(range(len(events)), pa.int64())
        self._register("events", self.events.arrow(events).append_column(ROW, rows))
        self._register("cutoffs", pa.table(cutoffs))
        self._register("calendar", pa.table(calendar))

    def _register(self, name: str, table: pa.Table) -> None:
        self._connection.con.register(name, table)

    def _parsed(self, expression: ir.Table) -> duckdb.Statement:
        # Parsed once, which is a third of the work. It is planned at each call, for the tables as they then are.
        statements: list[duckdb.Statement] = self._connection.con.extract_statements(
            self._connection.compile(expression)
        )
        return statements[0]

    def _run(self, query: duckdb.Statement) -> list[dict[str, Any]]:
        result = self._connection.con.execute(query)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _checks(data: EventsData, events: ir.Table, rules: Sequence[Rule], times: Times) -> ir.Table:
    """Return the event rows that break a rule (``rule_0``, ``rule_1``, …) or were not known by the as-of (``late``)."""
    known = day_number(events[data.events.time]) + data.events.available_after_days
    flags = {f"rule_{number}": rule.breaks(events) for number, rule in enumerate(rules)}
    flags["late"] = known > times.cutoffs.as_of_day.max().as_scalar()
    flagged = events.select(row=events[ROW], **flags)
    return flagged.filter(ibis.or_(*(flagged[name] for name in flags))).order_by("row")


def _without_nan(record: dict[str, Any]) -> dict[str, float | str | None]:
    return {name: None if value != value else value for name, value in record.items()}
