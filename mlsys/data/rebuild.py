"""Rebuilds panel rows with an altered future, for the audit: events after the as-of must not change a feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis
import ibis.expr.operations as ops
import numpy as np
import pandas as pd
import pyarrow as pa

from mlsys.data.config import EventsData
from mlsys.data.panel import PanelRequest, build_panel
from mlsys.data.rules import EARLIEST, typed_tables
from mlsys.data.sources import RawTables, canonical_entities, canonical_events, floor_day
from mlsys.data.spine import EPOCH, to_day
from mlsys.features.base import Block, EntityBlock, Feature, TableBlock

if TYPE_CHECKING:
    import ibis.expr.types as ir

LATEST = date(2150, 12, 31)  # later dates are placeholders for "never"

OUTCOME_COLUMNS = frozenset({"outcome_day", "value"})

# Altered measures x become 7 x + 13, which changes their sums and maxima, and whether they are above zero.
FACTOR, SHIFT = 7, 13
# Days after the as-of at which events are added; the first is the earliest day invisible to the as-of.
ADDED_AFTER = (1, 7, 90)


@dataclass(frozen=True)
class Rebuild:
    """Recomputes panel rows from the raw tables.

    The raw tables are parsed as for the panel, but no rule is applied: both copies of a row are made from the same raw
    rows, so rows that a rule would have dropped are in both.

    Entity blocks are not recomputed: their columns are expressions over the entity's own row, where only the outcome's
    day and value can lie after an as-of. Checking whether the expressions read these is sufficient, and cheaper.

    Parameters
    ----------
    data : EventsData
        The data config.
    raw : RawTables
        As opened for the panel.
    blocks : sequence of Block
        The panel's feature blocks.
    end : date
        The end of the data that the panel was built with.
    """

    data: EventsData
    raw: RawTables
    blocks: Sequence[Block]
    end: date

    def pairs(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Compute rows twice in one query: with the original future and with an altered one.

        Each row becomes two artificial entities. The first is a copy. In the second, of the events after the as-of,
        some are removed, some are added and the others' measures change. The day and value of an outcome after the
        as-of change too (from inside the label window to outside, or the reverse).

        Parameters
        ----------
        rows : DataFrame of shape (n_rows, 2)
            ``id`` and ``as_of`` (datetime64) of the panel rows.

        Returns
        -------
        kept, altered : DataFrame of shape (n_rows, n_columns)
            The columns of event and table blocks for both copies, float64 or string, in the order of ``rows``.
        """
        kept, altered = self._futures(rows, first_altered=len(rows))
        both = _Future(*(pa.concat_tables(pair) for pair in zip(kept, altered, strict=True)))
        features = self._features(both, pd.concat([rows, rows]), self._dated_blocks)
        return features.iloc[: len(rows)], features.iloc[len(rows) :].reset_index(drop=True)

    def isolated_pairs(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Compute the columns of table blocks in two separate queries that share no entity.

        Unlike :meth:`pairs`, it detects columns that depend on what *other* entities do after the as-of, but is slower.

        Parameters
        ----------
        rows : DataFrame of shape (n_rows, 2)
            ``id`` and ``as_of`` of panel rows, all with the same as-of.

        Returns
        -------
        kept, altered : DataFrame of shape (n_rows, n_columns)
            See :meth:`pairs`.
        """
        kept, altered = self._futures(rows, first_altered=0)
        return self._features(kept, rows, self.table_blocks), self._features(altered, rows, self.table_blocks)

    def rows_by_day(self) -> dict[str, pd.Series[int]]:
        """Return the number of events and of outcomes on each day, by day; no rule is applied to them."""
        times = {
            "events": self._typed.events[self.data.events.time],
            "outcomes": self._typed.outcome[self.data.outcome.time],
        }
        return {name: _rows_by_day(time) for name, time in times.items()}

    @property
    def table_blocks(self) -> list[Block]:
        """The table blocks, which use arbitrary joins."""
        return [block for block in self.blocks if isinstance(block, TableBlock)]

    @property
    def snapshot_features(self) -> list[str]:
        """Names of the features computed from entity attributes, which have no time stamp."""
        return [feature.name for feature in self._entity_features]

    @property
    def features_by_attribute(self) -> dict[str, list[str]]:
        """Names of the snapshot features, by the attribute that they are computed from.

        A feature computed from several attributes is listed under their names, joined by commas.
        """
        features: dict[str, list[str]] = {}
        for feature in self._entity_features:
            attributes = sorted({field.name for field in feature.expression.op().find(ops.Field)})
            features.setdefault(", ".join(attributes) or feature.name, []).append(feature.name)
        return features

    @property
    def outcome_readers(self) -> list[str]:
        """Names of the entity features whose expression reads an outcome, even that of another entity."""
        return [
            feature.name
            for feature in self._entity_features
            if any(field.name in OUTCOME_COLUMNS for field in feature.expression.op().find(ops.Field))
        ]

    @property
    def _dated_blocks(self) -> list[Block]:
        return [block for block in self.blocks if not isinstance(block, EntityBlock)]

    @cached_property
    def _typed(self) -> RawTables:
        return typed_tables(self.data, self.raw)

    @cached_property
    def _entity_features(self) -> list[Feature]:
        entities = ibis.table(canonical_entities(self.data, self._typed).schema(), name="entities")
        blocks = [block for block in self.blocks if isinstance(block, EntityBlock)]
        return [feature for block in blocks for feature in block.features(entities)]

    def _futures(self, rows: pd.DataFrame, *, first_altered: int) -> tuple[_Future, _Future]:
        ids = rows["id"].drop_duplicates().tolist()
        entities, events = (
            _rows_of(ids, canonical(self.data, self._typed)) for canonical in (canonical_entities, canonical_events)
        )
        copies = pd.DataFrame({"copy": np.arange(len(rows)), "id": rows["id"].to_numpy()})
        copies["as_of_day"] = (rows["as_of"].to_numpy() - np.datetime64(EPOCH)) // np.timedelta64(1, "D")
        entity_pair = _entity_pair(copies, entities, self.data.horizon_days, first_altered)
        event_pair = _event_pair(copies, events, first_altered)
        return _Future(entity_pair[0], event_pair[0]), _Future(entity_pair[1], event_pair[1])

    def _features(self, future: _Future, rows: pd.DataFrame, blocks: Sequence[Block]) -> pd.DataFrame:
        request = PanelRequest(
            blocks=blocks,
            as_ofs=sorted(as_of.date() for as_of in rows["as_of"].drop_duplicates()),
            horizon_days=self.data.horizon_days,
            end=self.end,
            activity=self.data.events.activity,
            products={kind: tuple(columns) for kind, columns in self.data.events.measures.items()},
        )
        panel = build_panel(ibis.memtable(future.entities), ibis.memtable(future.events), request)
        keys = pd.DataFrame({"id": np.arange(len(rows)), "as_of": rows["as_of"].to_numpy()})
        return keys.merge(panel.frame, on=["id", "as_of"], how="left", validate="one_to_one")[panel.names]


class _Future(NamedTuple):
    """Canonical tables of artificial entities."""

    entities: pa.Table
    events: pa.Table


def _rows_by_day(time: ir.Column) -> pd.Series[int]:
    table = floor_day(time).name("day").as_table()
    known = table.filter(table.day.between(to_day(EARLIEST), to_day(LATEST)))
    frame = known.group_by("day").aggregate(rows=ibis._.count()).order_by("day").to_pyarrow().to_pandas()
    return pd.Series(frame["rows"].to_numpy(), pd.to_datetime(frame["day"], unit="D"))


def _rows_of(ids: list[Any], table: ir.Table) -> pa.Table:
    requested = ibis.memtable(pa.table({"id": ids})).cast({"id": table.id.type()})
    rows = table.semi_join(requested, "id").to_pyarrow()
    # Databases return rows in any order, and which events are removed must not depend on it.
    return rows.sort_by([(name, "ascending") for name in rows.column_names])


def _entity_pair(
    copies: pd.DataFrame, entities: pa.Table, horizon_days: int, first_altered: int
) -> tuple[pa.Table, pa.Table]:
    kept = copies.merge(entities.to_pandas(), on="id", how="left")
    as_of, outcome = kept["as_of_day"], kept["outcome_day"]
    # These rows are in the panel, so the entities exist and have not converted, even if an unchecked raw row disagrees.
    kept["created_day"] = kept["created_day"].where(~(kept["created_day"] > as_of), as_of)
    kept["outcome_day"] = outcome.where(outcome > as_of)
    converts, number = outcome <= as_of + horizon_days, kept["copy"]
    later = (as_of + horizon_days + 1 + number).where(number % 2 == 0)
    altered = kept.assign(
        copy=number + first_altered,
        outcome_day=later.where(converts, as_of + 1 + number % horizon_days),
        value=kept["value"].fillna(0) * FACTOR + SHIFT,
    )
    return _arrow(kept, entities.schema), _arrow(altered, entities.schema)


def _event_pair(copies: pd.DataFrame, events: pa.Table, first_altered: int) -> tuple[pa.Table, pa.Table]:
    measures = [name for name in events.column_names if name not in ("id", "known_day")]
    kept = copies.merge(events.to_pandas(), on="id")
    future = kept["known_day"] > kept["as_of_day"]
    altered = kept.copy()
    altered.loc[future, measures] = altered.loc[future, measures].fillna(0) * FACTOR + SHIFT
    altered = altered[~(future & (np.arange(len(kept)) % 3 == 0))]
    added = [
        copies.assign(known_day=copies["as_of_day"] + days, **dict.fromkeys(measures, SHIFT)) for days in ADDED_AFTER
    ]
    altered = pd.concat([altered, *added])
    altered["copy"] += first_altered
    return _arrow(kept, events.schema), _arrow(altered, events.schema)


def _arrow(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return the artificial entities' rows with the types of the canonical table."""
    schema = schema.set(schema.get_field_index("id"), pa.field("id", pa.int64()))
    return pa.Table.from_pandas(frame.assign(id=frame["copy"])[schema.names], schema=schema, preserve_index=False)
