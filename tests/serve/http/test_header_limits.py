"""Limits on the size and arrival time of headers: hostile clients cost neither memory nor connections."""

import json
import socket
import time

import pytest

from tests.serve.http.test_fast_path import answers, request
from tests.waiting import HANG

TIMEOUT = 2.0  # seconds; sending a whole request in these tests must take less


@pytest.fixture(scope="module")
def service(start, run, tmp_path_factory):
    with start(
        tmp_path_factory.mktemp("headers"), run.path, "--batch-workers", 0, "--body-timeout", TIMEOUT
    ) as service:
        service.port = int(service.url.rpartition(":")[2])
        yield service


def send_until_closed(service, *pieces, pause=0.0):
    """Send pieces until the service closes the connection; return status, body and the number of bytes accepted."""
    taken, answer = 0, b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANG) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                taken += len(piece)
                time.sleep(pause)
        except ConnectionError:
            pass
        try:
            while data := connection.recv(65_536):
                answer += data
        except ConnectionError:
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else None, json.loads(body) if body else {}, taken


FIRST = b"POST /predict HTTP/1.1\r\nhost: localhost\r\n"
ENDLESS = {
    "one header": (FIRST + b"x-long: ", *[b"a" * 10_000] * 5_000),
    "many headers": (FIRST, *(b"".join(b"x-%d-%d: a\r\n" % (i, j) for j in range(1_000)) for i in range(5_000))),
    "a path": (b"POST /", *[b"a" * 10_000] * 5_000),
    "an extension of a chunk": (
        FIRST + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1;x=",
        *[b"a" * 10_000] * 5_000,
    ),
    "trailers": (
        FIRST + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n",
        *[b"x-trailer: " + b"a" * 10_000 + b"\r\n"] * 5_000,
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_endless_headers_are_cut_off(service, what):
    status, _, taken = send_until_closed(service, *ENDLESS[what])
    assert status in (431, 400, None)  # a client that is still sending may lose the response
    assert taken < 10_000_000  # the limit plus the socket buffers


def test_large_headers_are_rejected_and_usual_ones_are_not(service):
    ((status, headers, body),) = answers(service, FIRST, b"x-long: " + b"a" * 70_000)
    assert (status, body["error"], headers["connection"]) == (431, "headers_too_large", "close")
    assert body["request_id"] == headers["x-request-id"]
    ((status, *_),) = answers(service, request(x_long="a" * 30_000))
    assert status == 200


def test_slow_headers_time_out(service):
    started = time.monotonic()
    status, body, _ = send_until_closed(service, *[b"P", b"O", b"S"])
    assert (status, body["error"]) == (408, "head_timeout")
    assert time.monotonic() - started > TIMEOUT - 0.1  # the event loop rounds its clock to milliseconds
    ((status, *_), (late, _, error)) = answers(service, request() + FIRST, count=2)
    assert (status, late, error["error"]) == (200, 408, "head_timeout")


def test_idle_connections_are_closed(service):
    started = time.monotonic()
    assert send_until_closed(service) == (None, {}, 0)
    assert time.monotonic() - started > TIMEOUT - 0.1  # the event loop rounds its clock to milliseconds


def test_a_body_in_pieces_is_accepted(service):
    whole = request()
    at = whole.index(b"\r\n\r\n") + 10
    ((status, *_),) = answers(service, whole[:20], whole[20:at], whole[at:], pause=0.2)
    assert status == 200


def test_malformed_http_has_the_common_error_format(service):
    for data in (b"\x16\x03\x01\x02\x00\x01\x00", request(transfer_encoding="chunked")):
        ((status, headers, body),) = answers(service, data)
        assert (status, body["error"], headers["content-type"]) == (400, "malformed_http", "application/json")
    assert 'mlsys_serve_errors_total{kind="malformed_http"} 2.0' in service.client.get("/metrics").text
