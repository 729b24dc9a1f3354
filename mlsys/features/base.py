"""The interface of feature blocks, and the point-in-time view of the events that they aggregate.

Events are first aggregated per entity and *cell* (the days between two adjacent as-ofs or window edges); then the cells
visible at each as-of are combined. The cost of the first step is linear in the number of events; the cost of the second
does not depend on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mlsys.errors import Problem, closest
from mlsys.features.exact_sums import exact_parts, exact_total

if TYPE_CHECKING:
    import ibis.expr.types as ir

MERGED_BY = {"sum": "sum", "active": "sum", "rows": "sum", "max": "max", "last": "max", "first": "min"}


@dataclass(frozen=True)
class Feature:
    """A feature column of the panel.

    Attributes
    ----------
    name : str
        Column name.
    expression : ibis value
        Numeric or string; booleans become 0 and 1.
    description : str
        What the feature measures and over which period.
    unit : str or None
        The unit, such as ``"days"`` or ``"actions"``.
    """

    name: str
    expression: ir.Value
    description: str
    unit: str | None = None


@dataclass(frozen=True)
class FeatureInfo:
    """Metadata of a panel column, as written to schema.json.

    Attributes
    ----------
    name : str
    kind : {"number", "category"}
    description : str
    unit : str or None
    raw_name : str or None
        Name of the raw column whose value it is, where schema.json cannot have that name.
    """

    name: str
    kind: Literal["number", "category"]
    description: str
    unit: str | None = None
    raw_name: str | None = None


class History:
    """The events visible to each (entity, as-of), for event blocks to aggregate.

    Parameters
    ----------
    cells : ibis table
        One row per entity, as-of and visible cell, with ``as_of_day``, ``until_day`` and the cell's partial aggregates.
    measures : sequence of str
        Names of the measures in the data.
    windows : sequence of int
        Declared window lengths in days. Only these have exact edges.
    """

    def __init__(self, cells: ir.Table, measures: Sequence[str], windows: Sequence[int]) -> None:
        self._cells = cells
        self._windows = frozenset(windows)
        self.measures = tuple(measures)

    def sum(self, measure: str, days: int | None = None) -> ir.NumericValue:
        """Return the total of a measure over the last ``days`` days (all time if None); 0 without events."""
        parts = [name for name in _sum_columns(measure) if name in self._cells.columns]
        return exact_total([self._within(name, days).sum() for name in parts]).fill_null(0)

    def max(self, measure: str, days: int | None = None) -> ir.NumericValue:
        """Return the largest value of a measure in one event row in the last ``days`` days; 0 without events."""
        return self._within(f"{measure}__max", days).max().fill_null(0)

    def active(self, measure: str, days: int | None = None) -> ir.NumericValue:
        """Return the number of event rows in the last ``days`` days where the measure is above zero."""
        return self._within(f"{measure}__active", days).sum().fill_null(0)

    def days_since_last(self, measure: str) -> ir.NumericValue:
        """Return the days since the last row where the measure is above zero became known; null without one."""
        return self._cells.as_of_day.max() - self._column(measure, "last").max()

    def days_since_first(self, measure: str) -> ir.NumericValue:
        """Return the days since the first row where the measure is above zero became known; null without one."""
        return self._cells.as_of_day.max() - self._column(measure, "first").min()

    def rows(self, days: int | None = None) -> ir.NumericValue:
        """Return the number of event rows in the last ``days`` days, whatever is in them; 0 without events."""
        return self._within("rows", days).sum().fill_null(0)

    def days_since_last_row(self) -> ir.NumericValue:
        """Return the days since the last event row became known; null without one."""
        return self._cells.as_of_day.max() - self._cells["last_row"].max()

    def days_since_first_row(self) -> ir.NumericValue:
        """Return the days since the first event row became known; null without one."""
        return self._cells.as_of_day.max() - self._cells["first_row"].min()

    def _within(self, column: str, days: int | None) -> ir.NumericColumn:
        """Return a column of the cells, null in those that are older than the window."""
        value = self._cells[column]
        if days is None:
            return value
        if days not in self._windows:
            raise ValueError(f"a window of {days} days is used but not declared; add {days} to the block's `windows`")
        # Not the aggregate's `where`: DuckDB filters the rows anew for each aggregate, which takes up to twice as long.
        return (self._cells.until_day > self._cells.as_of_day - days).ifelse(value, None)

    def _column(self, measure: str, aggregate: str) -> ir.NumericColumn:
        return self._cells[f"{measure}__{aggregate}"]


def partial_aggregates(events: ir.Table, measure: str) -> dict[str, ir.NumericValue]:
    """Return the aggregates of one measure that each cell holds, from which :class:`History` combines cells exactly."""
    value, day = events[measure], events.known_day
    # Counts below 2**53 sum exactly as float64, and databases sum wide integers slowly.
    parts = exact_parts(value) if value.type().is_floating() else [value]
    sums = {name: part.sum().cast("float64") for name, part in zip(_sum_columns(measure), parts, strict=False)}
    return {
        **sums,
        f"{measure}__max": value.max(),
        f"{measure}__active": (value > 0).sum().cast("float64"),
        f"{measure}__last": day.max(where=value > 0),
        f"{measure}__first": day.min(where=value > 0),
    }


def _sum_columns(measure: str) -> tuple[str, ...]:
    """Return the columns of a measure's sum: floating-point numbers have three more, for what follows the point."""
    return tuple(f"{measure}__sum{part}" for part in ("", "_26", "_53", "_80"))


