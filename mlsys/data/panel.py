"""The panel: the spine plus feature columns, each seeing only what its as-of could know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import ibis
import pandas as pd

from mlsys.data.config import ActivityConfig, measure_names
from mlsys.data.spine import build_spine, to_day
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
)

if TYPE_CHECKING:
    import ibis.expr.types as ir

KEYS = ("id", "as_of", "label", "label_complete", "value", "activity", "group")
RESERVED = frozenset({*KEYS, "as_of_day"})


@dataclass(frozen=True)
class Panel:
    """Rows to learn from and to be measured on.

    Attributes
    ----------
    frame : DataFrame
        ``id``; ``as_of`` (datetime64, midnight UTC; NaT for a table without time); ``label`` (int8); ``label_complete``
        (bool); ``value`` (float64, currency a month, where the label is 1); ``activity`` (float64, the baseline's
        score); ``group`` (rows of one group never part); then the features: float64 or string.
    features : tuple of FeatureInfo
        In column order.
    """

    frame: pd.DataFrame
    features: tuple[FeatureInfo, ...]

    @property
    def names(self) -> list[str]:
        """Names of the feature columns."""
        return [feature.name for feature in self.features]

    @property
    def inputs(self) -> pd.DataFrame:
        """The feature columns."""
        return self.frame[self.names]


@dataclass(frozen=True)
class PanelRequest:
    """What to build: blocks at as-ofs."""

    blocks: Sequence[Block]
    as_ofs: Sequence[date]
    horizon_days: int
    end: date
    activity: ActivityConfig
    products: dict[str, tuple[str, ...]]

    @property
    def windows(self) -> list[int]:
        """Lengths in days of all windows that blocks and the activity baseline look at."""
        blocks = [block for block in self.blocks if isinstance(block, EventBlock)]
        return sorted({days for block in blocks for days in block.windows} | {self.activity.days})


@dataclass(frozen=True)
class Times:
    """As-ofs and the edges of the windows before them, as tables that a query reads.

    Attributes
    ----------
    cutoffs : ibis table
        ``as_of_day``.
    calendar : ibis table
        ``day`` and ``until_day``, the edge up to which the day's events are summed.
    first_edge : int or ibis scalar
        The first of the days.
    """

    cutoffs: ir.Table
    calendar: ir.Table
    first_edge: int | ir.IntegerScalar

    @classmethod
    def at(cls, as_ofs: Sequence[date], windows: Sequence[int]) -> Self:
        """Return the tables, in memory, for as-ofs and window lengths in days."""
        cutoffs, calendar = time_columns(as_ofs, windows)
        return cls(
            ibis.memtable(cutoffs, schema=dict.fromkeys(cutoffs, "int64")),
            ibis.memtable(calendar, schema=dict.fromkeys(calendar, "int64")),
            calendar["day"][0],
        )


def time_columns(as_ofs: Sequence[date], windows: Sequence[int]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return the columns of :class:`Times`: of its cutoffs, and of its calendar.

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
    """Compute the panel in one query and bring it into memory, sorted by as-of and id.

    Parameters
    ----------
    entities, events : ibis table
        In canonical form (:func:`mlsys.data.sources.canonical_entities`, ``canonical_events``).
    request : PanelRequest
        Blocks, as-ofs and label window.

    Raises
    ------
    DataError
        Where there is no eligible row.
    ConfigError
        Where two blocks give the same column.
    """
    table, infos = panel_query(entities, events, request, Times.at(request.as_ofs, request.windows))
    frame = _fetch(table, infos)
    if frame.duplicated(["id", "as_of"]).any():
        raise DataError("The panel repeats rows: a block's table must give one row for an id and as_of_day at most.")
    if frame.empty:
        raise DataError(
            f"The panel is empty: no entity exists and is still unconverted at any of the {len(request.as_ofs)} as-ofs "
            f"from {request.as_ofs[0]} to {request.as_ofs[-1]}. Check data.entities, data.outcome.time and data.spine."
        )
    return Panel(frame, tuple(infos))


def panel_query(
    entities: ir.Table, events: ir.Table, request: PanelRequest, times: Times
) -> tuple[ir.Table, list[FeatureInfo]]:
    """Return the panel as an expression, and what its feature columns are; nothing is run.

    Parameters
    ----------
    entities, events, request
        As for :func:`build_panel`.
    times : Times
        The as-ofs as the query reads them; those of the request are not used.
    """
    spine = build_spine(entities, times.cutoffs, horizon_days=request.horizon_days, end=request.end)
    events = with_totals(events, request.products)
    table, infos = _event_columns(spine, events, request, times)
    companies, more = _entity_columns(entities, request.blocks)
    table, infos = table.left_join(companies, "id").drop("id_right"), infos + more
    for block in request.blocks:
        if isinstance(block, TableBlock):
            infos += block.infos
            extra = block.table(spine, events).select("id", "as_of_day", *(info.name for info in block.infos))
            table = table.left_join(extra, ["id", "as_of_day"]).drop("id_right", "as_of_day_right")
    _check_names([info.name for info in infos])
    return table, infos


def input_columns(table: ir.Table, infos: Sequence[FeatureInfo]) -> dict[str, ir.Column]:
    """Return the feature columns of a panel's expression in the types that a panel has: float64 or string."""
    # Types are cast where the query runs: Ibis' own way to pandas takes longer than the query.
    return {info.name: _number(table[info.name]) if info.kind == "number" else table[info.name] for info in infos}


