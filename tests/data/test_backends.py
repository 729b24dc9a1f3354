"""Files of every kind give the same panel, and missing or corrupt sources give clear errors."""

from __future__ import annotations

import gzip
import json
import os
import socket
import sqlite3
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.data.backends import open_backend
from mlsys.data.load import check_source, load_events
from mlsys.data.parse_columns import common_id_type, parse_id
from mlsys.errors import DataError
from mlsys.features import Presence

INDUSTRIES = [
    "COMPUTER_SOFTWARE",
    "Technology - Software",
    "HOSPITALITY",
    "Non-Profit/Educational Institution",
    "Küche",
]


@pytest.fixture(scope="module")
def rough(crm):
    """The CRM with text ids, times of day, missing and fractional counts, and many spellings."""
    frames = {name: frame.copy() for name, frame in crm.frames.items()}
    for frame in frames.values():
        frame["id"] = [f"{'aBÄ_'[number % 4]}{number}" for number in frame["id"]]
    usage = frames["usage_actions"]
    minutes = pd.to_timedelta(np.maximum(usage.index * 37 % 4320 - 1440, 0), "min")
    usage["WHEN_TIMESTAMP"] = (pd.to_datetime(usage["WHEN_TIMESTAMP"]) + minutes).dt.as_unit("us")
    usage["ACTIONS_EMAIL"] = usage["ACTIONS_EMAIL"].astype("Int64").where(usage.index % 5 != 0)
    usage["ACTIONS_CRM_DEALS"] = usage["ACTIONS_CRM_DEALS"] + 0.25
    customers = frames["customers"]
    hours = pd.to_timedelta(customers.index % 3 * 11, "h")
    customers["CLOSEDATE"] = (pd.to_datetime(customers["CLOSEDATE"]) + hours).dt.as_unit("us")
    free = frames["noncustomers"]
    free["INDUSTRY"] = [(*INDUSTRIES, None)[number % 6] for number in range(len(free))]
    return frames


@pytest.fixture(scope="module")
def config(crm):
    return crm.data(cache=False)


@pytest.fixture(scope="module")
def panel(usage_blocks):
    """Return a function that loads the panel of a data config."""

    blocks = [*usage_blocks, Presence()]

    def load(data, threads=1):
        raw = check_source(data, blocks, threads=threads)
        try:
            return load_events(data, blocks, raw).panel.frame
        finally:
            raw.connection.disconnect()

    return load


@pytest.fixture(scope="module")
def expected(rough, config, panel, tmp_path_factory):
    """The panel loaded from CSV files."""
    folder = tmp_path_factory.mktemp("csv")
    for name, frame in rough.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    frame = panel(config.model_copy(update={"dir": str(folder)}))
    assert frame["id"].iloc[0] == "B1"  # sorted by code point
    assert frame["label"].sum() > 30
    return frame


def save_csv_gz(frames, folder):
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv.gz", index=False)
    return folder


def save_parquet(frames, folder):
    for name, frame in frames.items():
        pq.write_table(arrow(frame), folder / f"{name}.parquet")
    return folder


def save_jsonl(frames, folder):
    for name, frame in frames.items():
        frame.to_json(folder / f"{name}.jsonl", orient="records", lines=True, date_format="iso", date_unit="us")
    return folder


def save_duckdb(frames, folder):
    with duckdb.connect(str(folder / "crm.duckdb")) as connection:
        for name, frame in frames.items():
            connection.register("frame", arrow(frame))
            connection.sql(f"CREATE TABLE {name} AS SELECT * FROM frame")
    return folder / "crm.duckdb"


def save_sqlite(frames, folder):
    connection = sqlite3.connect(folder / "crm.db")
    for name, frame in frames.items():
        frame.astype(dict.fromkeys(frame.select_dtypes("datetime"), str)).to_sql(name, connection, index=False)
    connection.close()
    return folder / "crm.db"


def arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


