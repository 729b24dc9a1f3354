"""Event tables and flat tables are opened, checked and loaded through the same interface."""

import pandas as pd
import pytest

from mlsys.data.config import TableData
from mlsys.data.reader import EventsReader, TableReader, open_data
from mlsys.data.rebuild import Rebuild
from mlsys.errors import ConfigError, DataError
from mlsys.features import Windows

BLOCKS = [Windows(measures=["actions"], windows=[28])]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "leads.csv"
    pd.DataFrame(
        {"key": range(40), "size": [5, 3, 9, 7] * 10, "won": [0, 1] * 20, "worth": 1.5, "firm": [1, 1, 2, 2] * 10}
    ).to_csv(path, index=False)
    return TableData(
        kind="table", name="t", path=str(path), target="won", id="key", value="worth", group="firm", cache=False
    )


def test_event_tables(crm):
    reader = open_data(crm.data(cache=False), BLOCKS, threads=1)
    assert isinstance(reader, EventsReader)
    loaded = reader.load()
    assert loaded.panel.names == ["actions_sum_28d", "actions_sum_all", "actions_max_28d", "actions_max_all"]
    rebuild = reader.rebuild(loaded)
    assert isinstance(rebuild, Rebuild)
    assert str(rebuild.end) == loaded.facts["end"]
    assert reader.forbidden() == {
        "id": "the entity's id",
        "CLOSEDATE": "the outcome's time",
        "WHEN_TIMESTAMP": "the event's time",
        "MRR": "the outcome's value",
        "days_to_outcome": "the days to the outcome",
        "days_known": "the days of which outcomes are known",
    }


def test_demo_tables_are_generated_first(crm, tmp_path):
    data = crm.data(dir=None, demo={"events": 2_000, "seed": 0}, cache_dir=tmp_path, cache=False)
    reader = open_data(data, BLOCKS, threads=1)
    assert reader.data.demo is None
    assert {path.name for path in reader.raw.files} == {
        *("customers.parquet", "noncustomers.parquet", "usage_actions.parquet")
    }
    assert len(reader.load().panel.frame) > 100


def test_a_flat_table(table):
    reader = open_data(table, [], threads=1)
    assert isinstance(reader, TableReader)
    loaded = reader.load()
    assert loaded.panel.names == ["size"]
    assert reader.rebuild(loaded) is None
    assert reader.forbidden() == {
        "won": "the table's target",
        "key": "the table's id",
        "worth": "the table's value",
        "firm": "the table's group",
    }


def test_flat_tables_reject_blocks_and_event_tables_require_them(crm, table):
    with pytest.raises(
        ConfigError, match=r"(?s)features\n +got: +Windows\n.*closest: none.*Set features=none with data"
    ):
        open_data(table, BLOCKS, threads=1)
    with pytest.raises(
        ConfigError, match=r"(?s)features\n +got: +no blocks.*closest: usage\nEvent tables have no features"
    ):
        open_data(crm.data(), [], threads=1)


def test_missing_sources_and_names_are_errors_on_opening(crm, tmp_path):
    with pytest.raises(DataError, match=r"Not found: data\.dir="):
        open_data(crm.data(dir=str(tmp_path / "none")), BLOCKS, threads=1)
    with pytest.raises(ConfigError, match=r"measure actoins"):
        open_data(crm.data(), [Windows(measures=["actoins"])], threads=1)
