"""The classic leakage mistake, for teaching: usage summed without a cut-off (see ``experiment=naive_leaky``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from mlsys.features.base import FeatureInfo, TableBlock

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True)
class WholeHistory(TableBlock):
    """Totals over *all* of an entity's events, including those after the as-of: never use this for prediction.

    The audit must flag it.

    Parameters
    ----------
    measures : sequence of str
        The measures to sum.
    """

    measures: Sequence[str]

    @property
    def infos(self) -> Sequence[FeatureInfo]:  # type: ignore[override]
        """One column per measure."""
        return [
            FeatureInfo(f"{name}_ever", "number", f"{name}: total over all time, including the future")
            for name in self.measures
        ]

    def table(self, spine: ir.Table, events: ir.Table) -> ir.Table:
        """Return the sum of each measure over all of an entity's events."""
        totals = events.group_by("id").aggregate(**{f"{name}_ever": events[name].sum() for name in self.measures})
        return spine.select("id", "as_of_day").inner_join(totals, "id")