SOURCES = {
    "csv.gz": lambda frames, folder: {"dir": str(save_csv_gz(frames, folder))},
    "parquet": lambda frames, folder: {"dir": str(save_parquet(frames, folder))},
    "jsonl": lambda frames, folder: {"dir": str(save_jsonl(frames, folder))},
    "duckdb": lambda frames, folder: {"dir": None, "url": f"duckdb://{save_duckdb(frames, folder)}"},
    "sqlite": lambda frames, folder: {"dir": None, "url": f"sqlite://{save_sqlite(frames, folder)}"},
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_panel_is_the_same_from_every_source(source, rough, config, panel, expected, tmp_path):
    where = SOURCES[source](rough, tmp_path)
    pd.testing.assert_frame_equal(panel(config.model_copy(update=where), threads=2), expected, rtol=1e-12)


@pytest.mark.parametrize(("scheme", "save"), [("duckdb", save_duckdb), ("sqlite", save_sqlite)])
def test_a_database_file_by_path_or_by_url(scheme, save, rough, config, tmp_path):
    file = save(rough, tmp_path)
    stores = [open_backend(config.model_copy(update={"dir": str(file)}))]
    stores += [open_backend(config.model_copy(update={"dir": None, "url": f"{scheme}://{file}"}))]
    by_path, by_url = (store.table("usage_actions").to_pyarrow() for store in stores)
    assert by_path.equals(by_url)
    assert stores[0].files == stores[1].files == [file]


def test_a_duckdb_file_can_be_open_several_times(rough, config, tmp_path):
    file = save_duckdb(rough, tmp_path)
    with duckdb.connect(str(file)) as connection:
        connection.sql("CREATE SCHEMA old; CREATE TABLE old.customers AS SELECT 1 AS id")
    data = config.model_copy(update={"dir": str(file)})
    first, second = open_backend(data), open_backend(data)
    assert first.table("customers").count().to_pyarrow().as_py() == 45
    assert second.table("old.customers").columns == ("id",)
    assert first.files == [file]
    with pytest.raises(DataError, match=r"has: customers, noncustomers, usage_actions\. Closest: 'usage_actions'"):
        first.table("usage_action")
    with pytest.raises(DataError, match=r"Table 'new\.customers' not found in the database, which has: no tables"):
        first.table("new.customers")


def test_sqlite_columns_of_several_types_are_read_as_text(config, tmp_path):
    connection = sqlite3.connect(tmp_path / "any.sqlite3")
    connection.execute("CREATE TABLE t (id INTEGER, n REAL, void BLOB, 'odd name' DATE)")
    connection.executemany("INSERT INTO t VALUES (?, ?, NULL, ?)", [(1, 1.5, "2020-01-01"), ("x", "many", None)])
    connection.execute("CREATE TABLE empty (id INTEGER)")
    connection.commit()
    connection.close()
    store = open_backend(config.model_copy(update={"dir": str(tmp_path / "any.sqlite3")}))
    assert store.table("t").to_pyarrow().to_pydict() == {
        "id": ["1", "x"],
        "n": ["1.5", "many"],
        "void": [None, None],
        "odd name": ["2020-01-01", None],
    }
    assert store.table("empty").count().to_pyarrow().as_py() == 0
    with pytest.raises(DataError, match=r"'emty' not found in the database, which has: empty, t\. Closest: 'empty'"):
        store.table("emty")


def test_tables_are_found_with_or_without_extension(config, tmp_path):
    (tmp_path / "a.txt").write_text("id;n\n1;2\n")
    (tmp_path / "b.csv").write_text("id,n\n1,2\n")
    store = open_backend(config.model_copy(update={"dir": str(tmp_path)}))
    assert store.table("a.txt").columns == ("id", "n")
    assert store.table("b").columns == store.table("b.csv").columns == ("id", "n")
    assert [path.name for path in store.files] == ["a.txt", "b.csv", "b.csv"]


@pytest.mark.parametrize("folder", ["export [2]", "a*", "b?", "[!a]", "**", "year=2020", "~"])
@pytest.mark.parametrize("extension", ["csv", "csv.gz", "parquet", "jsonl", "jsonl.gz"])
def test_paths_are_not_expanded(config, tmp_path, monkeypatch, folder, extension):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"id": [1, 2], "n": [3, 4]})
    writers = {"csv": frame.to_csv, "csv.gz": frame.to_csv, "parquet": frame.to_parquet}
    for name, n in ((folder, [3, 4]), ("ab", [5, 6]), ("export 2", [7, 8])):
        Path(name).mkdir()
        frame["n"] = n
        path = tmp_path / name / f"t[1].{extension}"
        if "jsonl" in extension:
            frame.to_json(path, orient="records", lines=True)
        else:
            writers[extension](path, index=False)
    table = open_backend(config.model_copy(update={"dir": folder})).table("t[1]")
    assert table.to_pyarrow().to_pydict() == {"id": [1, 2], "n": [3, 4]}