def with_totals(events: ir.Table, products: dict[str, tuple[str, ...]]) -> ir.Table:
    """Add each kind's total: the sum over products, but for users the largest, as one person uses several products."""
    totals = {}
    for kind, names in products.items():
        columns = [events[f"{kind}_{name}"].fill_null(0) for name in names]
        # Not all databases take the greatest of one.
        totals[kind] = ibis.greatest(*columns) if kind == "users" and len(columns) > 1 else sum(columns)
    return events.mutate(**totals)


def _event_columns(
    spine: ir.Table, events: ir.Table, request: PanelRequest, times: Times
) -> tuple[ir.Table, list[FeatureInfo]]:
    """Return the spine with the event blocks' columns."""
    blocks = [block for block in request.blocks if isinstance(block, EventBlock)]
    measures = measure_names(request.products)
    visible = _visible_cells(spine, events, times, measures)
    history = History(visible, measures, request.windows)
    features = [feature for block in blocks for feature in block.features(history)]
    baseline = Feature(
        "activity", history.max(request.activity.measure, request.activity.days), "the activity baseline"
    )
    _check_names([feature.name for feature in features])
    columns = {feature.name: feature.expression for feature in (*features, baseline)}
    return visible.group_by(spine.columns).aggregate(**columns), [_info(feature) for feature in features]


def _visible_cells(spine: ir.Table, events: ir.Table, times: Times, measures: Sequence[str]) -> ir.Table:
    """Sum events up to cells (linear in events), then give each spine row the cells that end by its as-of."""
    # Whatever was known before the first edge lies in one cell that only all-time aggregates reach.
    calendar = times.calendar
    dated = events.inner_join(calendar, ibis.greatest(events.known_day, times.first_edge) == calendar.day)
    partials: dict[str, ir.NumericValue] = {}
    for measure in measures:
        partials |= partial_aggregates(dated, measure)
    cells = dated.group_by("id", "until_day").aggregate(**partials)
    return spine.left_join(cells, [spine.id == cells.id, cells.until_day <= spine.as_of_day]).drop("id_right")


def _entity_columns(entities: ir.Table, blocks: Sequence[Block]) -> tuple[ir.Table, list[FeatureInfo]]:
    features = [feature for block in blocks if isinstance(block, EntityBlock) for feature in block.features(entities)]
    _check_names([feature.name for feature in features])
    columns = {feature.name: feature.expression for feature in features}
    return entities.select("id", **columns), [_info(feature) for feature in features]


def _info(feature: Feature) -> FeatureInfo:
    kind = feature.expression.type()
    if not (kind.is_string() or kind.is_numeric() or kind.is_boolean() or kind.is_null()):
        problem = Problem("features.blocks", f"{feature.name} of type {kind}", "a number, a boolean or a string")
        raise ConfigError("The feature set", [problem], "Make a number of it: a date, say, days before the as-of.")
    return FeatureInfo(feature.name, "category" if kind.is_string() else "number", feature.description, feature.unit)


def _check_names(names: Sequence[str]) -> None:
    folded = [name.casefold() for name in names]  # as databases compare them
    wrong = sorted({name for name in names if folded.count(name.casefold()) > 1 or name.casefold() in RESERVED})
    if wrong:
        allowed = "each column once, and none of " + ", ".join(sorted(RESERVED))
        raise ConfigError(
            "The feature set",
            [Problem("features.blocks", name, allowed) for name in wrong],
            "Rename the columns of a block or leave it out.",
        )


def _fetch(table: ir.Table, infos: Sequence[FeatureInfo]) -> pd.DataFrame:
    keys = {name: table[name] for name in ("id", "as_of_day", "label", "label_complete", "value")}
    rows = table.select(**keys, activity=_number(table.activity), **input_columns(table, infos)).to_pyarrow()
    # Not by the database: each orders text in its own way.
    frame: pd.DataFrame = rows.sort_by([("as_of_day", "ascending"), ("id", "ascending")]).to_pandas()
    frame.insert(1, "as_of", pd.to_datetime(frame.pop("as_of_day"), unit="D").astype("datetime64[us]"))
    frame.insert(KEYS.index("group"), "group", frame["id"])
    return frame


def _number(column: ir.Column) -> ir.FloatingColumn:
    if column.type().is_boolean():  # PostgreSQL refuses to cast these
        return ibis.cases((column, 1.0), (~column, 0.0))
    return column.cast("float64")
