"""Cells kept from one as-of to the next give the values of a query over the whole history, and stay few."""

from dataclasses import replace
from datetime import timedelta

import ibis
import numpy as np
import pandas as pd
import pytest

from mlsys.data.config import ActivityConfig
from mlsys.data.negatives import NegativeSample
from mlsys.data.panel import PanelRequest, Times, build_panel, event_cells
from mlsys.data.partitions import PartitionBuilder
from mlsys.data.spine import EPOCH
from mlsys.features import Presence, Recency, Tenure, Windows
from mlsys.features.base import History

ACCOUNTS, WEEKS = 8, 40
AS_OFS = [EPOCH + timedelta(days=7 * week) for week in range(10, WEEKS)]
BLOCKS = [Windows(["use"], [7, 21], ["sum", "max", "active"]), Recency(["use"]), Tenure("use"), Presence([14])]


@pytest.fixture(params=["int64", "float64"])
def tables(request):
    """A database with accounts and weekly events, of whole numbers and of others."""
    draw = np.random.default_rng(0)
    rows = {"id": np.tile(np.arange(ACCOUNTS), WEEKS), "known_day": np.repeat(np.arange(WEEKS) * 7, ACCOUNTS)}
    values = draw.poisson(1.0, ACCOUNTS * WEEKS) if request.param == "int64" else draw.random(ACCOUNTS * WEEKS) - 0.3
    events = pd.DataFrame(rows | {"use_app": values})[draw.random(ACCOUNTS * WEEKS) < 0.8]
    days = {"created_day": pd.array([None] * ACCOUNTS, "Int64"), "outcome_day": pd.array([None] * ACCOUNTS, "Int64")}
    entities = pd.DataFrame({"id": np.arange(ACCOUNTS), "value": np.nan} | days)
    connection = ibis.duckdb.connect()
    for name, frame in (("entities", entities), ("events", events)):
        connection.con.register(f"{name}_frame", frame)
        connection.con.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_frame").fetchall()
    return connection, connection.table("entities"), connection.table("events")


@pytest.fixture
def request_():
    products = {"use": ("app",)}
    return PanelRequest(BLOCKS, AS_OFS, 30, AS_OFS[-1], ActivityConfig(measure="use", days=28), products)


@pytest.mark.parametrize(
    ("as_ofs", "sample"),
    [(AS_OFS, None), (AS_OFS[::-7], None), (AS_OFS[3::5], None), (AS_OFS, NegativeSample(0.5, seed=0))],
    ids=["each", "backwards", "some", "sampled"],
)
def test_values_are_those_of_one_query_over_all_events(tables, request_, as_ofs, sample):
    connection, entities, events = tables
    request_ = replace(request_, sample=sample)
    panel = build_panel(entities, events, request_)
    builder = PartitionBuilder(connection, entities, events, request_)
    for as_of in as_ofs:
        piece = builder.build(as_of).read_all().to_pandas()
        rows = panel.frame["as_of"] == pd.Timestamp(as_of)
        expected = panel.inputs[rows].astype("float64").reset_index(drop=True)
        pd.testing.assert_frame_equal(piece[panel.names], expected, check_exact=True)


def test_cells_beyond_all_windows_become_one_per_account(tables, request_):
    connection, entities, events = tables
    builder = PartitionBuilder(connection, entities, events, request_)
    counts = []
    for as_of in AS_OFS:
        builder.build(as_of).read_all()
        counts.append(builder.cells.count().to_pyarrow().as_py())
    within, beyond = 28 // 7, 3
    assert max(counts) <= ACCOUNTS * (within + beyond + 1) < events.count().to_pyarrow().as_py() / 3


def test_a_builder_that_was_closed_starts_over(tables, request_):
    connection, entities, events = tables
    builder = PartitionBuilder(connection, entities, events, request_)
    first = builder.build(AS_OFS[4]).read_all()
    builder.close()
    names = connection.con.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert {name for (name,) in names} == {"entities", "events"}
    assert builder.build(AS_OFS[4]).read_all().equals(first)


def test_only_columns_that_features_need_are_kept(tables, request_):
    connection, entities, events = tables
    builder = PartitionBuilder(connection, entities, events, request_)
    builder.build(AS_OFS[0]).read_all()
    assert not [name for name in builder.cells.columns if name.startswith("use_app__")]


def test_windows_are_no_filters_of_aggregates(tables, request_):
    """DuckDB filters the rows anew for each aggregate, which takes up to twice as long."""
    _, _, events = tables
    times = Times.at(request_.as_ofs, request_.windows)
    cells = event_cells(events, request_, times)
    visible = ibis.table({**dict(cells.schema().items()), "as_of_day": "int64"}, name="visible")
    history = History(visible, ["use"], request_.windows)
    totals = [history.sum("use", 7), history.max("use", 7), history.active("use", 7), history.rows(14)]
    query = ibis.to_sql(visible.aggregate(**{f"total_{number}": total for number, total in enumerate(totals)}))
    assert "FILTER" not in query