def test_types_are_inferred_from_the_whole_file(config, tmp_path):
    (tmp_path / "t.csv").write_text("id,n\n" + "1,2\n" * 30_000 + "x,2.5\n")
    table = open_backend(config.model_copy(update={"dir": str(tmp_path)})).table("t")
    assert [str(kind) for kind in table.schema().types] == ["string", "float64"]


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl"])
def test_text_files_in_other_encodings(config, tmp_path, encoding, suffix, caplog):
    text = '{"id": 1, "name": "Größe"}\n' if suffix == ".jsonl" else "id,name\n1,Größe\n"
    data = text.encode(encoding)
    (tmp_path / f"t{suffix}").write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    table = open_backend(config.model_copy(update={"dir": str(tmp_path)})).table("t")
    assert table.to_pyarrow().to_pylist() == [{"id": 1, "name": "Größe"}]
    assert f"t{suffix} is not UTF-8: read as" in caplog.text


@pytest.mark.parametrize(
    ("cells", "expected", "warning"),
    [
        (["2.256", "999", "5.000", "5"], [2256, 999, 5000, 5], "points.csv, n: 2.256 is read as 2256"),
        (["2.256", "47.565"], [2256, 47565], "points.csv, n: 2.256 is read as 2256"),
        (["2.256", "9.5"], [2.256, 9.5], ""),
        (["0.256", "0.125"], [0.256, 0.125], ""),
        (["2.256", "1250"], [2.256, 1250], ""),
    ],
)
def test_points_between_thousands_of_semicolon_files(config, tmp_path, cells, expected, warning, caplog):
    for name, mark in {"points": ";", "commas": ","}.items():
        rows = "".join(f"{number}{mark}{cell}\n" for number, cell in enumerate(cells))
        (tmp_path / f"{name}.csv").write_text(f"id{mark}n\n{rows}")
    backend = open_backend(config.model_copy(update={"dir": str(tmp_path)}))
    assert sorted(backend.table("points").to_pyarrow()["n"].to_pylist()) == sorted(expected)
    assert warning in caplog.text
    assert bool(caplog.text) is bool(warning)
    assert sorted(backend.table("commas").to_pyarrow()["n"].to_pylist()) == sorted(map(float, cells))


