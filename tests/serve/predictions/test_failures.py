"""A database that fails costs nobody an answer: it is counted, said once a minute, and tried again."""

import asyncio
import logging
import resource
import signal
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from serve.predictions import LogUnavailable, read_predictions
from serve.predictions import health as health_module
from serve.predictions import sqlite as sqlite_module
from serve.predictions.health import Health
from tests.waiting import HANG


def ids(url):
    return read_predictions(url)["id"].astype(int).tolist()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@contextmanager
def no_file_longer_than(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_loses_nothing_once_there_is_room_again(sqlite, opened, rows, caplog, until):
    log = opened(sqlite, features=True)
    log.put(rows(10))
    until(lambda: log.depth == 0)
    with no_file_longer_than(200_000):  # each batch takes more
        log.put(rows(500, first=10, features={"text": "x" * 1_000}))
        until(lambda: log.failed > 2)
        assert (log.depth, log.dropped) == (500, 0)
        assert len(ids(sqlite)) == 10
    until(lambda: log.depth == 0)
    log.put(rows(10, first=510))
    log.close()
    assert ids(sqlite) == list(range(520))
    assert log.dropped == 0
    first, last = warnings(caplog)
    assert "cannot be written, 500 rows wait and it is tried again" in first
    assert "works again" in last


def test_a_full_disk_is_said_to_who_waits_for_the_commit(sqlite, opened, rows, monkeypatch):
    monkeypatch.setattr(health_module, "FIRST_RETRY", HANG)
    log = opened(sqlite, durable=True, features=True)

    async def commit():
        await log.commit(rows(1))
        with no_file_longer_than(200_000):
            with pytest.raises(LogUnavailable, match=r"predictions\.db: (disk|database)"):
                await log.commit(rows(500, first=1, features={"text": "x" * 1_000}))
            with pytest.raises(LogUnavailable, match="tried again in"):  # not yet due: said without a try
                await log.commit(rows(1, first=900))
        log._writer.health._retry_at = 0.0  # now it is due
        await log.commit(rows(1, first=1_000))

    asyncio.run(commit())
    log.close()
    assert ids(sqlite) == [0, 1_000]  # who was told that it failed asks again, so those rows are not tried again
    assert (log.failed, log.dropped, log.depth) == (1, 0, 0)


def test_a_locked_database_is_tried_again(sqlite, opened, rows, monkeypatch, until):
    monkeypatch.setattr(sqlite_module, "BUSY_SECONDS", 0.05)
    log = opened(sqlite)
    with closing(sqlite3.connect(sqlite.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.put(rows(5))
        until(lambda: log.failed > 1)
        other.execute("ROLLBACK")
    until(lambda: log.depth == 0)
    assert ids(sqlite) == [0, 1, 2, 3, 4]


def test_a_folder_that_cannot_be_written(opened, rows, caplog, unprivileged, until):
    folder = unprivileged()
    folder.chmod(0o555)
    log = opened(f"sqlite:///{folder}/predictions.db")
    assert log.failed == 1  # found when it was opened, and no reason not to serve
    log.put(rows(2))
    until(lambda: log.failed > 2)
    assert log.depth == 2
    folder.chmod(0o755)
    until(lambda: log.depth == 0)
    assert "unable to open database file" in warnings(caplog)[0]
    assert ids(f"sqlite:///{folder}/predictions.db") == [0, 1]


def test_a_file_that_is_moved_away_is_made_anew(sqlite, opened, rows, tmp_path, until):
    log = opened(sqlite)
    log.put(rows(2))
    until(lambda: log.depth == 0)
    for file in tmp_path.iterdir():
        file.rename(tmp_path / file.name.replace("predictions", "old"))
    log.put(rows(2, first=2))
    log.close()
    assert ids(tmp_path / "old.db") == [0, 1]
    assert ids(sqlite) == [2, 3]


def test_a_database_that_never_comes_is_left_in_time(tmp_path, opened, rows, caplog):
    (tmp_path / "file").write_text("no folder")
    log = opened(f"sqlite:///{tmp_path}/file/predictions.db")
    log.put(rows(7))
    log.close(timeout=0.5)
    assert (log.dropped, log.depth) == (7, 7)
    assert "not logged before the service ended: 7 (" in warnings(caplog)[-1]


def test_no_more_than_a_line_a_minute(caplog, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(health_module.time, "monotonic", lambda: now[0])
    health = Health("sqlite:///predictions.db")
    for _ in range(100):
        health.fails("disk full", 3)
        health.overflows(2)
        now[0] += 1
    assert len(warnings(caplog)) == 2
    assert warnings(caplog)[1].endswith("; rows lost since this was last said: 120")
    left = health_module.LAST_RETRY - 1  # a second has passed since
    assert health_module.LAST_RETRY * 0.75 - 1 <= health.wait <= left, "the delay grows, up to a bound"


def test_a_database_that_comes_and_goes_is_said_once_a_minute_too(caplog):
    health = Health("sqlite:///predictions.db")
    for _ in range(50):
        health.fails("locked", 0)
        health.works()
    assert [message.split(":")[0] for message in warnings(caplog)] == [
        "the prediction log cannot be written, 0 rows wait and it is tried again",
        "the prediction log sqlite",
    ]


def test_that_the_queue_is_full_does_not_hide_that_the_database_fails(caplog):
    health = Health("sqlite:///predictions.db")
    health.overflows(5)
    health.works()
    health.fails("disk full", 9)
    assert ["faster than" in message for message in warnings(caplog)] == [True, False]
    assert "disk full" in warnings(caplog)[1]


def test_postgresql_may_restart(server, postgres, opened, rows, caplog, until):
    log = opened(postgres)
    log.put(rows(10))
    until(lambda: log.depth == 0)
    server.stop()
    try:
        log.put(rows(20, first=10))
        until(lambda: log.failed > 1)
        assert log.depth == 20
    finally:
        server.start()
    log.put(rows(5, first=30))
    until(lambda: log.depth == 0)
    assert ids(postgres) == list(range(35))
    assert log.dropped == 0
    assert warnings(caplog)[0].startswith("the prediction log cannot be written")


def test_who_waits_for_a_dead_postgresql_is_told(server, postgres, opened, rows):
    log = opened(postgres, durable=True)
    server.stop()
    try:
        with pytest.raises(LogUnavailable, match="postgresql://"):
            asyncio.run(log.commit(rows(1)))
    finally:
        server.start()

    async def commit():
        await asyncio.sleep(log._writer.health.wait)
        await log.commit(rows(1, first=1))

    asyncio.run(commit())
    assert ids(postgres) == [1]


def test_a_connection_that_is_cut_is_made_anew(postgres, server, opened, rows, until):
    log = opened(postgres)
    log.put(rows(1))
    until(lambda: log.depth == 0)
    server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mlsys serve'")
    log.put(rows(1, first=1))
    until(lambda: log.depth == 0)
    assert log.failed == 1
    assert ids(postgres) == [0, 1]


def test_a_server_that_does_not_answer_is_not_waited_for(sqlite, opened, rows, monkeypatch):
    monkeypatch.setattr("serve.predictions.log.COMMIT_SECONDS", 0.2)
    log = opened(sqlite, durable=True)
    written = threading.Event()
    monkeypatch.setattr(log._writer._store, "write", lambda *given: written.wait(HANG))
    with pytest.raises(LogUnavailable, match="did not commit within"):
        asyncio.run(log.commit(rows(1)))
    assert not written.is_set()
    written.set()


def test_no_password_is_ever_shown(opened, rows, caplog, tmp_path):
    log = opened(f"postgresql://ann:hush@/db?host={tmp_path}&sslpassword=hush")
    log.put(rows(1))
    log.close(timeout=0.2)
    assert log.failed > 0
    assert "postgresql://ann:***@/db" in caplog.text
    assert "hush" not in caplog.text
    assert Path(tmp_path).is_dir()
