"""The fast path gives the same responses as the ASGI path, which takes every request that is not a plain record."""

import json
import os
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from serve.http.fast_path import FastPath, protocol_for
from serve.keys import add_key
from serve.predictions import read_predictions
from tests.serve.conftest import RECORD
from tests.waiting import HANG


@pytest.fixture(scope="module")
def service(start, run, tmp_path_factory):
    with start(tmp_path_factory.mktemp("fast"), run.path, "--batch-workers", 0) as service:
        service.port = int(service.url.rpartition(":")[2])
        service.database = f"sqlite:///{service.log.parent}/predictions.db"
        yield service


def request(body=None, path="/predict", version="1.1", **headers):
    content = json.dumps(RECORD if body is None else body).encode() if not isinstance(body, bytes) else body
    given = {"host": "localhost", "content-type": "application/json", "content-length": len(content)}
    named = given | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in named.items() if value is not None]
    return "\r\n".join([f"POST {path} HTTP/{version}", *lines, "", ""]).encode() + content


def answers(service, *pieces, count=1, pause=0.05):
    """Send pieces separately; return status, headers and body of each response."""
    found = []
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANG) as connection:
        for index, piece in enumerate(pieces):
            time.sleep(pause if index else 0)
            connection.sendall(piece)
        with connection.makefile("rb") as file:
            while len(found) < count:
                status = int(file.readline().split()[1])
                headers = dict(iter(lambda: split(file.readline()), None))
                body = file.read(int(headers.get("content-length", 0)))
                if status != 100:
                    found.append((status, headers, json.loads(body)))
    return found


def split(line):
    return tuple(line.decode().rstrip("\r\n").split(": ", 1)) if line.strip() else None


def same(answer):
    """Return a response without the parts that differ between requests."""
    status, headers, body = answer
    own = {"date", "x-request-id", "content-length"}
    return status, {name: value for name, value in headers.items() if name not in own}, body | {"request_id": ""}


PLAIN = [
    request(),
    request(path="/predict?id=7&as_of=2020-02-24"),
    request({"users": None, "actions": 1, "industry": None}),
    request({"users": 99, "actions": 0.5, "industry": "Fishing"}),
    request({**RECORD, "users": 20.000001}),
    request(x_request_id="mine-1", accept="*/*"),
]
OTHER = [
    request(path="/predict?explain=true"),
    request(path="/predict?id=7&when=now"),
    request(path="/predict?as_of=soon"),
    request({"users": "3", "actions": 0.5, "industry": "Software"}),
    request({"users": 3, "actions": None, "industry": "Software"}),
    request({"users": 3, "actions": 1e39, "industry": "Software"}),
    request({"user": 3, "actions": 0.5, "industry": "Software"}),
    request(b'{"users": 3, "users": 4, "actions": 0.5, "industry": "Software"}'),
    request(b'{"users": NaN, "actions": 0.5, "industry": "Software"}'),
    request([1]),
    request(b"{"),
    request(b""),
    request(content_type="text/plain"),
    request(content_type=None),
    request(origin="http://elsewhere"),
    request(version="1.0"),
    request(connection="close"),
    request(path="/predict/"),
    request(path="/pr%65dict"),
    request(expect="100-continue"),
]


@pytest.mark.parametrize("whole", [*PLAIN, *OTHER])
def test_a_request_in_one_piece_has_the_same_response_as_in_two(service, whole):
    head, end, body = whole.partition(b"\r\n\r\n")
    pieces = [head + end, body] if body else [head, end]
    (fast,), (asgi,) = answers(service, whole), answers(service, *pieces)
    assert same(fast) == same(asgi)
    assert (fast[0] == 200) == (whole in PLAIN or whole in (OTHER[0], *OTHER[14:17], *OTHER[18:]))


def test_only_plain_records_take_the_fast_path(inside_of, run):
    fast_path = FastPath(inside_of(run).service)

    def answer(body, query=b"", **headers):
        given = {"host": "localhost", "content_type": "application/json", **headers}
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
        return fast_path.respond(pairs, query, json.dumps(body).encode(), "", 0.0, [])

    assert fast_path.is_open()
    assert answer(RECORD, b"explain=all") is None
    assert answer(RECORD).startswith(b"HTTP/1.1 200 OK")
    assert answer({**RECORD, "users": None, "industry": "Fishing"}, b"id=7")
    assert answer(RECORD, b"explain=true") is answer([]) is answer(RECORD, content_type="text/csv") is None
    assert answer(RECORD, host="other.example") is answer(RECORD, content_encoding="gzip") is None


