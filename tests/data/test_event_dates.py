"""Times of event tables: one order of day and month for all tables, whatever they are written in."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from datetime import datetime

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pytest

from mlsys.data.contracts import check_tables
from mlsys.data.event_dates import read_dates
from mlsys.data.load import check_source, load_events
from mlsys.data.reader import open_data
from mlsys.data.rules import typed_tables
from mlsys.data.sources import canonical_entities, open_tables
from mlsys.errors import ConfigError, ContractError, DataError
from mlsys.features import Windows
from tests.conftest import shop_data

MONTHS = pd.date_range("2019-10-01", periods=10, freq="MS")
PROOF = [datetime(2020, 1, 30), datetime(2020, 2, 1)]
VISITS = pd.DataFrame({"id": [1] * 10, "at": MONTHS, "a_x": 1, "a_y": 2, "u_x": 1, "u_y": 1})


def tables(visits, orders=PROOF, joined=None):
    accounts = pd.DataFrame({"id": [1, 2]}) if joined is None else pd.DataFrame({"id": [1, 2], "joined": joined})
    return {
        "accounts": accounts,
        "orders": pd.DataFrame({"id": [1, 2], "at": orders, "worth": 9.0}),
        "visits": VISITS.assign(at=visits),
    }


def to_csv(frames, folder):
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def to_jsonl(frames, folder):
    for name, frame in frames.items():
        frame.assign(**{key: frame[key].astype(str) for key in ("at", "joined") if key in frame}).to_json(
            folder / f"{name}.jsonl", orient="records", lines=True
        )
    return folder


def to_duckdb(frames, folder):
    with duckdb.connect(folder / "shop.duckdb") as connection:
        for name, frame in frames.items():
            connection.register("frame", frame)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
    return folder / "shop.duckdb"


def to_sqlite(frames, folder):
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        for name, frame in frames.items():
            frame.to_sql(name, connection, index=False)
    return folder / "shop.db"


def read(frames, folder, save=to_csv, columns=("id",), **changes):
    data = shop_data(columns, **{"dir": str(save(frames, folder))} | changes)
    return data, read_dates(data, open_tables(data))


def days_of(column):
    return [value.strftime("%Y-%m-%d") for value in column.to_pyarrow().to_pylist()]


def test_an_undecided_order_is_an_error(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tables(MONTHS.strftime("%m/%d/%Y"), orders=["2020-01-30", "2020-02-01"]), tmp_path)
    message = str(caught.value)
    assert message.startswith("Dates with two readings in visits.at ('02/01/2020')")
    assert "Set data.dates=day_first or data.dates=month_first" in message


@pytest.mark.parametrize(("dates", "pattern"), [("month_first", "%m/%d/%Y"), ("day_first", "%d/%m/%Y")])
def test_a_stated_order_decides(tmp_path, dates, pattern):
    _, raw = read(tables(MONTHS.strftime(pattern)), tmp_path, dates=dates)
    assert sorted(days_of(raw.events["at"])) == [f"{day:%Y-%m-%d}" for day in MONTHS]
    assert raw.date_formats["events.time"] == (pattern,)


@pytest.mark.parametrize("save", [to_csv, to_jsonl, to_duckdb, to_sqlite])
def test_another_table_decides(tmp_path, caplog, save):
    orders = [day.strftime("%m/%d/%Y") for day in PROOF]
    _, raw = read(tables(MONTHS.strftime("%m/%d/%Y"), orders), tmp_path, save)
    assert sorted(days_of(raw.events["at"])) == [f"{day:%Y-%m-%d}" for day in MONTHS]
    assert days_of(raw.outcome["at"]) == ["2020-01-30", "2020-02-01"]
    assert raw.date_formats == {"outcome.time": ("%m/%d/%Y",), "events.time": ("%m/%d/%Y",)}
    assert "visits.at: read with the month first, as orders.at ('01/30/2020') shows" in caplog.text


def test_the_creation_time_decides_too(tmp_path):
    frames = tables(MONTHS.strftime("%d/%m/%Y"), joined=["13/01/2019", "01/02/2019"])
    _, raw = read(frames, tmp_path, columns=("id", "joined"))
    assert days_of(raw.events["at"])[:2] == ["2019-10-01", "2019-11-01"]
    assert raw.date_formats == {"entities.created": ("%d/%m/%Y",), "events.time": ("%d/%m/%Y",)}


def test_both_orders_in_one_column_are_an_error(tmp_path):
    mixed = ["13/01/2020", "01/14/2020"] * 5
    with pytest.raises(DataError, match=r"visits\.at has dates in two orders: 5 of 10 rows .* and 5 only"):
        read(tables(mixed), tmp_path)


def test_tables_that_disagree_decide_nothing(tmp_path):
    frames = tables(MONTHS.strftime("%m/%d/%Y"), ["30/01/2020", "01/02/2020"], joined=["01/30/2019", "02/01/2019"])
    with pytest.raises(DataError, match=r"the other columns disagree: orders\.at .* but accounts\.joined"):
        read(frames, tmp_path, columns=("id", "joined"))


@pytest.mark.parametrize(
    "write",
    [
        lambda days: days.strftime("%Y-%m-%d"),
        lambda days: days.strftime("%Y-%m-%d %H:%M:%S"),
        lambda days: days.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
        lambda days: days.strftime("%Y%m%d").astype(int),
        lambda days: days.strftime("%d.%m.%Y %H:%M"),
        lambda days: days.strftime("%d %b %Y"),
        lambda days: days.strftime("%Y-%m-%d 02:00 CEST"),
        lambda days: [int(day.timestamp()) for day in days],
        lambda days: [int(day.timestamp()) * 1_000 for day in days],
        lambda days: [(day - pd.Timestamp("1899-12-30")).days for day in days],
    ],
)
def test_times_are_read_in_any_format(tmp_path, write):
    _, raw = read(tables(write(MONTHS)), tmp_path, dates="day_first")
    assert sorted(days_of(raw.events["at"])) == [f"{day:%Y-%m-%d}" for day in MONTHS]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2020-01-31", None], "date"),
        (["2020-01-31", "2020-01-31 10:00:00"], "timestamp(6)"),
        (["2020-01-31T10:00:00+01:00", None], "timestamp('UTC', 6)"),
        (["2020-01-31", "soon"], "string"),
    ],
)
def test_iso_dates_of_text_files_have_the_type_of_these(tmp_path, values, kind):
    _, raw = read(tables(MONTHS, values), tmp_path)
    found = str(raw.outcome["at"].type())
    assert found == kind or (kind.startswith("timestamp('") and found.startswith("timestamp('"))
    assert raw.date_formats == {}


def test_times_that_do_not_parse_break_the_contract(tmp_path):
    written = [*MONTHS.strftime("%d/%m/%Y")[:8], "30/06/2020", "soon"]
    data, raw = read(tables(written), tmp_path)
    with pytest.raises(ContractError, match=r"1 row with a value of the wrong type .*at='soon'"):
        check_tables(data, raw)


def test_misspelled_columns_are_reported_before_dates(tmp_path):
    data = shop_data(dir=str(to_csv(tables(MONTHS.strftime("%m/%d/%Y")), tmp_path)))
    wrong = data.model_copy(update={"outcome": data.outcome.model_copy(update={"value": "price"})})
    with pytest.raises(ConfigError, match=r"data\.outcome\.value"):
        check_source(wrong, [])


def test_the_panel_records_the_formats_and_rebuilds_with_them(crm, tmp_path):
    frames = {name: frame.copy() for name, frame in crm.frames.items()}
    for table, column in {"customers": "CLOSEDATE", "usage_actions": "WHEN_TIMESTAMP"}.items():
        frames[table][column] = pd.to_datetime(frames[table][column]).dt.strftime("%m/%d/%Y")
    blocks = [Windows(measures=["actions"], windows=[28])]
    data = crm.data(dir=str(to_csv(frames, tmp_path)), cache=False)
    reader = open_data(data, blocks, threads=1)
    loaded = reader.load()
    plain = crm.data(cache=False)
    pd.testing.assert_frame_equal(
        loaded.panel.frame, load_events(plain, blocks, check_source(plain, blocks, threads=1)).panel.frame
    )
    assert loaded.recipe["dates"] == {"outcome.time": ["%m/%d/%Y"], "events.time": ["%m/%d/%Y"]}
    rows = loaded.panel.frame[["id", "as_of"]].iloc[::400].reset_index(drop=True)
    rebuild = reader.rebuild(loaded)
    kept, altered = rebuild.pairs(rows)
    pd.testing.assert_frame_equal(kept, altered)
    assert rebuild.rows_by_day()["outcomes"].sum() == len(frames["customers"])


def two_entity_tables(accounts, others):
    """Return the tables of a shop with a second entity table, and the config that reads both."""
    entities = {"tables": ["accounts", "others"], "id": "id", "created": "joined", "attributes": {"due": "due"}}
    return {**tables(MONTHS), "accounts": pd.DataFrame(accounts), "others": pd.DataFrame(others)}, entities


AMERICAN = ["03/31/2020", "02/01/2020"]


@pytest.mark.parametrize(
    ("due", "kind"),
    [
        ([*AMERICAN, "unknown"], "string"),
        (["31.03.2020", "01.02.2020", None], "timestamp"),
        (["2020-03-31", "2020-02-01", "2020-02-01"], "timestamp"),
    ],
)
def test_an_attribute_is_read_alike_in_all_entity_tables(tmp_path, due, kind):
    """An attribute that is a date in one table and text in another would tell the model which table a row is from."""
    frames, entities = two_entity_tables({"id": [1, 2], "due": AMERICAN}, {"id": [3, 4, 5], "due": due})
    data, raw = read(frames, tmp_path, entities=entities)
    found = canonical_entities(data, typed_tables(data, raw)).order_by("id").to_pyarrow()
    assert str(found["due"].type).startswith(kind)
    values = found["due"].cast("string").to_pylist()
    assert values[2] in (values[0], None)


def test_each_entity_table_may_write_its_times_in_its_own_format(tmp_path):
    frames, entities = two_entity_tables(
        {"id": [1, 2], "joined": AMERICAN}, {"id": [3, 4], "joined": ["31.03.2020", "01.02.2020"]}
    )
    _, raw = read(frames, tmp_path, entities=entities | {"attributes": {}})
    assert raw.date_formats == {"entities.created": ("%m/%d/%Y", "%d.%m.%Y")}
    assert days_of(raw.entities["others"]["joined"]) == days_of(raw.entities["accounts"]["joined"])


def test_two_readings_of_the_times_of_a_folder_are_warned_about(tmp_path, caplog):
    read(tables(MONTHS.strftime("%y-%m-%d")), tmp_path)
    assert "visits.at: 19-10-01 is read with the year first; if not, write it with four digits" in caplog.text


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_comment_lines_before_the_header_are_skipped(tmp_path, caplog, suffix):
    frames = tables(MONTHS)
    to_csv(frames, tmp_path)
    text = (tmp_path / "visits.csv").read_text()
    (tmp_path / "visits.csv").unlink()
    data = ("# export, of today\n# by the shop\n" + text).encode()
    (tmp_path / f"visits{suffix}").write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    raw = open_tables(shop_data(dir=str(tmp_path)))
    assert raw.events.columns == tuple(VISITS.columns)
    assert raw.events.count().to_pyarrow().as_py() == len(VISITS)
    assert f"visits{suffix}: 2 comment lines before the header skipped" in caplog.text


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["1E5", "10E4", "100000"], "string"),
        (["007", "7", "0"], "string"),
        (["2E1", "3E1", "4E1"], "string"),
        (["true", "false", "true"], "string"),
        (["1.50", "1.5", "2.25"], "string"),
        (["1", "-20", "300"], "int64"),
        (["1.0", "20.0", ""], "int64"),
        ([" 1", "20 ", "3"], "int64"),
    ],
)
def test_ids_of_text_files_stay_as_they_are_written(tmp_path, ids, kind):
    frames = {**tables(MONTHS), "accounts": pd.DataFrame({"id": ids, "size": 1})}
    frames["visits"] = frames["visits"].assign(id=(ids * 4)[:10])
    frames["orders"] = frames["orders"].assign(id=ids[:2])
    data, raw = read(frames, tmp_path)
    typed = typed_tables(data, raw)
    expected = {int(float(text)) if kind == "int64" else text for text in ids if text}
    for table in (typed.entities["accounts"], typed.events):
        assert str(table["id"].type()) == kind
        assert {one for one in table["id"].to_pyarrow().to_pylist() if one is not None} == expected
    assert canonical_entities(data, typed).outcome_day.notnull().sum().to_pyarrow().as_py() == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option is deprecated")
def test_text_dates_of_a_database_server(postgresql):
    url = postgresql.replace("postgresql+psycopg://", "postgres://")
    writer = ibis.connect(url)
    for name, frame in tables(MONTHS.strftime("%m/%d/%Y"), [day.strftime("%m/%d/%Y") for day in PROOF]).items():
        writer.create_table(name, pa.Table.from_pandas(frame, preserve_index=False))
    writer.disconnect()
    data = shop_data(url=url, dir=None)
    blocks = [Windows(measures=["actions"], windows=[28])]
    raw = check_source(data, blocks)
    assert sorted(days_of(raw.events["at"])) == [f"{day:%Y-%m-%d}" for day in MONTHS]
    frame = load_events(data, blocks, raw).panel.frame
    raw.connection.disconnect()
    assert frame["as_of"].min() > pd.Timestamp("2019-10-01")
