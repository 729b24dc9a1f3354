"""Computes a model's inputs from raw entities and their events, with the query that builds the panel."""

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
from serve.features.feature_config import blocks_of, check_inputs, read_feature_config
from serve.features.raw import RawTable
from serve.features.request import check_existence, check_request, check_rules, rule_warnings

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir

    from mlsys.runs import Run

# Rules about values, whose action is set in the data config. Any other problem in a raw table is refused.
CONFIGURED_RULES = ("negative_counts", "users_over_actions")
ROW = "row of the request"


class Built(NamedTuple):
    """The model inputs for the entities of a request.

    Attributes
    ----------
    records : list of dict
        One record for each entity, in the order of the request: the model's inputs by name, None if missing.
    warnings : tuple of str
        Events that were not used or that break a rule.
    """

    records: list[dict[str, float | str | None]]
    warnings: tuple[str, ...]


class FeatureBuilder:
    """Computes a run's inputs from raw rows at an as-of, with the panel's blocks and query.

    The queries are compiled once; a request only replaces the tables that they read. Calls from several threads run one
    after the other.

    Parameters
    ----------
    run : Run
    max_entities, max_events : int
        Maximum number of rows in one request.

    Attributes
    ----------
    entities, events : RawTable
        The tables of a request.

    Raises
    ------
    NoFeaturesError
        If the run's inputs are not computed from events.
    RunError
        If the inputs cannot be computed with the installed code.
    """

    def __init__(self, run: Run, *, max_entities: int = 1_000, max_events: int = 100_000) -> None:
        repair_expression_cache()
        data, types = read_feature_config(run)
        self.entities = RawTable.of("entities", data, types)
        self.events = RawTable.of("events", data, types)
        self._limits = {"entities": max_entities, "events": max_events}
        self._inputs = [column["name"] for column in run.schema["inputs"]]
        products = {kind: tuple(columns) for kind, columns in data.events.measures.items()}
        self._request = PanelRequest(
            blocks_of(run.config), [], data.horizon_days, EARLIEST, data.events.activity, products
        )
        self._lock = threading.Lock()
        # Joins run in the order in which they are written, as in training. One thread is enough for so few rows.
        self._connection = ibis.duckdb.connect(threads=1, disabled_optimizers="join_order")
        try:
            self._compile_queries(run, data)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the in-memory database, once no call is using it."""
        with self._lock:
            self._connection.disconnect()

    def build(self, entities: Sequence[Any], events: Sequence[Any], as_of: str | date) -> Built:
        """Return the model's inputs of each entity at the as-of.

        Parameters
        ----------
        entities : sequence of mapping
            Rows of the raw entity table: the id and every attribute, which may be null.
        events : sequence of mapping
            Rows of the raw event table for these entities. Events not known by the as-of are not used.
        as_of : str or date
            A day; as text, such as 2020-02-24.

        Raises
        ------
        InvalidInput
            If the request is wrong; lists all problems.
        """
        day = check_request(self.entities, self.events, self._limits, entities, events, as_of)
        with self._lock:
            self._register_request(entities, events, day)
            flagged = self._execute(self._checks)
            check_rules(self._rules, flagged)
            rows = self._execute(self._query)
        by_id = {row.pop("id"): row for row in rows}
        ids = self.entities.ids(entities)
        check_existence(self.entities, [row for row, id_ in enumerate(ids) if id_ not in by_id], day)
        return Built([_without_nan(by_id[id_]) for id_ in ids], rule_warnings(self._rules, flagged, day))

    def _compile_queries(self, run: Run, data: EventsData) -> None:
        outcome = data.outcome
        outcome_types = {outcome.id: self.entities.columns[0].type, outcome.time: pa.timestamp("us")}
        if outcome.value:
            outcome_types[outcome.value] = pa.float64()
        self._register(
            "outcome", pa.schema(list(outcome_types.items())).empty_table()
        )  # empty, as nobody to be scored has converted
        self._register_request([], [], EARLIEST)
        entities, events, outcomes, cutoffs, calendar = (
            self._connection.table(name) for name in ("entities", "events", "outcome", "cutoffs", "calendar")
        )
        times = Times(cutoffs, calendar, calendar.day.min().as_scalar())
        raw = RawTables(self._connection, {"entities": entities}, outcomes, events)
        book = make_rule_book(data, raw)
        configured = [rule for rule in book.rules("events", events.columns) if rule.name in CONFIGURED_RULES]
        self._rules = [*configured, book.repeated_events()]
        self._checks = self._parsed(_checks(data, typed_tables(data, raw).events, self._rules, times))
        removed = [rule.breaks(events) for rule in configured if rule.removes]
        typed = typed_tables(data, replace(raw, events=events.filter(~ibis.or_(*removed)) if removed else events))
        panel, infos = panel_query(canonical_entities(data, typed), canonical_events(data, typed), self._request, times)
        check_inputs(run, infos)
        columns = input_columns(panel, infos)
        self._query = self._parsed(panel.select("id", **{name: columns[name] for name in self._inputs}))

    def _register_request(
        self, entities: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], day: date
    ) -> None:
        """Register the tables of a request for the queries to read."""
        cutoffs, calendar = time_columns([day], self._request.windows)
        self._register("entities", self.entities.arrow(entities))
        rows = pa.array(range(len(events)), pa.int64())
        self._register("events", self.events.arrow(events).append_column(ROW, rows))
        self._register("cutoffs", pa.table(cutoffs))
        self._register("calendar", pa.table(calendar))

    def _register(self, name: str, table: pa.Table) -> None:
        self._connection.con.register(name, table)

    def _parsed(self, expression: ir.Table) -> duckdb.Statement:
        # Parsing once saves a third of the work. Each call still plans the query, for the tables registered then.
        statements: list[duckdb.Statement] = self._connection.con.extract_statements(
            self._connection.compile(expression)
        )
        return statements[0]

    def _execute(self, query: duckdb.Statement) -> list[dict[str, Any]]:
        result = self._connection.con.execute(query)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _checks(data: EventsData, events: ir.Table, rules: Sequence[Rule], times: Times) -> ir.Table:
    """Return the event rows that break a rule (``rule_0``, ``rule_1``, …) or were unknown at the as-of (``late``)."""
    known = day_number(events[data.events.time]) + data.events.available_after_days
    flags = {f"rule_{number}": rule.breaks(events) for number, rule in enumerate(rules)}
    flags["late"] = known > times.cutoffs.as_of_day.max().as_scalar()
    flagged = events.select(row=events[ROW], **flags)
    return flagged.filter(ibis.or_(*(flagged[name] for name in flags))).order_by("row")


def _without_nan(record: dict[str, Any]) -> dict[str, float | str | None]:
    return {name: None if value != value else value for name, value in record.items()}
