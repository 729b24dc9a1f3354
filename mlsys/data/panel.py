"""Builds the panel: the spine plus feature columns, computed from what was known at each as-of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import ibis
import ibis.expr.operations as ops
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlsys.data.aggregates import aggregated, only_aggregates
from mlsys.data.compact import columns_of, compact_column, frame_of_columns
from mlsys.data.config import ActivityConfig, measure_names
from mlsys.data.engines import in_duckdb
from mlsys.data.negatives import NegativeSample
from mlsys.data.spine import build_spine, to_day
from mlsys.data.weight_column import SAMPLING_WEIGHT, TEST_WEIGHT
from mlsys.errors import ConfigError, DataError, Problem
from mlsys.features.base import (
    Block,
    EntityBlock,
    EventBlock,
    Feature,
    FeatureInfo,
    History,
    TableBlock,
    partial_aggregates,
    row_aggregates,
)
from mlsys.runs.hazards import INTERVAL_INPUTS
from mlsys.text import counted

if TYPE_CHECKING:
    import ibis.expr.types as ir

KEYS = ("id", "as_of", "label", "label_complete", "value", "activity", "group", "days_to_outcome", "days_known")
FROM_SPINE = ("id", "as_of_day", "label", "label_complete", "value", "days_to_outcome", "days_known")
REPEATED = "The panel has duplicate rows: a block's table must have at most one row per id and as_of_day."
WEIGHTS = (SAMPLING_WEIGHT, TEST_WEIGHT)
RESERVED = frozenset({*KEYS, *FROM_SPINE, *INTERVAL_INPUTS, *WEIGHTS})


@dataclass(frozen=True)
class Treatment:
    """The feature column that says which rows were treated.

    Attributes
    ----------
    column : str
        Name of the feature.
    treated, control : float or str
        The two values of that feature, as the panel has them.
    names : tuple of two str
        The same two values as the raw table has them.
    """

    column: str
    treated: float | str
    control: float | str
    names: tuple[str, str]

    def arms(self, inputs: pd.DataFrame) -> pd.Series[bool]:
        """Return whether each row was treated."""
        return inputs[self.column] == self.treated


@dataclass(frozen=True)
class Panel:
    """Rows for training and evaluation.

    Attributes
    ----------
    frame : DataFrame
        ``id``; ``as_of`` (datetime64, midnight UTC; NaT for a table without a time column); ``label`` (int8);
        ``label_complete`` (bool); ``value`` (float64, currency per month, NaN unless the label is 1); ``activity``
        (float64, the baseline's score); ``group`` (splits keep rows of one group together); ``days_to_outcome`` and
        ``days_known`` (float64, see :func:`mlsys.data.spine.build_spine`; NaN for a flat table); with
        ``data.negatives``, also ``sampling_weight`` (float64, the rows that a training row stands for; 0 for rows that
        are only tested) and, if tests are on all rows, ``test_weight``; then the features: numbers, as float32 where
        that is exact and else as float64, or strings. Each column has memory of its own.
    features : tuple of FeatureInfo
        The feature columns, in order.
    treatment : Treatment or None
        The feature that says which rows were treated, if the config names one.
    """

    frame: pd.DataFrame
    features: tuple[FeatureInfo, ...]
    treatment: Treatment | None = None

    @property
    def names(self) -> list[str]:
        """Names of the feature columns."""
        return [feature.name for feature in self.features]

    @property
    def raw_names(self) -> dict[str, str]:
        """Names of raw columns that differ from the names of their features, each with that of the feature."""
        return {feature.raw_name: feature.name for feature in self.features if feature.raw_name is not None}

    @cached_property
    def inputs(self) -> pd.DataFrame:
        """The feature columns, which share the memory of the frame."""
        return columns_of(self.frame, self.names)

    @property
    def numbers(self) -> list[str]:
        """Names of the number columns."""
        return [feature.name for feature in self.features if feature.kind == "number"]

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Rows that each training row stands for, shape (n_rows,); None if no row was left out."""
        return self.frame[SAMPLING_WEIGHT].to_numpy() if SAMPLING_WEIGHT in self.frame else None

    @property
    def test_weights(self) -> NDArray[np.float64] | None:
        """Rows that each test row stands for, shape (n_rows,); None if no row was left out."""
        return self.frame[TEST_WEIGHT].to_numpy() if TEST_WEIGHT in self.frame else self.weights


@dataclass(frozen=True)
class PanelRequest:
    """Specification of a panel to build; without a sample, it has all rows."""

    blocks: Sequence[Block]
    as_ofs: Sequence[date]
    horizon_days: int
    end: date
    activity: ActivityConfig
    products: dict[str, tuple[str, ...]]
    sample: NegativeSample | None = None

    @property
    def windows(self) -> list[int]:
        """Lengths, in days, of all windows used by blocks and the activity baseline."""
        blocks = [block for block in self.blocks if isinstance(block, EventBlock)]
        return sorted({days for block in blocks for days in block.windows} | {self.activity.days})


@dataclass(frozen=True)
class Times:
    """As-ofs and window edges, as tables that the panel's query reads.

    Attributes
    ----------
    cutoffs : ibis table
        The as-ofs, in column ``as_of_day``.
    calendar : ibis table
        One row per day, with ``day`` and ``until_day``, the edge of the cell that the day belongs to.
    first_edge : int or ibis scalar
        The first day of the calendar.
    """

    cutoffs: ir.Table
    calendar: ir.Table
    first_edge: int | ir.IntegerScalar

    @classmethod
    def at(cls, as_ofs: Sequence[date], windows: Sequence[int]) -> Self:
        """Return in-memory tables for as-ofs and window lengths in days."""
        cutoffs, calendar = time_columns(as_ofs, windows)
        return cls(
            ibis.memtable(cutoffs, schema=dict.fromkeys(cutoffs, "int64")),
            ibis.memtable(calendar, schema=dict.fromkeys(calendar, "int64")),
            calendar["day"][0],
        )


def time_columns(as_ofs: Sequence[date], windows: Sequence[int]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return the columns of the cut-off table and of the calendar table of :class:`Times`.

    Examples
    --------
    >>> time_columns([date(1970, 1, 11)], [3])
    ({'as_of_day': [10]}, {'day': [7, 8, 9, 10], 'until_day': [7, 10, 10, 10]})
    """
    days = [to_day(as_of) for as_of in as_ofs]
    edges = sorted({day - back for day in days for back in (0, *windows)})
    calendar, until = [edges[0]], [edges[0]]
    for start, end in pairwise(edges):
        calendar += range(start + 1, end + 1)
        until += [end] * (end - start)
    return {"as_of_day": days}, {"day": calendar, "until_day": until}


def build_panel(entities: ir.Table, events: ir.Table, request: PanelRequest) -> Panel:
    """Compute the panel in one query and load it into memory, sorted by as-of and id.

    Parameters
    ----------
    entities, events : ibis table
        Tables in canonical form (:func:`mlsys.data.sources.canonical_entities`, ``canonical_events``).
    request : PanelRequest
        The blocks, as-ofs and label window.

    Raises
    ------
    DataError
        If no row is eligible, or a block repeats rows.
    ConfigError
        If two blocks give the same column.
    """
    table, infos = panel_query(entities, events, request, Times.at(request.as_ofs, request.windows))
    keys = {name: table[name] for name in (*FROM_SPINE, *WEIGHTS) if name in table.columns}
    rows = sorted_rows(table.select(**keys, **_feature_columns(table, infos)))
    features = {name: compact_column([rows[name]]) for name in rows.column_names if name not in keys}
    return Panel(panel_frame(rows, features, request.as_ofs), tuple(infos))


def panel_frame(labels: pa.Table, features: Mapping[str, Any], as_ofs: Sequence[date | str]) -> pd.DataFrame:
    """Return the rows of a panel, sorted by as-of and id, as the frame of a `Panel`.

    Parameters
    ----------
    labels : Table
        With the columns of the spine.
    features : mapping of str to array
        The columns of the features and the activity, which the frame shares.
    as_ofs : sequence of date or str
        Named in the error.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if not labels.num_rows:
        raise DataError(
            f"The panel is empty: no entity exists and is unconverted at any as-of from {as_ofs[0]} to "
            f"{as_ofs[-1]} ({counted(len(as_ofs), 'as-of')}). Check data.entities, data.outcome.time "
            "and data.spine."
        )
    weights = [name for name in WEIGHTS if name in labels.column_names]
    columns: dict[str, Any] = {name: labels[name].to_pandas() for name in (*FROM_SPINE, *weights)} | dict(features)
    days = pd.Series(columns["as_of_day"])
    columns["as_of"] = pd.to_datetime(days, unit="D").astype("datetime64[us]")
    columns["group"], columns["activity"] = columns["id"], np.asarray(features["activity"], dtype=np.float64)
    names = [*KEYS, *weights, *(name for name in features if name not in RESERVED)]
    return frame_of_columns({name: columns[name] for name in names})


def panel_query(
    entities: ir.Table,
    events: ir.Table,
    request: PanelRequest,
    times: Times,
    cells: ir.Table | None = None,
    attributes: ir.Table | None = None,
) -> tuple[ir.Table, list[FeatureInfo]]:
    """Return the panel as an expression, and the metadata of its feature columns.

    Runs no query if the tables are in DuckDB. Another engine joins and aggregates at once, and DuckDB computes the
    features from its answer, because engines differ in the last bit of a logarithm and in what they take for a space.

    Parameters
    ----------
    entities, events, request
        See :func:`build_panel`.
    times : Times
        The as-ofs that the query uses; those of the request are ignored.
    cells : ibis table, optional
        The `event_cells` of all events, where they have been computed already.
    attributes : ibis table, optional
        The entities for the entity blocks, where they have been fetched already.
    """
    spine = _spine(entities, times.cutoffs, request)
    if cells is None:
        cells = event_cells(events, request, times)
    events = with_totals(events, request.products)
    table, infos = _event_columns(spine, cells, request)
    attributes = in_duckdb(entities) if attributes is None else attributes
    entity_table, entity_infos = _entity_columns(attributes, request.blocks)
    table, infos = table.left_join(entity_table, "id").drop("id_right"), infos + entity_infos
    for block in request.blocks:
        if isinstance(block, TableBlock):
            infos += block.infos
            extra = block.table(spine, events).select("id", "as_of_day", *(info.name for info in block.infos))
            table = table.left_join(in_duckdb(extra), ["id", "as_of_day"]).drop("id_right", "as_of_day_right")
    _check_names([info.name for info in infos])
    return table, infos


def engine_query(entities: ir.Table, events: ir.Table, request: PanelRequest, times: Times) -> ir.Table:
    """Return what another engine than DuckDB computes for a panel: spine and aggregates of events; runs no query.

    Parameters
    ----------
    entities, events, request, times
        See :func:`panel_query`.
    """
    spine = _spine(entities, times.cutoffs, request)
    visible = _visible(spine, event_cells(events, request, times))
    columns = {feature.name: feature.expression for feature in _event_features(visible, request)}
    return only_aggregates(visible, spine.columns, columns)


def input_columns(table: ir.Table, infos: Sequence[FeatureInfo]) -> dict[str, ir.Column]:
    """Return the feature columns of a panel's expression with the panel's types: float64 or string."""
    # Cast in the query: Ibis's own conversion to pandas takes longer than the query itself.
    return {info.name: _number(table[info.name]) if info.kind == "number" else table[info.name] for info in infos}


def with_totals(events: ir.Table, products: dict[str, tuple[str, ...]]) -> ir.Table:
    """Add each kind's total over products: the sum, but for users the maximum, as one person uses several products."""
    totals = {}
    for kind, names in products.items():
        columns = [events[f"{kind}_{name}"].fill_null(0) for name in names]
        # Not all databases accept GREATEST with a single argument.
        totals[kind] = ibis.greatest(*columns) if kind == "users" and len(columns) > 1 else sum(columns)
    return events.mutate(**totals)


def event_cells(events: ir.Table, request: PanelRequest, times: Times) -> ir.Table:
    """Aggregate events into cells, one per entity and days between two edges; linear in events."""
    # Events known before the first edge fall into one cell, which only all-time aggregates use.
    events, calendar = with_totals(events, request.products), times.calendar
    dated = events.inner_join(calendar, ibis.greatest(events.known_day, times.first_edge) == calendar.day)
    partials = row_aggregates(dated)
    for measure in measure_names(request.products):
        partials |= partial_aggregates(dated, measure)
    return dated.group_by("id", "until_day").aggregate(**partials)


def used_cell_columns(cells: ir.Table, request: PanelRequest) -> list[str]:
    """Return the columns of `event_cells` that the request's features need."""
    visible = ibis.table({**dict(cells.schema().items()), "as_of_day": "int64"}, name="visible")
    fields = [field.name for one in _event_features(visible, request) for field in one.expression.op().find(ops.Field)]
    return [name for name in cells.columns if name in {"id", "until_day", *fields}]


def features_query(
    entities: ir.Table,
    events: ir.Table,
    request: PanelRequest,
    times: Times,
    cells: ir.Table,
    attributes: ir.Table | None = None,
) -> ir.Table:
    """Return the features of the as-ofs of `times` as an expression: the columns that no label can change.

    Parameters
    ----------
    entities, events, request, times, cells, attributes
        See :func:`panel_query`.

    Returns
    -------
    ibis table
        Columns id, as_of_day, activity and the features.
    """
    table, infos = panel_query(entities, events, request, times, cells, attributes)
    return table.select("id", "as_of_day", **_feature_columns(table, infos))


def build_labels(entities: ir.Table, request: PanelRequest) -> pa.Table:
    """Compute the spine of all as-ofs, sorted by as-of and id."""
    return sorted_rows(_spine(entities, request.as_ofs, request))


def row_counts(entities: ir.Table, request: PanelRequest) -> tuple[int, int]:
    """Return the number of rows of the spine, and of those with a conversion."""
    spine = _spine(entities, request.as_ofs, request)
    counts = spine.aggregate(rows=spine.count(), positives=spine.label.sum()).to_pyarrow().to_pylist()[0]
    return int(counts["rows"]), int(counts["positives"] or 0)


def _spine(entities: ir.Table, as_ofs: Sequence[date] | ir.Table, request: PanelRequest) -> ir.Table:
    """Return the rows to compute features for; see :func:`mlsys.data.spine.build_spine`."""
    spine = build_spine(entities, as_ofs, horizon_days=request.horizon_days, end=request.end)
    return spine if request.sample is None else request.sample.of_spine(spine)


def _event_columns(spine: ir.Table, cells: ir.Table, request: PanelRequest) -> tuple[ir.Table, list[FeatureInfo]]:
    """Return the spine with the columns of the event blocks."""
    visible = _visible(spine, cells)
    *features, baseline = _event_features(visible, request)
    columns = {feature.name: feature.expression for feature in (*features, baseline)}
    return aggregated(visible, spine.columns, columns), [_info(feature) for feature in features]


def _visible(spine: ir.Table, cells: ir.Table) -> ir.Table:
    """Return each spine row with the cells that end by its as-of."""
    return spine.left_join(cells, [spine.id == cells.id, cells.until_day <= spine.as_of_day]).drop("id_right")


def _event_features(visible: ir.Table, request: PanelRequest) -> list[Feature]:
    """Return what the event blocks compute from visible cells, and last the activity baseline."""
    history = History(visible, measure_names(request.products), request.windows)
    blocks = [block for block in request.blocks if isinstance(block, EventBlock)]
    features = [feature for block in blocks for feature in block.features(history)]
    _check_names([feature.name for feature in features])
    activity = history.max(request.activity.measure, request.activity.days)
    return [*features, Feature("activity", activity, "the activity baseline")]


def _entity_columns(entities: ir.Table, blocks: Sequence[Block]) -> tuple[ir.Table, list[FeatureInfo]]:
    features = [feature for block in blocks if isinstance(block, EntityBlock) for feature in block.features(entities)]
    _check_names([feature.name for feature in features])
    columns = {feature.name: feature.expression for feature in features}
    return entities.select("id", **columns), [_info(feature) for feature in features]


def _info(feature: Feature) -> FeatureInfo:
    kind = feature.expression.type()
    if not (kind.is_string() or kind.is_numeric() or kind.is_boolean() or kind.is_null()):
        problem = Problem("features.blocks", f"{feature.name} of type {kind}", "a number, a boolean or a string")
        raise ConfigError(
            "The feature set", [problem], "Convert it to a number, such as a date to days before the as-of."
        )
    return FeatureInfo(feature.name, "category" if kind.is_string() else "number", feature.description, feature.unit)


def _check_names(names: Sequence[str]) -> None:
    folded = [name.casefold() for name in names]  # databases compare names case-insensitively
    invalid = sorted({name for name in names if folded.count(name.casefold()) > 1 or name.casefold() in RESERVED})
    if invalid:
        allowed = "unique column names other than " + ", ".join(sorted(RESERVED))
        raise ConfigError(
            "The feature set",
            [Problem("features.blocks", name, allowed) for name in invalid],
            "Rename the columns, or remove one of the blocks.",
        )


def _feature_columns(table: ir.Table, infos: Sequence[FeatureInfo]) -> dict[str, ir.Column]:
    return {"activity": _number(table.activity), **input_columns(table, infos)}


def sorted_rows(table: ir.Table) -> pa.Table:
    """Run a query; return its rows sorted by as-of and id."""
    # Sorted here because databases sort text differently.
    rows = table.to_pyarrow().sort_by([("as_of_day", "ascending"), ("id", "ascending")])
    keys = [rows[name].combine_chunks() for name in ("as_of_day", "id")]
    same = [pc.equal(key[1:], key[:-1]) for key in keys]
    if pc.any(pc.and_(*same)).as_py():
        raise DataError(REPEATED)
    return rows


def _number(column: ir.Column) -> ir.FloatingColumn:
    if column.type().is_boolean():  # PostgreSQL rejects this cast
        return ibis.cases((column, 1.0), (~column, 0.0))
    return column.cast("float64")
