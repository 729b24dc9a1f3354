"""A failing database never fails a request: failures are counted, reported once a minute, and retried."""

import asyncio
import logging
import resource
import signal
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from serve.predictions import LogUnavailableError, read_predictions
from serve.predictions import health as health_module
from serve.predictions import sqlite as sqlite_module
from serve.predictions.health import Health
from tests.waiting import HANG


def ids(url):
    return read_predictions(url)["id"].astype(int).tolist()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@contextmanager
def file_size_limit(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_loses_no_rows(sqlite, opened, rows, caplog, until):
    log = opened(sqlite, features=True)
    log.put(rows(10))
    until(lambda: log.depth == 0)
    with file_size_limit(200_000):  # each batch takes more
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
    assert "cannot write the prediction log, retrying with 500 rows pending" in first
    assert "works again" in last


def test_a_full_disk_fails_the_commit(sqlite, opened, rows, monkeypatch):
    monkeypatch.setattr(health_module, "MIN_BACKOFF", HANG)
    log = opened(sqlite, durable=True, features=True)

    async def commit():
        await log.commit(rows(1))
        with file_size_limit(200_000):
            with pytest.raises(LogUnavailableError, match=r"predictions\.db: (disk|database)"):
                await log.commit(rows(500, first=1, features={"text": "x" * 1_000}))
            with pytest.raises(LogUnavailableError, match="next attempt in"):  # not yet due, so nothing is tried
                await log.commit(rows(1, first=900))
        log._writer.health._retry_at = 0.0  # now it is due
        await log.commit(rows(1, first=1_000))

    asyncio.run(commit())
    log.close()
    assert ids(sqlite) == [0, 1_000]  # the caller of a failed commit retries, so the log does not
    assert (log.failed, log.dropped, log.depth) == (1, 0, 0)


def test_a_locked_database_is_retried(sqlite, opened, rows, monkeypatch, until):
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT", 0.05)
    log = opened(sqlite)
    with closing(sqlite3.connect(sqlite.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.put(rows(5))
        until(lambda: log.failed > 1)
        other.execute("ROLLBACK")
    until(lambda: log.depth == 0)
    assert ids(sqlite) == [0, 1, 2, 3, 4]


def test_a_read_only_folder_is_retried(opened, rows, caplog, unprivileged, until):
    folder = unprivileged()
    folder.chmod(0o555)
    log = opened(f"sqlite:///{folder}/predictions.db")
    assert log.failed == 1  # found on opening, but the service starts all the same
    log.put(rows(2))
    until(lambda: log.failed > 2)
    assert log.depth == 2
    folder.chmod(0o755)
    until(lambda: log.depth == 0)
    assert "Permission denied" in warnings(caplog)[0]
    assert ids(f"sqlite:///{folder}/predictions.db") == [0, 1]


def test_a_file_that_was_moved_away_is_created_again(sqlite, opened, rows, tmp_path, until):
    log = opened(sqlite)
    log.put(rows(2))
    until(lambda: log.depth == 0)
    for file in tmp_path.iterdir():
        file.rename(tmp_path / file.name.replace("predictions", "old"))
    log.put(rows(2, first=2))
    log.close()
    assert ids(tmp_path / "old.db") == [0, 1]
    assert ids(sqlite) == [2, 3]


def test_closing_does_not_wait_for_an_unavailable_database(tmp_path, opened, rows, caplog):
    (tmp_path / "file").write_text("no folder")
    log = opened(f"sqlite:///{tmp_path}/file/predictions.db")
    log.put(rows(7))
    log.close(timeout=0.5)
    assert (log.dropped, log.depth) == (7, 7)
    assert "7 predictions not logged before shutdown (" in warnings(caplog)[-1]


def test_at_most_one_warning_per_minute(caplog, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(health_module.time, "monotonic", lambda: now[0])
    health = Health("sqlite:///predictions.db")
    for _ in range(100):
        health.record_failure("disk full", 3)
        health.record_overflow(2)
        now[0] += 1
    assert len(warnings(caplog)) == 2
    assert warnings(caplog)[1].endswith("; 120 rows lost since the last report")
    left = health_module.MAX_BACKOFF - 1  # a second has passed since
    assert health_module.MAX_BACKOFF * 0.75 - 1 <= health.wait <= left, "the delay grows, up to a bound"


@pytest.mark.parametrize(("number", "rows"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
def test_warnings_count_rows_in_correct_english(caplog, number, rows):
    health = Health("sqlite:///predictions.db")
    health.record_overflow(number)
    health.record_failure("locked", number)
    health.record_abandoned(number)
    failure, abandoned = warnings(caplog)
    assert f"retrying with {rows} pending: locked" in failure
    assert (f"; {rows} lost since the last report" in failure) == (number > 0)
    assert abandoned.startswith(f"{rows.replace('row', 'prediction')} not logged before shutdown")


def test_a_flapping_database_is_reported_once_a_minute(caplog):
    health = Health("sqlite:///predictions.db")
    for _ in range(50):
        health.record_failure("locked", 0)
        health.record_success()
    assert [message.split(":")[0] for message in warnings(caplog)] == [
        "cannot write the prediction log, retrying with 0 rows pending",
        "the prediction log sqlite",
    ]


def test_a_full_queue_does_not_hide_a_failing_database(caplog):
    health = Health("sqlite:///predictions.db")
    health.record_overflow(5)
    health.record_success()
    health.record_failure("disk full", 9)
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
    assert warnings(caplog)[0].startswith("cannot write the prediction log")


def test_a_commit_fails_while_postgresql_is_down(server, postgres, opened, rows):
    log = opened(postgres, durable=True)
    server.stop()
    try:
        with pytest.raises(LogUnavailableError, match="postgresql://"):
            asyncio.run(log.commit(rows(1)))
    finally:
        server.start()

    async def commit():
        await asyncio.sleep(log._writer.health.wait)
        await log.commit(rows(1, first=1))

    asyncio.run(commit())
    assert ids(postgres) == [1]


def test_a_broken_connection_is_reopened(postgres, server, opened, rows, until):
    log = opened(postgres)
    log.put(rows(1))
    until(lambda: log.depth == 0)
    server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mlsys serve'")
    log.put(rows(1, first=1))
    until(lambda: log.depth == 0)
    assert log.failed == 1
    assert ids(postgres) == [0, 1]


def test_a_commit_times_out(sqlite, opened, rows, monkeypatch):
    monkeypatch.setattr("serve.predictions.log.COMMIT_TIMEOUT", 0.2)
    log = opened(sqlite, durable=True)
    written = threading.Event()
    monkeypatch.setattr(log._writer._store, "write", lambda *given: written.wait(HANG))
    with pytest.raises(LogUnavailableError, match="did not commit within"):
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