def test_after_an_internal_error_the_asgi_path_responds(caplog):
    class Broken:
        service = None

        def respond(self, *arguments):
            raise ZeroDivisionError

    protocol = object.__new__(protocol_for(Broken()))
    protocol.transport, protocol.client, protocol.url, protocol.headers = (
        SimpleNamespace(is_closing=bool),
        None,
        b"",
        [],
    )
    protocol.server_state = SimpleNamespace(default_headers=[])
    assert protocol._respond() is None
    assert "internal error on the fast path" in caplog.text


@pytest.mark.parametrize("settings", [{"log_url": "sqlite:///log.db", "log_durable": True}, {"shadow": "run"}])
def test_it_is_closed_if_a_response_has_to_wait(inside_of, run, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = settings | ({"shadow": str(run.path)} if "shadow" in settings else {})
    assert not FastPath(inside_of(run, **given).service).is_open()


def test_a_body_may_come_in_chunks(service):
    body = json.dumps(RECORD).encode()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = request(b"", content_length=None, transfer_encoding="chunked")
    (answer,) = answers(service, head + chunks)
    assert same(answer) == same(answers(service, request())[0])


def test_pipelined_requests_are_answered_in_order(service):
    numbers = [request(path=f"/predict?id={number}", x_request_id=f"n-{number}") for number in range(5)]
    numbers[3] = request(b"{", x_request_id="n-3")
    found = answers(service, b"".join(numbers), count=5)
    assert [status for status, _, _ in found] == [200, 200, 200, 400, 200]
    assert [body["request_id"] for _, _, body in found] == [f"n-{number}" for number in range(5)]
    assert [headers["x-request-id"] for _, headers, _ in found] == [f"n-{number}" for number in range(5)]


def test_requests_are_counted_and_logged(service):
    def counts():
        lines = [line.rsplit(" ", 1) for line in service.client.get("/metrics").text.splitlines()]
        found = {name: float(value) for name, value in lines if not name.startswith("#")}
        names = ('requests_total{endpoint="/predict",status="200"}', "probability_count", "warnings_total",
                 'request_seconds_count{endpoint="/predict"}')  # fmt: skip
        return [found.get(f"mlsys_serve_{name}", 0) for name in names]

    before = counts()
    answers(service, request(path="/predict?id=counted", x_request_id="c-1"))
    answers(service, request({**RECORD, "industry": "Fishing"}, x_request_id="c-2"))
    assert [after - first for after, first in zip(counts(), before, strict=True)] == [2, 2, 1, 2]
    service.until(lambda: len(logged(service, "c-1", "c-2")) == 2)
    assert list(logged(service, "c-1", "c-2")["id"].fillna("")) == ["counted", ""]
    lines = service.until(lambda: [each for each in service.lines() if each.get("request_id") == "c-2"])
    assert {name: lines[0][name] for name in ("path", "status", "method")} == {
        "path": "/predict", "status": 200, "method": "POST",
    }  # fmt: skip


def logged(service, *requests):
    rows = read_predictions(service.database)
    return rows[rows["request_id"].isin(requests)]


def test_rows_wait_while_the_log_worker_is_down(service):
    answers(service, request(x_request_id="before"))
    service.until(lambda: len(logged(service, "before")))
    (writer,) = (pid for pid in service.children() if has_the_database(pid))
    os.kill(writer, signal.SIGKILL)
    assert answers(service, request(x_request_id="meanwhile"))[0][0] == 200
    service.until(lambda: len(logged(service, "meanwhile")))
    assert any(line.get("message", "").startswith(f"log worker {writer} exited") for line in service.lines())


def has_the_database(pid):
    files = [file.readlink() for file in Path(f"/proc/{pid}/fd").iterdir()]
    return any("predictions.db" in file.name for file in files)


def test_keys_are_checked(start, run, tmp_path):
    key = add_key(tmp_path / "keys.txt", "crm", "score")
    with start(tmp_path, run.path, "--batch-workers", 0, "--keys", tmp_path / "keys.txt") as service:
        service.port = int(service.url.rpartition(":")[2])
        sent = [request(), request(x_api_key="wrong"), request(x_api_key=key, x_request_id="k-1")]
        assert [answers(service, each)[0][0] for each in sent] == [401, 401, 200]
        line = service.until(lambda: [each for each in service.lines() if each.get("request_id") == "k-1"])[0]
        assert line["client"] == "crm"
