"""Logged rows can be read back from both databases; a row that cannot be logged is dropped alone."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from serve.predictions import LogError, LogUnavailableError, PredictionLog, PredictionRow, read_predictions
from serve.predictions.open_store import store_from_url
from serve.predictions.reader import iter_batches
from serve.predictions.row import Cells
from serve.predictions.store import PredictionFilter
from tests.waiting import HANG


def test_rows_come_back_as_they_were_put(url, opened):
    full = PredictionRow(
        1_600_000_000.25, 1 / 3, "conversion", "1.2.0", "r-1", 7, date(2020, 9, 13), True, {"users": 3, "n": None}
    )
    bare = PredictionRow(1_600_000_001.0, 1e-9, "conversion", "1.2.0", "r-2")
    log = opened(url, features=True)
    log.put([full])
    log.put([bare])
    log.close()
    frame = read_predictions(url, shadow=None, features=True)
    assert frame["id"].isna().tolist() == frame["as_of"].isna().tolist() == [False, True]
    assert frame.loc[0, "id"] == "7"
    assert frame.loc[0, "as_of"] == pd.Timestamp("2020-09-13")
    assert frame["time"].tolist() == [pd.Timestamp(row.time, unit="s", tz="UTC") for row in (full, bare)]
    assert frame["probability"].tolist() == [1 / 3, 1e-9]
    assert frame[["model", "version", "request_id"]].values.tolist() == [
        ["conversion", "1.2.0", "r-1"],
        ["conversion", "1.2.0", "r-2"],
    ]
    assert frame["shadow"].tolist() == [True, False]
    assert frame["features"].tolist() == [{"users": 3, "n": None}, None]
    assert (log.depth, log.lag, log.dropped, log.failed) == (0, 0.0, 0, 0)


def test_features_are_logged_only_if_enabled(sqlite, opened, rows):
    log = opened(sqlite)
    log.put(rows(features={"users": 3}))
    log.close()
    assert read_predictions(sqlite, features=True)["features"].tolist() == [None]


def test_a_missing_number_is_logged_as_null(url, opened, rows):
    log = opened(url, features=True)
    log.put(rows(features={"users": float("nan"), "days": 2.5}))
    log.close()
    assert read_predictions(url, features=True)["features"].tolist() == [{"users": None, "days": 2.5}]


def test_the_reader_filters(url, opened, rows):
    log = opened(url)
    noon = datetime(2020, 9, 13, 12, tzinfo=UTC)
    for hour in range(3):
        log.put(rows(first=hour, time=noon.timestamp() + 3600 * hour, version=f"1.{hour}.0"))
    log.put(rows(first=9, time=noon.timestamp(), model="other"))
    log.put(rows(first=10, time=noon.timestamp(), shadow=True))
    log.close()

    def ids(**conditions):
        return read_predictions(url, **conditions)["id"].tolist()

    assert ids() == ["0", "1", "2", "9"]
    assert ids(since=datetime(2020, 9, 13, 13), until=datetime(2020, 9, 13, 14)) == ["1"]
    assert ids(model="other") == ["9"]
    assert ids(version="1.2.0") == ["2"]
    assert ids(shadow=True) == ["10"]
    assert ids(shadow=None) == ["0", "1", "2", "9", "10"]


def test_an_empty_log_reads_as_an_empty_table(url, opened):
    opened(url).close()
    frame = read_predictions(url)
    assert frame.empty
    assert frame.dtypes.astype(str).to_dict() == {
        "id": "str", "as_of": "datetime64[us]", "time": "datetime64[us, UTC]", "model": "str", "version": "str",
        "probability": "float64", "request_id": "str", "shadow": "bool",
    }  # fmt: skip


def test_a_log_larger_than_a_batch_is_read_completely(url, opened, rows, monkeypatch):
    monkeypatch.setattr("serve.predictions.sqlite.FETCH_SIZE", 300)
    monkeypatch.setattr("serve.predictions.postgres.FETCH_SIZE", 300)
    log = opened(url)
    log.put(rows(2_500))
    log.close()
    assert [len(batch) for batch in iter_batches(url, PredictionFilter())] == [300] * 8 + [100]
    assert read_predictions(url)["id"].astype(int).tolist() == list(range(2_500))


def test_nothing_is_logged_if_logging_is_off(rows):
    log = PredictionLog.open(None, durable=True, features=True)
    log.put(rows(3))
    asyncio.run(log.commit(rows(3)))
    assert (log.name, log.depth, log.lag, log.dropped, log.failed) == (None, 0, 0.0, 0, 0)
    assert not log.durable
    assert not log.features
    log.close()


def test_a_commit_is_in_the_database_when_it_returns(url, opened, rows):
    log = opened(url, durable=True)

    async def commit():
        for number in range(3):
            await log.commit(rows(2, first=2 * number))
            assert len(read_predictions(url)) == 2 * number + 2

    asyncio.run(commit())


def test_concurrent_commits_share_transactions(url, opened, rows):
    log = opened(url, durable=True)

    async def commit():
        await asyncio.gather(*(log.commit(rows(first=number)) for number in range(200)))

    asyncio.run(commit())
    assert sorted(read_predictions(url)["id"].astype(int)) == list(range(200))
    assert next(log._writer._numbers) < 20


def test_a_cancelled_commit_does_not_affect_others(sqlite, opened, rows):
    log = opened(sqlite, durable=True)

    async def commit():
        gone = asyncio.create_task(log.commit(rows(first=0)))
        await asyncio.sleep(0)
        gone.cancel()
        await log.commit(rows(first=1))

    asyncio.run(commit())
    assert read_predictions(sqlite)["id"].tolist() == ["0", "1"]


def test_a_batch_of_the_same_number_is_written_once(url):
    store = store_from_url(url)
    cells = [Cells(None, None, 0.0, "conversion", "1.0.0", 0.5, "r", False, None)]
    store.open()
    store.write(cells, 1)
    store.write(cells, 1)  # as after a connection that broke during the commit
    store.write(cells, 2)
    store.close()
    assert len(read_predictions(url)) == 2


BAD = {
    "an invalid as-of": {"as_of": "soon"},
    "a NaN probability": {"probability": float("nan")},
    "a lone surrogate": {"request_id": "\ud800"},
    "a feature that JSON cannot represent": {"features": {"users": object()}},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_rejected_row_is_left_out_alone(url, opened, rows, caplog, change):
    log = opened(url, features=True)
    log.put([*rows(500), *rows(1, first=500, **change), *rows(500, first=501)])
    log.close()
    assert sorted(read_predictions(url)["id"].astype(int)) == [*range(500), *range(501, 1001)]
    assert (log.dropped, log.failed, log.depth) == (1, 0, 0)
    assert "rejected a row" in caplog.text


def test_a_rejected_row_fails_only_its_own_commit(url, opened, rows):
    log = opened(url, durable=True)

    async def commit():
        tasks = [log.commit(rows(first=number, as_of="soon" if number == 3 else None)) for number in range(9)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(commit())
    assert [type(each) for each in results] == [*[type(None)] * 3, LogUnavailableError, *[type(None)] * 5]
    assert len(read_predictions(url)) == 8
    assert log.dropped == 0  # it was reported to its caller


def test_postgresql_rejects_a_row_with_a_nul_character(postgres, opened, rows):
    log = opened(postgres)
    log.put([*rows(3), *rows(1, first=3, model="\0"), *rows(3, first=4)])
    log.close()
    assert (log.dropped, len(read_predictions(postgres))) == (1, 6)


def test_an_internal_error_loses_only_the_current_batch(sqlite, opened, rows, caplog, until):
    log = opened(sqlite)
    log.put(["not a row"])
    until(lambda: log.dropped == 1)
    log.put(rows())
    log.close()
    assert read_predictions(sqlite)["id"].tolist() == ["0"]
    assert "internal error" in caplog.text


def test_a_full_queue_drops_rows_and_counts_them(sqlite, opened, rows, caplog, until):
    log = opened(sqlite, max_pending=10)
    with closing(sqlite3.connect(sqlite.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing can be written
        log.put(rows(4))
        until(lambda: log._writer._in_progress == 4)
        log.put(rows(8, first=4))  # returns although nothing is written
        log.put(rows(8, first=12))
        assert (log.depth, log.dropped) == (14, 6)
        assert log.lag > 1_000_000  # these rows have a time in 2020
        other.execute("ROLLBACK")
    log.close()
    assert read_predictions(sqlite)["id"].astype(int).tolist() == list(range(14))
    assert "6 rows lost since the last report" in caplog.text


def test_rows_after_close_are_dropped(sqlite, opened, rows):
    log = opened(sqlite)
    log.put(rows(2))
    log.close()
    log.put(rows(3))
    assert (log.dropped, len(read_predictions(sqlite))) == (3, 2)


WRITE = """
import sys, time
from serve.predictions import PredictionLog, PredictionRow
log = PredictionLog.open(sys.argv[1])
first = int(sys.argv[2])
for number in range(first, first + 200):
    log.put([PredictionRow(time.time(), 0.5, "conversion", "1.0.0", "r", id=number)])
    if number % 50 == 0:
        time.sleep(0.06)  # so that there are several batches
