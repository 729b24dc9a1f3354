"""Blocks that sum up what an entity did before the as-of."""

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

AGGREGATES = {"sum": "total", "max": "largest single row", "active": "rows above zero"}


@dataclass(frozen=True)
class Windows(EventBlock):
    """Totals and peaks of measures over the latest days.

    Parameters
    ----------
    measures : sequence of str
        Measures: a kind's total such as ``actions`` or one product's such as ``actions_deals``.
    windows : sequence of int
        Window lengths in days.
    aggregates : sequence of str
        Of ``sum``, ``max`` and ``active`` (rows above zero).
    all_time : bool
        Whether to add the same over all time before the as-of.
    """

    measures: Names
    windows: Sequence[PositiveInt] = (28, 84)
    aggregates: Sequence[Literal["sum", "max", "active"]] = ("sum", "max")
    all_time: bool = True

    def required_measures(self) -> Sequence[str]:
        """Return the measures of ``of``."""
        return self.measures

    def features(self, history: History) -> list[Feature]:
        """Return one column per measure, aggregate and window."""
        spans: list[int | None] = [*self.windows, *([None] if self.all_time else [])]
        words = {days: f"latest {days} days" if days else "all time before the as-of" for days in spans}
        return [
            Feature(
                name=f"{measure}_{aggregate}_{f'{days}d' if days else 'all'}",
                expression=getattr(history, aggregate)(measure, days),
                description=f"{measure}: {AGGREGATES[aggregate]}, {words[days]}",
                unit="rows" if aggregate == "active" else measure.split("_")[0],
            )
            for measure in self.measures
            for aggregate in self.aggregates
            for days in spans
        ]


@dataclass(frozen=True)
class Recency(EventBlock):
    """Days since each measure was last above zero; missing where it never was."""

    measures: Names

    def required_measures(self) -> Sequence[str]:
        """Return the measures of ``of``."""
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
    """Days since a measure was first above zero; missing where it never was."""

    measure: str = "actions"

    def required_measures(self) -> Sequence[str]:
        """Return the one measure."""
        return (self.measure,)

    def features(self, history: History) -> list[Feature]:
        """Return the one column."""
        return [
            Feature(
                "tenure",
                history.days_since_first(self.measure),
                f"days since {self.measure} were first above zero",
                "days",
            )
        ]


@dataclass(frozen=True)
class Trend(EventBlock):
    """Growth: log of the latest days' total over that of the days before, scaled to as many days, each plus one.

    Parameters
    ----------
    measures : sequence of str
        Measures.
    recent, before : int
        Days: the latest ``recent`` days are compared with the rest of the latest ``before`` days.
    """

    measures: Names
    recent: PositiveInt = 28
    before: PositiveInt = 84

    def __post_init__(self) -> None:
        if self.recent >= self.before:
            raise ValueError(
                f"recent={self.recent} must be fewer days than before={self.before}, of which it is a part"
            )

    @property
    def windows(self) -> Sequence[int]:  # type: ignore[override]
        """The two windows."""
        return (self.recent, self.before)

    def required_measures(self) -> Sequence[str]:
        """Return the measures of ``of``."""
        return self.measures

    def features(self, history: History) -> list[Feature]:
        """Return one column per measure."""
        scale = self.recent / (self.before - self.recent)
        columns = []
        for name in self.measures:
            recent, both = history.sum(name, self.recent), history.sum(name, self.before)
            growth = _log1p(recent) - _log1p((both - recent) * scale)
            words = f"{name}: log growth, latest {self.recent} days against the {self.before - self.recent} before"
            columns.append(Feature(f"{name}_trend", growth, words))
        return columns


@dataclass(frozen=True)
class Mix(EventBlock):
    """Each product's share of a kind's total, and how many products were used.

    Parameters
    ----------
    kind : str
        The total, such as ``actions``.
    products : sequence of str
        Its parts, such as ``deals`` for the measure ``actions_deals``.
    days : int
        Window length.
    """

    kind: str
    products: Names
    days: PositiveInt = 84

    @property
    def windows(self) -> Sequence[int]:  # type: ignore[override]
        """The one window."""
        return (self.days,)

    def required_measures(self) -> Sequence[str]:
        """Return the total and its parts."""
        return (self.kind, *(f"{self.kind}_{product}" for product in self.products))

    def features(self, history: History) -> list[Feature]:
        """Return a share per product and the number of products used."""
        total = history.sum(self.kind, self.days)
        parts = {product: history.sum(f"{self.kind}_{product}", self.days) for product in self.products}
        span = f"latest {self.days} days"
        shares = [
            Feature(f"{self.kind}_{product}_share", part / total.nullif(0), f"{product}: share of {self.kind}, {span}")
            for product, part in parts.items()
        ]
        used = sum((part > 0).ifelse(1, 0) for part in parts.values())
        return [*shares, Feature("products_used", used, f"products with any {self.kind}, {span}", "products")]


@dataclass(frozen=True)
class PerUser(EventBlock):
    """How intensely each user works: a kind's total per summed user count; missing where there was no user."""

    measure: str = "actions"
    users: str = "users"
    days: PositiveInt = 28

    @property
    def windows(self) -> Sequence[int]:  # type: ignore[override]
        """The one window."""
        return (self.days,)

    def required_measures(self) -> Sequence[str]:
        """Return both measures."""
        return (self.measure, self.users)

    def features(self, history: History) -> list[Feature]:
        """Return the one column."""
        ratio = history.sum(self.measure, self.days) / history.sum(self.users, self.days).nullif(0)
        return [
            Feature(
                f"{self.measure}_per_user", ratio, f"{self.measure} per user, latest {self.days} days", self.measure
            )
        ]


def _log1p(total: ir.NumericValue) -> ir.NumericValue:
    # Negative counts may have been kept (data.rules.negative_counts=warn), and a database stops at the log of one.
    return (ibis.greatest(total, 0) + 1.0).log()
