"""The panel: the spine plus feature columns, each seeing only what its as-of could know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

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
    spine = build_spine(entities, request.as_ofs, horizon_days=request.horizon_days, end=request.end)
    events = with_totals(events, request.products)
    table, infos = _event_columns(spine, events, request)
    companies, more = _entity_columns(entities, request.blocks)
    table, infos = table.left_join(companies, "id").drop("id_right"), infos + more
    for block in request.blocks:
        if isinstance(block, TableBlock):
            infos += block.infos
            extra = block.table(spine, events).select("id", "as_of_day", *(info.name for info in block.infos))
            table = table.left_join(extra, ["id", "as_of_day"]).drop("id_right", "as_of_day_right")
    _check_names([info.name for info in infos])
    frame = _fetch(table, infos)
    if frame.duplicated(["id", "as_of"]).any():
        raise DataError("The panel repeats rows: a block's table must give one row for an id and as_of_day at most.")
    if frame.empty:
        raise DataError(
            f"The panel is empty: no entity exists and is still unconverted at any of the {len(request.as_ofs)} as-ofs "
            f"from {request.as_ofs[0]} to {request.as_ofs[-1]}. Check data.entities, data.outcome.time and data.spine."
        )
    return Panel(frame, tuple(infos))


def with_totals(events: ir.Table, products: dict[str, tuple[str, ...]]) -> ir.Table:
    """Add each kind's total: the sum over products, but for users the largest, as one person uses several products."""
    totals = {}
    for kind, names in products.items():
        columns = [events[f"{kind}_{name}"].fill_null(0) for name in names]
        # Not all databases take the greatest of one.
        totals[kind] = ibis.greatest(*columns) if kind == "users" and len(columns) > 1 else sum(columns)
    return events.mutate(**totals)


def _event_columns(spine: ir.Table, events: ir.Table, request: PanelRequest) -> tuple[ir.Table, list[FeatureInfo]]:
    """Return the spine with the event blocks' columns."""
    blocks = [block for block in request.blocks if isinstance(block, EventBlock)]
    windows = sorted({days for block in blocks for days in block.windows} | {request.activity.days})
    measures = measure_names(request.products)
    visible = _visible_cells(spine, events, _edges(request.as_ofs, windows), measures)
    history = History(visible, measures, windows)
    features = [feature for block in blocks for feature in block.features(history)]
    baseline = Feature(
        "activity", history.max(request.activity.measure, request.activity.days), "the activity baseline"
    )
    _check_names([feature.name for feature in features])
    columns = {feature.name: feature.expression for feature in (*features, baseline)}
    return visible.group_by(spine.columns).aggregate(**columns), [_info(feature) for feature in features]


def _edges(as_ofs: Sequence[date], windows: Sequence[int]) -> list[int]:
    days = [to_day(as_of) for as_of in as_ofs]
    return sorted({day - back for day in days for back in (0, *windows)})


def _visible_cells(spine: ir.Table, events: ir.Table, edges: Sequence[int], measures: Sequence[str]) -> ir.Table:
    """Sum events up to cells (linear in events), then give each spine row the cells that end by its as-of."""
    calendar = ibis.memtable(_calendar(edges), schema={"day": "int64", "until_day": "int64"})
    # Whatever was known before the first edge lies in one cell that only all-time aggregates reach.
    dated = events.inner_join(calendar, ibis.greatest(events.known_day, edges[0]) == calendar.day)
    partials: dict[str, ir.NumericValue] = {}
    for measure in measures:
        partials |= partial_aggregates(dated, measure)
    cells = dated.group_by("id", "until_day").aggregate(**partials)
    return spine.left_join(cells, [spine.id == cells.id, cells.until_day <= spine.as_of_day]).drop("id_right")


def _calendar(edges: Sequence[int]) -> dict[str, list[int]]:
    days, until = [edges[0]], [edges[0]]
    for start, end in pairwise(edges):
        days += range(start + 1, end + 1)
        until += [end] * (end - start)
    return {"day": days, "until_day": until}


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
    # Types are cast where the query runs and rows come as Arrow: Ibis' own way to pandas takes longer than the query.
    columns = {info.name: _number(table[info.name]) if info.kind == "number" else table[info.name] for info in infos}
    keys = {name: table[name] for name in ("id", "as_of_day", "label", "label_complete", "value")}
    rows = table.select(**keys, activity=_number(table.activity), **columns).to_pyarrow()
    # Not by the database: each orders text in its own way.
    frame: pd.DataFrame = rows.sort_by([("as_of_day", "ascending"), ("id", "ascending")]).to_pandas()
    frame.insert(1, "as_of", pd.to_datetime(frame.pop("as_of_day"), unit="D").astype("datetime64[us]"))
    frame.insert(KEYS.index("group"), "group", frame["id"])
    return frame


def _number(column: ir.Column) -> ir.FloatingColumn:
    if column.type().is_boolean():  # PostgreSQL refuses to cast these
        return ibis.cases((column, 1.0), (~column, 0.0))
    return column.cast("float64")
