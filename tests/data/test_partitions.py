"""Features of a panel by as-of: each piece is built again only if something that was known at the as-of has changed."""

import pandas as pd
import pytest

from mlsys.data.partitions import PartitionBuilder
from mlsys.features import EntityBlock, EventBlock, Feature, Industry, TableBlock, Windows
from mlsys.features.base import FeatureInfo
from tests.data.test_load import copy, edit, loaded  # noqa: F401 - copy is a fixture

DATES = ["2019-11-04", "2019-12-02", "2019-12-30"]
BLOCKS = [Windows(measures=["actions", "users"], windows=[28]), Industry()]


@pytest.fixture
def built(monkeypatch):
    """Record the as-ofs whose features are built."""
    days, build = [], PartitionBuilder.build
    monkeypatch.setattr(PartitionBuilder, "build", lambda self, day: days.append(str(day)) or build(self, day))
    return days


@pytest.fixture
def load(crm, copy, tmp_path, built):  # noqa: F811
    """Return a function that loads the panel of the copied tables, and the as-ofs that it built for that."""

    def load_(blocks=BLOCKS, dates=DATES, **changes):
        built.clear()
        spine = {"dates": dates, "start": dates[0]}
        data = crm.data(dir=str(copy), cache_dir=tmp_path / "cache", spine=spine, **changes)
        panel = loaded(data, blocks).panel
        fresh = loaded(data.model_copy(update={"cache": False}), blocks).panel
        pd.testing.assert_frame_equal(panel.frame, fresh.frame, check_exact=True)
        return built[: -len(dates)]

    return load_


def times(table):
    return pd.to_datetime(table["WHEN_TIMESTAMP"])


def test_a_new_as_of_costs_one_piece(load):
    assert load() == DATES
    assert load(dates=[*DATES, "2020-01-27"]) == ["2020-01-27"]
    assert load() == []


def test_new_events_cost_the_as_ofs_that_know_them(load, copy):  # noqa: F811
    load()
    edit(copy, "usage_actions", lambda rows: rows[times(rows) < "2019-12-16"])
    assert load() == DATES[2:]
    edit(copy, "usage_actions", lambda rows: rows[times(rows) != times(rows).min()])
    assert load() == DATES


def test_outcomes_after_an_as_of_change_labels_only(load, copy):  # noqa: F811
    edit(copy, "customers", lambda rows: rows)  # written as below
    load()
    closed = pd.read_csv(copy / "customers.csv")["CLOSEDATE"]
    later = closed.where(closed <= DATES[-1], closed.max())
    assert (later != closed).any()
    edit(copy, "customers", lambda rows: rows.assign(CLOSEDATE=later))
    assert load() == []


def test_a_longer_horizon_changes_labels_only(load):
    load()
    assert load(horizon_days=60) == []


def test_an_attribute_of_an_entity_changes_every_piece(load, copy):  # noqa: F811
    load()
    edit(copy, "noncustomers", lambda rows: rows.assign(INDUSTRY="Mining"))
    assert load() == DATES


def test_damaged_pieces_are_built_again_after_a_new_one(load, tmp_path):
    load()
    for file in (tmp_path / "cache" / "panels").glob("*.parquet"):
        damaged = bytearray(file.read_bytes())
        damaged[40] ^= 0xFF  # in the first column's page, so that it shows when the column is read
        file.write_bytes(damaged)
    assert load(dates=[*DATES, "2020-01-27"]) == ["2020-01-27", *DATES]


class Outcome(EntityBlock):
    """Reads what an as-of may not know."""

    def features(self, entity):
        return [Feature("late", entity.outcome_day, "the day of the outcome")]


class AllEvents(TableBlock):
    """Reads all events, also those after the as-of."""

    infos = (FeatureInfo("all_events", "number", "number of events, ever"),)

    def table(self, spine, events):
        counts = events.group_by("id").aggregate(all_events=events.count())
        return spine.left_join(counts, "id").select("id", "as_of_day", "all_events")


@pytest.mark.parametrize("block", [Outcome(), AllEvents()])
def test_a_block_that_may_read_the_future_is_built_again_for_all_as_ofs(load, copy, block):  # noqa: F811
    assert load([*BLOCKS, block]) == DATES
    assert load([*BLOCKS, block]) == []
    edit(copy, "usage_actions", lambda rows: rows[times(rows) < "2019-12-26"])
    assert load([*BLOCKS, block]) == DATES


class Mean(EventBlock):
    """A feature of floating-point measures."""

    windows = (28,)

    def features(self, history):
        return [Feature("mean", history.sum("actions", 28) / 28, "actions per day")]


def test_a_new_as_of_costs_one_piece_of_fractions_too(load, copy):  # noqa: F811
    edit(
        copy,
        "usage_actions",
        lambda rows: rows.assign(**{name: rows[name] + 0.1 for name in rows if name.startswith("ACT")}),
    )
    load([Mean()])
    # Its window divides a cell of the last as-of in two; sums do not depend on that.
    assert load([Mean()], dates=[*DATES, "2020-01-06"]) == ["2020-01-06"]
