"""Rebuilds panel rows with another future, for the audit: what lies after the as-of must not move a feature."""

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
from mlsys.data.rules import typed_tables
from mlsys.data.sources import RawTables, canonical_entities, canonical_events
from mlsys.data.spine import EPOCH
from mlsys.features.base import Block, EntityBlock, Feature, TableBlock

if TYPE_CHECKING:
    import ibis.expr.types as ir

OUTCOME_COLUMNS = frozenset({"outcome_day", "value"})

# Every measure x that is altered becomes 7 x + 13: its sums and maxima move, and so does whether it is above zero.
FACTOR, SHIFT = 7, 13
# Days after the as-of at which events are added; the first is the earliest that the as-of must not see.
ADDED_AFTER = (1, 7, 90)


@dataclass(frozen=True)
class Rebuild:
    """What is needed to compute panel rows again from the raw tables.

    The raw tables are read as the panel's were, but no rule is applied: both copies of a row are made from the same raw
    rows, so what a rule would have dropped is in both.

    Entity blocks are not computed again: their columns are expressions over the entity's own row, of which only day and
    value of the outcome can lie after an as-of. It is enough, and cheaper, to see whether they read these.

    Parameters
    ----------
    data : EventsData
        The data config.
    raw : RawTables
        As opened for the panel.
    blocks : sequence of Block
        The panel's feature blocks.
    end : date
        The data's end, as the panel was built with.
    """

    data: EventsData
    raw: RawTables
    blocks: Sequence[Block]
    end: date

    def pairs(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Compute rows twice in one query: with the future as it was, and with another.

        Each row becomes two made-up entities. The first is a copy. In the second, of all events that the as-of cannot
        know some are removed, some are added and the others' measures change, and so do day and value of an outcome
        after the as-of (from within the label window to outside or the other way round).

        Parameters
        ----------
        rows : DataFrame of shape (n_rows, 2)
            ``id`` and ``as_of`` (datetime64) of panel rows.

        Returns
        -------
        kept, altered : DataFrame of shape (n_rows, n_columns)
            The event and table blocks' columns of the two copies, float64 or string, in the order of ``rows``.
        """
        kept, altered = self._futures(rows, first_altered=len(rows))
        both = _Future(*(pa.concat_tables(pair) for pair in zip(kept, altered, strict=True)))
        features = self._features(both, pd.concat([rows, rows]), self._dated_blocks)
        return features.iloc[: len(rows)], features.iloc[len(rows) :].reset_index(drop=True)

    def worlds(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Compute the columns of table blocks twice, in two worlds that share no entity; slower than :meth:`pairs`.

        It shows what :meth:`pairs` cannot: a column that moves with what *other* entities do after the as-of.

        Parameters
        ----------
        rows : DataFrame of shape (n_rows, 2)
            ``id`` and ``as_of`` of panel rows that all have the same as-of.

        Returns
        -------
        kept, altered : DataFrame of shape (n_rows, n_columns)
            As of :meth:`pairs`.
        """
        kept, altered = self._futures(rows, first_altered=0)
        return self._features(kept, rows, self.table_blocks), self._features(altered, rows, self.table_blocks)

    @property
    def table_blocks(self) -> list[Block]:
        """The blocks that join what they like."""
        return [block for block in self.blocks if isinstance(block, TableBlock)]

    @property
    def snapshot_features(self) -> list[str]:
        """Names of the features that come from attributes of the entity, which carry no time."""
        return [feature.name for feature in self._entity_features]

    @property
    def features_by_attribute(self) -> dict[str, list[str]]:
        """Names of the snapshot features by the attribute that they are computed from.

        A feature of several attributes is listed under all their names, joined by commas.
        """
        found: dict[str, list[str]] = {}
        for feature in self._entity_features:
            read = sorted({field.name for field in feature.expression.op().find(ops.Field)})
            found.setdefault(", ".join(read) or feature.name, []).append(feature.name)
        return found

    @property
    def outcome_readers(self) -> list[str]:
        """Names of the entity features whose expression reads the outcome, be it that of other entities."""
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
        people = _two_entities(copies, entities, self.data.horizon_days, first_altered)
        histories = _two_histories(copies, events, first_altered)
        return _Future(people[0], histories[0]), _Future(people[1], histories[1])

    def _features(self, future: _Future, rows: pd.DataFrame, blocks: Sequence[Block]) -> pd.DataFrame:
        request = PanelRequest(
            blocks=blocks,
            as_ofs=sorted(moment.date() for moment in rows["as_of"].drop_duplicates()),
            horizon_days=self.data.horizon_days,
            end=self.end,
            activity=self.data.events.activity,
            products={kind: tuple(columns) for kind, columns in self.data.events.measures.items()},
        )
        panel = build_panel(ibis.memtable(future.entities), ibis.memtable(future.events), request)
        keys = pd.DataFrame({"id": np.arange(len(rows)), "as_of": rows["as_of"].to_numpy()})
        return keys.merge(panel.frame, on=["id", "as_of"], how="left", validate="one_to_one")[panel.names]


class _Future(NamedTuple):
    """Canonical tables of made-up entities."""

    entities: pa.Table
    events: pa.Table


def _rows_of(ids: list[Any], table: ir.Table) -> pa.Table:
    wanted = ibis.memtable(pa.table({"id": ids})).cast({"id": table.id.type()})
    rows = table.semi_join(wanted, "id").to_pyarrow()
    # Databases give rows in any order, but which events are removed must not depend on it.
    return rows.sort_by([(name, "ascending") for name in rows.column_names])


def _two_entities(
    copies: pd.DataFrame, entities: pa.Table, horizon_days: int, first_altered: int
) -> tuple[pa.Table, pa.Table]:
    kept = copies.merge(entities.to_pandas(), on="id", how="left")
    as_of, outcome = kept["as_of_day"], kept["outcome_day"]
    # The panel has these rows, so the entities exist and have not converted, whatever an unchecked raw row says.
    kept["created_day"] = kept["created_day"].where(~(kept["created_day"] > as_of), as_of)
    kept["outcome_day"] = outcome.where(outcome > as_of)
    soon, number = outcome <= as_of + horizon_days, kept["copy"]
    later = (as_of + horizon_days + 1 + number).where(number % 2 == 0)
    altered = kept.assign(
        copy=number + first_altered,
        outcome_day=later.where(soon, as_of + 1 + number % horizon_days),
        value=kept["value"].fillna(0) * FACTOR + SHIFT,
    )
    return _arrow(kept, entities.schema), _arrow(altered, entities.schema)


def _two_histories(copies: pd.DataFrame, events: pa.Table, first_altered: int) -> tuple[pa.Table, pa.Table]:
    measures = [name for name in events.column_names if name not in ("id", "known_day")]
    kept = copies.merge(events.to_pandas(), on="id")
    ahead = kept["known_day"] > kept["as_of_day"]
    altered = kept.copy()
    altered.loc[ahead, measures] = altered.loc[ahead, measures].fillna(0) * FACTOR + SHIFT
    altered = altered[~(ahead & (np.arange(len(kept)) % 3 == 0))]
    added = [
        copies.assign(known_day=copies["as_of_day"] + days, **dict.fromkeys(measures, SHIFT)) for days in ADDED_AFTER
    ]
    altered = pd.concat([altered, *added])
    altered["copy"] += first_altered
    return _arrow(kept, events.schema), _arrow(altered, events.schema)


def _arrow(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Give the made-up entities' rows the types that the canonical table has."""
    schema = schema.set(schema.get_field_index("id"), pa.field("id", pa.int64()))
    return pa.Table.from_pandas(frame.assign(id=frame["copy"])[schema.names], schema=schema, preserve_index=False)