log.close(timeout=300)
assert (log.dropped, log.depth) == (0, 0)
"""


@pytest.mark.slow
def test_several_processes_create_and_write_one_file(sqlite):
    root = Path(__file__).parents[3]
    workers = [subprocess.Popen([sys.executable, "-c", WRITE, sqlite, str(200 * k)], cwd=root) for k in range(4)]
    assert [worker.wait(HANG) for worker in workers] == [0] * 4
    assert sorted(read_predictions(sqlite)["id"].astype(int)) == list(range(800))


def test_a_new_file_can_be_read_by_its_owner_only(sqlite, opened, rows, tmp_path):
    log = opened(sqlite)
    asyncio.run(log.commit(rows(3)))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("predictions.db*")}
    assert modes == dict.fromkeys(modes, 0o600)
    assert "predictions.db" in modes
    log.close()
    (tmp_path / "predictions.db").chmod(0o640)  # for a group, as the operator decided
    opened(sqlite)
    assert (tmp_path / "predictions.db").stat().st_mode & 0o777 == 0o640


def test_a_log_of_a_newer_version_is_rejected_and_left_unchanged(url, opened):
    opened(url).close()
    change = "UPDATE predictions_version SET version = 2"
    store = store_from_url(url)
    store.open()
    store._connection.execute(change)
    store.close()
    for use in (PredictionLog.open, read_predictions):
        with pytest.raises(LogError, match=r"has version 2; this mlsys reads and writes version 1\. Upgrade mlsys"):
            use(url)


def test_a_table_of_another_program_is_rejected(url):
    store = store_from_url(url)
    store.open()
    store._connection.execute("DROP TABLE predictions_version")
    store.close()
    with pytest.raises(LogError, match="already has a table `predictions`, which is not a prediction log of mlsys"):
        PredictionLog.open(url)


def test_a_file_that_is_not_a_database_is_rejected(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(LogError, match=r"notes\.txt is not an SQLite database"):
        PredictionLog.open(f"sqlite:///{tmp_path}/notes.txt")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/db", "Unsupported prediction log 'mysql'. Use sqlite:///predictions.db"),
        ("sqlite://predictions.db", "No file name in sqlite://predictions.db. Use sqlite:///predictions.db"),
        ("sqlite:///", "No file name in"),
        ("sqlite:///a.db?mode=ro", "No file name in"),
        (
            "postgresql://ann:hush@h/db?nonsense=1&password=hush",
            r"Invalid PostgreSQL URL postgresql://ann:\*\*\*@h/db\?nonsense=1&password=\*\*\*",
        ),
    ],
)
def test_an_invalid_url_has_a_helpful_message(url, message):
    with pytest.raises(LogError, match=message) as caught:
        PredictionLog.open(url)
    assert "hush" not in str(caught.value)


def test_a_missing_driver_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LogError, match=r"needs psycopg; run pip install 'mlsys\[postgres\]'"):
        PredictionLog.open("postgresql://host/db")


def test_reading_a_missing_log_fails(tmp_path, postgres):
    with pytest.raises(LogError, match="Prediction log not found"):
        read_predictions(tmp_path / "predictions.db")
    assert not (tmp_path / "predictions.db").exists()
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(LogError, match="but not a prediction log"):
        read_predictions(tmp_path / "other.db")
    with pytest.raises(LogError, match="No prediction log in the database"):
        read_predictions(postgres)


def test_a_copy_in_a_read_only_folder_can_be_read(sqlite, opened, rows, unprivileged):
    log = opened(sqlite)
    log.put(rows(3))
    log.close()
    data = store_from_url(sqlite).path.read_bytes()
    folder = unprivileged()
    (folder / "predictions.db").write_bytes(data)
    folder.chmod(0o555)
    assert len(read_predictions(folder / "predictions.db")) == 3


def test_put_takes_less_than_three_microseconds_per_row(sqlite, opened, rows):
    log = opened(sqlite, max_pending=1_000_000)
    singles = [[row] for row in rows(2_000)]

    def cost():
        start = time.thread_time()  # without the time for which other processes and threads had the processor
        for single in singles:
            log.put(single)
        return (time.thread_time() - start) / len(singles)

    assert min(cost() for _ in range(10)) < 3e-6


def test_the_log_does_not_import_slow_libraries():
    code = "import serve.predictions, sys; print({'numpy', 'pandas', 'psycopg', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.stdout == "set()\n"
