"""The sin, for teaching: usage summed with no cut-off. ``experiment=naive_leaky`` does it; the audit must catch it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from mlsys.features.base import FeatureInfo, TableBlock

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True)
class WholeHistory(TableBlock):
    """Totals over *all* of an entity's events, those after the as-of included: never use this to predict.

    Parameters
    ----------
    measures : sequence of str
        Measures.
    """

    measures: Sequence[str]

    @property
    def infos(self) -> Sequence[FeatureInfo]:  # type: ignore[override]
        """One column per measure."""
        return [
            FeatureInfo(f"{name}_ever", "number", f"{name}: total of all time, the future included")
            for name in self.measures
        ]

    def table(self, spine: ir.Table, events: ir.Table) -> ir.Table:
        """Sum each measure per entity, whenever it happened."""
        totals = events.group_by("id").aggregate(**{f"{name}_ever": events[name].sum() for name in self.measures})
        return spine.select("id", "as_of_day").inner_join(totals, "id")