def row_aggregates(events: ir.Table) -> dict[str, ir.NumericValue]:
    """Return the aggregates of the event rows themselves that each cell holds."""
    day = events.known_day
    return {"rows": events.count().cast("float64"), "last_row": day.max(), "first_row": day.min()}


def merged_partials(cells: ir.Table) -> dict[str, ir.NumericValue]:
    """Return the aggregates over several cells of what `partial_aggregates` and `row_aggregates` return for one."""
    merged = {}
    for name in cells.columns:
        kind = name.rpartition("__")[2].partition("_")[0]
        if kind in MERGED_BY:
            merged[name] = getattr(cells[name], MERGED_BY[kind])()
    return merged


class EventBlock(ABC):
    """A block of features aggregated from visible events.

    Attributes
    ----------
    windows : tuple of int
        Every window length, in days, that :meth:`features` passes to :class:`History`.
    """

    windows: Sequence[int] = ()

    @abstractmethod
    def features(self, history: History) -> list[Feature]:
        """Return the block's columns."""

    def required_measures(self) -> Sequence[str]:
        """Return the measures that the block requires; they are checked against the config before data are read."""
        return ()


class EntityBlock(ABC):
    """A block of features computed from attributes of the entity.

    Attributes
    ----------
    attributes : tuple of str
        The attributes (keys of ``data.entities.attributes``) that :meth:`features` reads.
    """

    attributes: Sequence[str] = ()

    @abstractmethod
    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the block's columns."""


class TableBlock(ABC):
    """A block that computes its columns with arbitrary joins and is itself responsible for point-in-time correctness.

    The audit rebuilds rows with altered future events, which exposes a block that looks ahead.
    """

    infos: ClassVar[Sequence[FeatureInfo]]

    @abstractmethod
    def table(self, spine: ir.Table, events: ir.Table) -> ir.Table:
        """Return id, as_of_day and the columns named in ``infos``, with at most one row per spine row."""


Block = EventBlock | EntityBlock | TableBlock


def block_problems(blocks: Sequence[Block], measures: Sequence[str], attributes: Sequence[str]) -> list[Problem]:
    """Return one problem for each measure or attribute that a block requires and the data lack."""
    problems = []
    for block in blocks:
        where = f"features.blocks: {type(block).__name__}"
        if isinstance(block, EventBlock):
            missing = [name for name in block.required_measures() if name not in measures]
            problems += [_missing(where, "measure", name, measures) for name in missing]
        elif isinstance(block, EntityBlock):
            missing = [name for name in block.attributes if name not in attributes]
            problems += [_missing(where, "attribute", name, attributes) for name in missing]
    return problems


def _missing(where: str, kind: str, name: str, allowed: Sequence[str]) -> Problem:
    return Problem(
        where, f"{kind} {name}", ", ".join(allowed) or f"(the data config defines no {kind}s)", closest(name, allowed)
    )
