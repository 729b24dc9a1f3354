"""Feature blocks that look ahead in different ways, and some that do not."""

from dataclasses import dataclass

import ibis

from mlsys.features import EntityBlock, Feature, FeatureInfo, Recency, TableBlock, Windows

USAGE = Windows(["actions", "users_web"], windows=(28,), aggregates=("sum", "max", "active"))
RECENCY = Recency(["actions"])


@dataclass(frozen=True)
class Company(EntityBlock):
    attributes = ("size", "sector")

    def features(self, entity):
        return [Feature("size", entity["size"], "employees"), Feature("sector", entity["sector"], "sector")]


@dataclass(frozen=True)
class DaysToOrder(EntityBlock):
    """Reads the entity's own outcome."""

    def features(self, entity):
        return [Feature("patience", entity.outcome_day % 30, "days")]


@dataclass(frozen=True)
class SectorRate(EntityBlock):
    """Reads the outcomes of all entities of the sector, so that the entity's own hardly matters."""

    def features(self, entity):
        ordered = entity.outcome_day.notnull().cast("float64")
        return [Feature("sector_rate", (ordered.mean() > 0).cast("int64"), "fraction of the sector that ordered")]


@dataclass(frozen=True)
class Spine(TableBlock):
    """Reads the label from the spine."""

    infos = (FeatureInfo("hint", "number", "the label"),)

    def table(self, spine, events):
        return spine.select("id", "as_of_day", hint=spine.label)


@dataclass(frozen=True)
class Sum(TableBlock):
    """Sums events known up to some days after the as-of; with 0 days it does not look ahead."""

    days: int
    infos = (FeatureInfo("total", "number", "actions"),)

    def table(self, spine, events):
        rows = spine.select("id", "as_of_day").left_join(
            events, [spine.id == events.id, events.known_day <= spine.as_of_day + self.days]
        )
        return rows.group_by("id", "as_of_day").aggregate(total=rows.actions.sum().fill_null(0))


@dataclass(frozen=True)
class Others(TableBlock):
    """Sums the events of all entities, up to the as-of or ever, so that every entity gets the same number."""

    ever: bool
    infos = (FeatureInfo("everybody", "number", "actions of all"),)

    def table(self, spine, events):
        days = spine.select("as_of_day").distinct()
        seen = ibis.literal(self.ever) | (events.known_day <= days.as_of_day)
        totals = days.cross_join(events).filter(seen).group_by("as_of_day").aggregate(everybody=events.actions.sum())
        return spine.select("id", "as_of_day").inner_join(totals, "as_of_day").select("id", "as_of_day", "everybody")
