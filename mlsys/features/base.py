"""What a feature block is, and the point-in-time view of events that it works on.

Events are first summed up per entity and *cell* (the days between two neighbouring cut-offs or window edges), then the
cells that an as-of can see are combined. The first step is linear in events, the second does not depend on how many
there were.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mlsys.errors import Problem, closest

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True)
class Feature:
    """A named column of the panel.

    Attributes
    ----------
    name : str
        Column name.
    expression : ibis value
        Number or string; booleans become 0 and 1.
    description : str
        For people: what it counts, over which time.
    unit : str or None
        Such as ``"days"`` or ``"actions"``.
    """

    name: str
    expression: ir.Value
    description: str
    unit: str | None = None


@dataclass(frozen=True)
class FeatureInfo:
    """What is known of a panel column besides its values: goes into schema.json."""

    name: str
    kind: Literal["number", "category"]
    description: str
    unit: str | None = None


class History:
    """The events that each (entity, as-of) can see, to be aggregated by event blocks.

    Parameters
    ----------
    cells : ibis table
        One row per entity, as-of and visible cell, with ``as_of_day``, ``until_day`` and the cell's partial aggregates.
    measures : sequence of str
        The measures that the data have.
    windows : sequence of int
        Declared window lengths in days; only these have exact edges.
    """

    def __init__(self, cells: ir.Table, measures: Sequence[str], windows: Sequence[int]) -> None:
        self._cells = cells
        self._windows = frozenset(windows)
        self.measures = tuple(measures)

    def sum(self, measure: str, days: int | None = None) -> ir.NumericValue:
        """Total of a measure over the latest ``days`` (all time without); 0 where there was nothing."""
        return self._column(measure, "sum").sum(where=self._within(days)).fill_null(0)

    def max(self, measure: str, days: int | None = None) -> ir.NumericValue:
        """Largest single event row of a measure in the latest ``days``; 0 where there was nothing."""
        return self._column(measure, "max").max(where=self._within(days)).fill_null(0)

    def active(self, measure: str, days: int | None = None) -> ir.NumericValue:
        """Count the event rows in the latest ``days`` in which the measure is above zero."""
        return self._column(measure, "active").sum(where=self._within(days)).fill_null(0)

    def days_since_last(self, measure: str) -> ir.NumericValue:
        """Days from when the last row with the measure above zero became known; null where there is none."""
        return self._cells.as_of_day.max() - self._column(measure, "last").max()

    def days_since_first(self, measure: str) -> ir.NumericValue:
        """Days from when the first row with the measure above zero became known; null where there is none."""
        return self._cells.as_of_day.max() - self._column(measure, "first").min()

    def _within(self, days: int | None) -> ir.BooleanValue | None:
        if days is None:
            return None
        if days not in self._windows:
            raise ValueError(f"a window of {days} days is used but not declared: add {days} to the block's `windows`")
        return self._cells.until_day > self._cells.as_of_day - days

    def _column(self, measure: str, aggregate: str) -> ir.NumericColumn:
        return self._cells[f"{measure}__{aggregate}"]


def partial_aggregates(events: ir.Table, measure: str) -> dict[str, ir.NumericValue]:
    """Return what a cell keeps of one measure, so that :class:`History` can combine cells exactly."""
    value, day = events[measure], events.known_day
    # As float64, in which counts below 2**53 add up exactly; databases add up wide integers slowly.
    return {
        f"{measure}__sum": value.sum().cast("float64"),
        f"{measure}__max": value.max(),
        f"{measure}__active": (value > 0).sum().cast("float64"),
        f"{measure}__last": day.max(where=value > 0),
        f"{measure}__first": day.min(where=value > 0),
    }


class EventBlock(ABC):
    """Features that sum up visible events.

    Attributes
    ----------
    windows : tuple of int
        Every window length in days that :meth:`features` asks :class:`History` for.
    """

    windows: Sequence[int] = ()

    @abstractmethod
    def features(self, history: History) -> list[Feature]:
        """Return the block's columns."""

    def required_measures(self) -> Sequence[str]:
        """Return the measures that the block needs; checked against the config before any data is read."""
        return ()


class EntityBlock(ABC):
    """Features that come from what is known of the entity itself.

    Attributes
    ----------
    attributes : tuple of str
        The attributes (keys of ``data.entities.attributes``) that :meth:`features` reads.
    """

    attributes: Sequence[str] = ()

    @abstractmethod
    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the block's columns, computed from the entity's attributes."""


class TableBlock(ABC):
    """The door for anything else: joins what it likes, and answers for its own point-in-time correctness.

    The audit rebuilds rows with altered future events, so a block that looks ahead is found out.
    """

    infos: ClassVar[Sequence[FeatureInfo]]

    @abstractmethod
    def table(self, spine: ir.Table, events: ir.Table) -> ir.Table:
        """Return id, as_of_day and the columns named in ``infos``, one row per spine row that has any."""


Block = EventBlock | EntityBlock | TableBlock


def block_problems(blocks: Sequence[Block], measures: Sequence[str], attributes: Sequence[str]) -> list[Problem]:
    """Return every measure and attribute that blocks need and the data do not have."""
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
        where, f"{kind} {name}", ", ".join(allowed) or f"(the data config names no {kind}s)", closest(name, allowed)
    )
