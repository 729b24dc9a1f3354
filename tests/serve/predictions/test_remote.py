"""Sending rows to the log worker: rows are lost only when the queue is full, and every loss is counted."""

import asyncio
import socket
import threading
import time

import pytest

from serve.predictions import LogUnavailableError, PredictionLog, PredictionRow, RemoteLog, create_log, read_predictions
from serve.processes.log_worker import LogServer
from tests.waiting import HANG


def row(number, **changes):
    return PredictionRow(1_600_000_000.0 + number, 0.25, "conversion", "1.0.0", f"r{number}", **changes)


def listener_at(path):
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    listener.setblocking(False)
    return listener


class LogWorker:
    """The log worker, in a thread."""

    def __init__(self, path, url, **settings):
        self.log = PredictionLog.open(url, **settings)
        self._listener = listener_at(path)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(HANG)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await LogServer(self.log).serve(self._listener, self._stop)

    def stop(self):
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self.log.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.sock"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/predictions.db"


@pytest.fixture
def start_worker(path, url):
    made = []

    def make(url=url, **settings):
        made.append(LogWorker(path, url, **settings))
        return made[-1]

    yield make
    for process in made:
        process.stop()


def remote(path, **changes):
    return RemoteLog(path, "sqlite:///predictions.db", **{"durable": False, "features": True, **changes})


def test_sent_rows_are_written(path, url, start_worker):
    process = start_worker(features=True)
    log = remote(path)
    log.put([row(1, id=7, as_of="2020-02-24", features={"users": 3.5, "industry": None}), row(2, shadow=True)])
    assert log.depth == 2
    assert log.lag > 0
    log.close()
    assert log.depth == log.dropped == 0
    process.stop()
    found = read_predictions(url, features=True, shadow=None)
    assert list(found["id"].fillna("none")) == ["7", "none"]
    assert list(found["probability"]) == [0.25, 0.25]
    assert found["features"][0] == {"users": 3.5, "industry": None}
    assert str(found["as_of"][0]) == "2020-02-24 00:00:00"


def test_rows_wait_while_the_log_worker_is_down(path, url, start_worker):
    log = remote(path, max_pending=5)
    log.put([row(number) for number in range(4)])
    log.send()
    log.put([row(number) for number in range(4, 8)])
    assert (log.depth, log.dropped) == (5, 3)
    process = start_worker()
    log.close()
    process.stop()
    assert list(read_predictions(url)["request_id"]) == ["r0", "r1", "r2", "r3", "r4"]


def test_a_partially_sent_frame_is_sent_again(path, url, start_worker):
    log = remote(path)
    with listener_at(path) as listener:
        log.put([row(number, features={"text": "x" * 1_000}) for number in range(2_000)])
        log.send()
        connection, _ = listener.accept()
        assert len(connection.recv(10_000)) == 10_000
        assert log.depth == 2_000, "the frame fits into the socket buffer"
        connection.close()
    process = start_worker()
    log.close()
    process.stop()
    assert log.dropped == 0
    assert len(read_predictions(url)) == 2_000


def test_rows_left_at_shutdown_are_counted(path, caplog):
    log = remote(path)
    log.put([row(1), row(2)])
    log.close(timeout=0.05)
    assert log.dropped == 2
    assert "2 predictions not logged before shutdown" in caplog.text


def test_a_row_that_cannot_be_encoded_is_dropped_alone(path, url, start_worker):
    process = start_worker(features=True)
    log = remote(path)
    log.put([row(1, id=2**70), row(2, id="\ud800"), row(3, id="ß", features={"users": 2**70})])
    log.close()
    process.stop()
    found = read_predictions(url, features=True)
    assert list(found["id"]) == [str(2**70), "ß"]
    assert found["features"][1] == {"users": 2**70}
    assert log.dropped == 1


def test_a_commit_returns_after_the_row_is_in_the_database(path, url, start_worker):
    start_worker(durable=True)
    log = remote(path, durable=True)

    async def commit():
        await asyncio.gather(*(log.commit([row(number)]) for number in range(20)))
        return read_predictions(url)

    assert sorted(asyncio.run(commit())["request_id"]) == sorted(f"r{number}" for number in range(20))


def test_a_failed_commit_raises(path, tmp_path, start_worker):
    log = remote(path, durable=True)
    with pytest.raises(LogUnavailableError, match="the log worker is not running"):
        asyncio.run(log.commit([row(1)]))
    (tmp_path / "folder").mkdir()
    start_worker(f"sqlite:///{tmp_path}/folder", durable=True)
    with pytest.raises(LogUnavailableError, match="unable to open database file"):
        asyncio.run(log.commit([row(1)]))
    with pytest.raises(LogUnavailableError, match="surrogates"):
        asyncio.run(log.commit([row(1, id="\ud800")]))


def test_a_log_worker_that_hangs_fails_the_commit(path, monkeypatch):
    monkeypatch.setattr("serve.predictions.remote.COMMIT_TIMEOUT", 0.1)
    log = remote(path, durable=True)
    with listener_at(path), pytest.raises(LogUnavailableError, match="did not commit within"):
        asyncio.run(log.commit([row(1)]))


def test_threads_lose_no_row(path, url, start_worker):
    process = start_worker()
    log = remote(path)

    def put(start):
        for number in range(start, start + 500):
            log.put([row(number)])

    threads = [threading.Thread(target=put, args=(1_000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        log.send()
        time.sleep(0.001)
    log.close()
    process.stop()
    assert read_predictions(url)["request_id"].nunique() == 2_000


def test_without_a_url_nothing_is_logged(path):
    log = create_log(None, path, durable=True, features=True)
    log.put([row(1)])
    log.send()
    assert (log.name, log.durable, log.depth) == (None, False, 0)