def test_decimals_elsewhere_in_a_semicolon_file(config, tmp_path, caplog):
    (tmp_path / "t.csv").write_text("n;price\n2.256;0.5\n47.565;1.25\n")
    table = open_backend(config.model_copy(update={"dir": str(tmp_path)})).table("t")
    assert sorted(table.to_pyarrow()["n"].to_pylist()) == [2.256, 47.565]
    assert "t.csv, n: 2.256 is read as 2.256" in caplog.text


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("base", [2**53, 2**63, 2 * 10**19])
def test_ids_are_exact_however_big(config, tmp_path, suffix, base):
    ids = [base + 1, base + 2, None]
    if suffix == "csv":
        (tmp_path / "t.csv").write_text("id,n\n" + "".join(f"{'' if one is None else one},1e300\n" for one in ids))
    elif suffix == "jsonl":
        (tmp_path / "t.jsonl").write_text("".join(json.dumps({"id": one, "n": 1e300}) + "\n" for one in ids))
    else:
        kind = pa.int64() if base < 2**63 else pa.uint64() if base < 10**19 else pa.decimal128(38, 0)
        pq.write_table(pa.table({"id": pa.array(ids, kind), "n": [1e300] * 3}), tmp_path / "t.parquet")
    table = open_backend(config.model_copy(update={"dir": str(tmp_path)})).table("t")
    parsed = parse_id(table["id"], common_id_type([table["id"]]))
    found = table.select(id=parsed.value, invalid=parsed.invalid).to_pyarrow().to_pydict()
    assert [None if one is None else int(one) for one in found["id"]] == ids
    assert found["invalid"] == [False] * 3
    assert str(table["n"].type()) == "float64"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "Table 'customers' not found in folder"),
        ({"custmers.csv": b"id\n1\n"}, "not found in folder .* Closest: 'custmers'"),
        (
            {"customers.csv": b"id\n1\n", "customers.parquet": b""},
            "ambiguous: .* has customers.csv and customers.parquet",
        ),
        ({"customers.parquet": b"PAR1 and then nothing"}, r"Cannot read .*customers\.parquet as PARQUET"),
        ({"customers.csv.gz": b"no gzip at all"}, r"Cannot read .*customers\.csv\.gz as CSV"),
        ({"customers.jsonl": b'{"id": 1}\n{"id": '}, r"Cannot read .*customers\.jsonl as JSON"),
        ({"customers.csv": b"\xff\xfe\x00broken"}, r"customers\.csv is not a text file"),
    ],
)
def test_missing_and_corrupt_files(config, tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_backend(config.model_copy(update={"dir": str(tmp_path)})).table("customers")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,n\n1,2\n", "is a file, but not a DuckDB or SQLite database. .* data=table data.path=FILE"),
        (b"", "not a DuckDB or SQLite"),
        (b"12345678DUCK and then nothing of sense", "Cannot open .*copy the file again"),
    ],
)
def test_a_file_that_is_not_a_database(config, tmp_path, content, message):
    (tmp_path / "crm.db").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_backend(config.model_copy(update={"dir": str(tmp_path / "crm.db")}))


def test_a_truncated_sqlite_file(rough, config, tmp_path):
    file = save_sqlite(rough, tmp_path)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"Cannot read .* as an SQLite file"):
        open_backend(config.model_copy(update={"dir": str(file)})).table("customers")


def test_a_missing_folder(config, tmp_path):
    (tmp_path / "crm-data").mkdir()
    with pytest.raises(DataError, match=r"Not found: data.dir=.*crm-date .*Closest: .*crm-data\."):
        open_backend(config.model_copy(update={"dir": str(tmp_path / "crm-date")}))


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_a_misspelled_url_creates_no_file(config, tmp_path, scheme):
    url = f"{scheme}://{tmp_path / 'typo.db'}"
    with pytest.raises(DataError, match=r"Not found: data.url=.*typo.db"):
        open_backend(config.model_copy(update={"dir": None, "url": url}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["nosuch://host/db", "postgres://user:secret@localhost:1/crm"])
def test_an_unreachable_server(config, url):
    with pytest.raises(
        DataError, match=r"(?s)Cannot connect to the '(nosuch|postgres)' backend.*postgres://user:pass"
    ) as error:
        open_backend(config.model_copy(update={"dir": None, "url": url}))
    assert "secret" not in str(error.value)


def test_a_query_that_needs_more_memory_uses_the_disk_and_leaves_nothing(tmp_path, config):
    (cache := tmp_path / "it's").mkdir()
    data = config.model_copy(update={"cache_dir": cache, "memory_gb": 0.4})
    connection = open_backend(data, threads=1).connection
    (cache / f"spill-{socket.gethostname()}-0").mkdir()  # of a killed process
    query = "SELECT i, md5(i::VARCHAR) AS text, md5((i + 1)::VARCHAR) AS other FROM range(6_000_000) t(i) ORDER BY text"
    reader = connection.con.sql(query).to_arrow_reader(10_000)
    reader.read_next_batch()
    spilled = cache / f"spill-{socket.gethostname()}-{os.getpid()}"
    assert any(spilled.iterdir())
    del reader
    connection.disconnect()
    assert not spilled.exists()
    open_backend(data, threads=1).connection.disconnect()
    assert not list(cache.iterdir())
