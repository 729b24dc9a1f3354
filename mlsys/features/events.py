"""Feature blocks that aggregate an entity's events before the as-of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import ibis
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from mlsys.features.base import EventBlock, Feature, History

if TYPE_CHECKING:
    import ibis.expr.types as ir

Names = Annotated[Sequence[str], Field(min_length=1)]

AGGREGATES = {"sum": "total", "max": "largest value in one row", "active": "rows above zero"}


@dataclass(frozen=True)
class Windows(EventBlock):
    """Aggregates of measures over windows that end at the as-of.

    Parameters
    ----------
    measures : sequence of str
        The measures to aggregate: a total such as ``actions`` or one product such as ``actions_deals``.
    windows : sequence of int
        Window lengths in days.
    aggregates : sequence of str
        Any of ``sum``, ``max`` and ``active`` (the number of rows above zero).
    all_time : bool
        Whether to also aggregate over all time before the as-of.
    """

    measures: Names
    windows: Sequence[PositiveInt] = (28, 84)
    aggregates: Sequence[Literal["sum", "max", "active"]] = ("sum", "max")
    all_time: bool = True

    def required_measures(self) -> Sequence[str]:
        """Return the block's measures."""
        return self.measures

    def features(self, history: History) -> list[Feature]:
        """Return one column per measure, aggregate and window."""
        spans: list[int | None] = [*self.windows, *([None] if self.all_time else [])]
        periods = {days: f"last {days} days" if days else "all time before the as-of" for days in spans}
        return [
            Feature(
                name=f"{measure}_{aggregate}_{f'{days}d' if days else 'all'}",
                expression=getattr(history, aggregate)(measure, days),
                description=f"{measure}: {AGGREGATES[aggregate]}, {periods[days]}",
                unit="rows" if aggregate == "active" else measure.split("_")[0],
            )
            for measure in self.measures
            for aggregate in self.aggregates
            for days in spans
        ]


@dataclass(frozen=True)
class Recency(EventBlock):
    """Days since each measure was last above zero; missing if it never was."""

    measures: Names

    def required_measures(self) -> Sequence[str]:
        """Return the block's measures."""
        return self.measures

    def features(self, history: History) -> list[Feature]:
        """Return one column per measure."""
        return [
            Feature(
                f"{name}_recency", history.days_since_last(name), f"{name}: days since it was last above zero", "days"
            )
            for name in self.measures
        ]


@dataclass(frozen=True)
class Tenure(EventBlock):
    """Days since a measure was first above zero; missing if it never was."""

    measure: str = "actions"

    def required_measures(self) -> Sequence[str]:
        """Return the block's measure."""
        return (self.measure,)

    def features(self, history: History) -> list[Feature]:
        """Return the block's only column."""
        return [
            Feature(
                "tenure",
                history.days_since_first(self.measure),
                f"days since {self.measure} were first above zero",
                "days",
            )
        ]


@dataclass(frozen=True)
class Presence(EventBlock):
    """Event rows of any kind, also those whose counts are all zero: since when and how often an entity appears.

    Parameters
    ----------
    windows : sequence of int
        Window lengths in days; rows are also counted over all time before the as-of.
    """

    windows: Sequence[PositiveInt] = (28,)

    def features(self, history: History) -> list[Feature]:
        """Return the number of rows in each window and ever, and the days since the latest and the first row."""
        counts = [
            Feature(f"rows_{days}d", history.rows(days), f"event rows, last {days} days", "rows")
            for days in self.windows
        ]
        return [
            *counts,
            Feature("rows_all", history.rows(), "event rows, all time before the as-of", "rows"),
            Feature("rows_recency", history.days_since_last_row(), "days since the latest event row", "days"),
            Feature("rows_tenure", history.days_since_first_row(), "days since the first event row", "days"),
        ]


@dataclass(frozen=True)
class Trend(EventBlock):
    """Log growth of measures: log1p of the recent total minus log1p of the earlier total.

    The earlier total is scaled to the length of the recent period.

    Parameters
    ----------
    measures : sequence of str
        The measures to compare.
    recent, before : int
        Window lengths in days: the last ``recent`` days are compared with the rest of the last ``before`` days.
    name : str
        End of the columns' names, so that a feature set can have several trends.
    """

    measures: Names
    recent: PositiveInt = 28
    before: PositiveInt = 84
    name: Annotated[str, Field(min_length=1)] = "trend"

    def __post_init__(self) -> None:
        if self.recent >= self.before:
            raise ValueError(
                f"recent={self.recent} must be less than before={self.before}, which includes the recent days"
            )

    @property
    def windows(self) -> Sequence[int]:  # type: ignore[override]
        """The block's two window lengths."""
        return (self.recent, self.before)

    def required_measures(self) -> Sequence[str]:
        """Return the block's measures."""
        return self.measures

    def features(self, history: History) -> list[Feature]:
        """Return one column per measure."""
        scale = self.recent / (self.before - self.recent)
        columns = []
        for name in self.measures:
            recent, both = history.sum(name, self.recent), history.sum(name, self.before)
            growth = _log1p(recent) - _log1p((both - recent) * scale)
            description = f"{name}: log growth, last {self.recent} days vs. the {self.before - self.recent} days before"
            columns.append(Feature(f"{name}_{self.name}", growth, description))
        return columns


@dataclass(frozen=True)
class Mix(EventBlock):
    """Each product's share of a total, and the number of products used.

    Parameters
    ----------
    kind : str
        The kind of count, such as ``actions``.
    products : sequence of str
        The products of that kind, such as ``deals`` for the measure ``actions_deals``.
    days : int
        Window length in days.
    """

    kind: str
    products: Names
    days: PositiveInt = 84

    @property
    def windows(self) -> Sequence[int]:  # type: ignore[override]
        """The block's window length."""
        return (self.days,)

    def required_measures(self) -> Sequence[str]:
        """Return the total and its products' measures."""
        return (self.kind, *(f"{self.kind}_{product}" for product in self.products))

    def features(self, history: History) -> list[Feature]:
        """Return each product's share and the number of products used."""
        total = history.sum(self.kind, self.days)
        parts = {product: history.sum(f"{self.kind}_{product}", self.days) for product in self.products}
        period = f"last {self.days} days"
        shares = [
            Feature(f"{self.kind}_{name}_share", part / total.nullif(0), f"{name}: share of {self.kind}, {period}")
            for name, part in parts.items()
        ]
        used = sum((part > 0).ifelse(1, 0) for part in parts.values())
        return [*shares, Feature("products_used", used, f"products with any {self.kind}, {period}", "products")]


@dataclass(frozen=True)
class PerUser(EventBlock):
    """Intensity of use: a measure's total divided by the summed user counts; missing without users."""

    measure: str = "actions"
    users: str = "users"
    days: PositiveInt = 28

    @property
    def windows(self) -> Sequence[int]:  # type: ignore[override]
        """The block's window length."""
        return (self.days,)

    def required_measures(self) -> Sequence[str]:
        """Return both measures."""
        return (self.measure, self.users)

    def features(self, history: History) -> list[Feature]:
        """Return the block's only column."""
        ratio = history.sum(self.measure, self.days) / history.sum(self.users, self.days).nullif(0)
        return [
            Feature(f"{self.measure}_per_user", ratio, f"{self.measure} per user, last {self.days} days", self.measure)
        ]


def _log1p(total: ir.NumericValue) -> ir.NumericValue:
    # Negative counts may be present (data.rules.negative_counts=warn), and databases fail on the log of one.
    return (ibis.greatest(total, 0) + 1.0).log()
