"""What is logged can be read back, from both databases; what cannot be logged costs itself only."""

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

from serve.predictions import LogError, LogUnavailable, PredictionLog, Row, read_predictions
from serve.predictions.open_store import store_from_url
from serve.predictions.reader import portions
from serve.predictions.row import Cells
from serve.predictions.store import PredictionFilter
from tests.waiting import HANG


def test_rows_come_back_as_they_were_put(url, opened):
    full = Row(
        1_600_000_000.25, 1 / 3, "conversion", "1.2.0", "r-1", 7, date(2020, 9, 13), True, {"users": 3, "n": None}
    )
    bare = Row(1_600_000_001.0, 1e-9, "conversion", "1.2.0", "r-2")
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


def test_features_are_logged_only_where_that_is_set(sqlite, opened, rows):
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

    def ids(**wanted):
        return read_predictions(url, **wanted)["id"].tolist()

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


def test_a_log_larger_than_a_portion_is_read_whole(url, opened, rows, monkeypatch):
    monkeypatch.setattr("serve.predictions.sqlite.READ_AT_ONCE", 300)
    monkeypatch.setattr("serve.predictions.postgres.READ_AT_ONCE", 300)
    log = opened(url)
    log.put(rows(2_500))
    log.close()
    assert [len(portion) for portion in portions(url, PredictionFilter())] == [300] * 8 + [100]
    assert read_predictions(url)["id"].astype(int).tolist() == list(range(2_500))


def test_nothing_is_logged_where_it_is_off(rows):
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


def test_who_waits_at_the_same_time_shares_transactions(url, opened, rows):
    log = opened(url, durable=True)

    async def commit():
        await asyncio.gather(*(log.commit(rows(first=number)) for number in range(200)))

    asyncio.run(commit())
    assert sorted(read_predictions(url)["id"].astype(int)) == list(range(200))
    assert next(log._writer._numbers) < 20


def test_who_gave_up_waiting_disturbs_nobody(sqlite, opened, rows):
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
    store.write(cells, 1)  # the connection broke during the commit, so it is tried again
    store.write(cells, 2)
    store.close()
    assert len(read_predictions(url)) == 2


BAD = {
    "an as-of that is no date": {"as_of": "soon"},
    "no probability": {"probability": float("nan")},
    "half a character": {"request_id": "\ud800"},
    "a feature that is no JSON": {"features": {"users": object()}},
}


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_a_row_that_no_database_takes_is_left_out_alone(url, opened, rows, caplog, wrong):
    log = opened(url, features=True)
    log.put([*rows(500), *rows(1, first=500, **wrong), *rows(500, first=501)])
    log.close()
    assert sorted(read_predictions(url)["id"].astype(int)) == [*range(500), *range(501, 1001)]
    assert (log.dropped, log.failed, log.depth) == (1, 0, 0)
    assert "does not take a row" in caplog.text


def test_a_refused_row_that_is_awaited_is_refused_to_its_caller_only(url, opened, rows):
    log = opened(url, durable=True)

    async def commit():
        tasks = [log.commit(rows(first=number, as_of="soon" if number == 3 else None)) for number in range(9)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(commit())
    assert [type(each) for each in results] == [*[type(None)] * 3, LogUnavailable, *[type(None)] * 5]
    assert len(read_predictions(url)) == 8
    assert log.dropped == 0  # its caller knows


def test_text_with_a_zero_character_is_a_refused_row_for_postgresql(postgres, opened, rows):
    log = opened(postgres)
    log.put([*rows(3), *rows(1, first=3, model="\0"), *rows(3, first=4)])
    log.close()
    assert (log.dropped, len(read_predictions(postgres))) == (1, 6)


def test_a_mistake_of_ours_costs_the_rows_at_hand_only(sqlite, opened, rows, caplog, until):
    log = opened(sqlite)
    log.put(["no row at all"])
    until(lambda: log.dropped == 1)
    log.put(rows())
    log.close()
    assert read_predictions(sqlite)["id"].tolist() == ["0"]
    assert "by a mistake in mlsys" in caplog.text


def test_a_full_queue_drops_and_counts(sqlite, opened, rows, caplog, until):
    log = opened(sqlite, queue=10)
    with closing(sqlite3.connect(sqlite.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing can be written
        log.put(rows(4))
        until(lambda: log._writer._in_hand == 4)
        log.put(rows(8, first=4))  # returns although nothing is written
        log.put(rows(8, first=12))
        assert (log.depth, log.dropped) == (14, 6)
        assert log.lag > 1_000_000  # these rows say that they are of 2020
        other.execute("ROLLBACK")
    log.close()
    assert read_predictions(sqlite)["id"].astype(int).tolist() == list(range(14))
    assert "rows lost since this was last said: 6" in caplog.text


def test_what_comes_after_the_end_is_dropped(sqlite, opened, rows):
    log = opened(sqlite)
    log.put(rows(2))
    log.close()
    log.put(rows(3))
    assert (log.dropped, len(read_predictions(sqlite))) == (3, 2)


WRITE = """
import sys, time
from serve.predictions import PredictionLog, Row
log = PredictionLog.open(sys.argv[1])
first = int(sys.argv[2])
for number in range(first, first + 200):
    log.put([Row(time.time(), 0.5, "conversion", "1.0.0", "r", id=number)])
    if number % 50 == 0:
        time.sleep(0.06)  # so that there are several batches
log.close(timeout=300)
assert (log.dropped, log.depth) == (0, 0)
"""


@pytest.mark.slow
def test_several_processes_make_and_write_one_file(sqlite):
    root = Path(__file__).parents[3]
    workers = [subprocess.Popen([sys.executable, "-c", WRITE, sqlite, str(200 * k)], cwd=root) for k in range(4)]
    assert [worker.wait(HANG) for worker in workers] == [0] * 4
    assert sorted(read_predictions(sqlite)["id"].astype(int)) == list(range(800))


def test_a_newer_log_is_refused_and_left_as_it_is(url, opened):
    opened(url).close()
    change = "UPDATE predictions_version SET version = 2"
    store = store_from_url(url)
    store.open()
    store._connection.execute(change)
    store.close()
    for use in (PredictionLog.open, read_predictions):
        with pytest.raises(LogError, match=r"has version 2; this mlsys reads and writes version 1\. Upgrade mlsys"):
            use(url)


def test_a_table_of_another_program_is_refused(url):
    store = store_from_url(url)
    store.open()
    store._connection.execute("DROP TABLE predictions_version")
    store.close()
    with pytest.raises(LogError, match="already has a table `predictions`, which is no prediction log of mlsys"):
        PredictionLog.open(url)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(LogError, match=r"notes\.txt is a file, but no SQLite database"):
        PredictionLog.open(f"sqlite:///{tmp_path}/notes.txt")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/db", "cannot be kept in 'mysql'. Give sqlite:///predictions.db"),
        ("sqlite://predictions.db", "names no file. Give sqlite:///predictions.db"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a.db?mode=ro", "names no file"),
        (
            "postgresql://ann:hush@h/db?nonsense=1&password=hush",
            r"postgresql://ann:\*\*\*@h/db\?nonsense=1&password=\*\*\* is no URL of a PostgreSQL",
        ),
    ],
)
def test_a_wrong_url_is_refused_in_words(url, message):
    with pytest.raises(LogError, match=message) as caught:
        PredictionLog.open(url)
    assert "hush" not in str(caught.value)


def test_a_missing_driver_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LogError, match=r"needs psycopg: pip install 'mlsys\[postgres\]'"):
        PredictionLog.open("postgresql://host/db")


def test_there_is_nothing_to_read_where_nothing_was_logged(tmp_path, postgres):
    with pytest.raises(LogError, match="There is no prediction log"):
        read_predictions(tmp_path / "predictions.db")
    assert not (tmp_path / "predictions.db").exists()
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(LogError, match="but no prediction log"):
        read_predictions(tmp_path / "other.db")
    with pytest.raises(LogError, match="has no prediction log"):
        read_predictions(postgres)


def test_a_copy_in_a_folder_that_cannot_be_written_is_read(sqlite, opened, rows, unprivileged):
    log = opened(sqlite)
    log.put(rows(3))
    log.close()
    data = store_from_url(sqlite).path.read_bytes()
    folder = unprivileged()
    (folder / "predictions.db").write_bytes(data)
    folder.chmod(0o555)
    assert len(read_predictions(folder / "predictions.db")) == 3


def test_a_row_costs_its_caller_less_than_three_microseconds(sqlite, opened, rows):
    log = opened(sqlite, queue=1_000_000)
    singles = [[row] for row in rows(2_000)]

    def cost():
        start = time.thread_time()  # without the time for which other processes and threads had the processor
        for single in singles:
            log.put(single)
        return (time.thread_time() - start) / len(singles)

    assert min(cost() for _ in range(10)) < 3e-6


def test_logging_needs_none_of_the_libraries_that_are_slow_to_import():
    code = "import serve.predictions, sys; print({'numpy', 'pandas', 'psycopg', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.stdout == "set()\n"
