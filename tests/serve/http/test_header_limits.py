"""What comes before a body has a size and a time; hostile clients cost neither memory nor connections."""

import json
import socket
import time

import pytest

from tests.serve.http.test_fast_path import answers, request
from tests.waiting import HANG

SECONDS = 2.0  # that the service waits; what these tests send in one go may not take as long


@pytest.fixture(scope="module")
def service(start, run, tmp_path_factory):
    with start(tmp_path_factory.mktemp("heads"), run.path, "--batch-workers", 0, "--body-timeout", SECONDS) as service:
        service.port = int(service.url.rpartition(":")[2])
        yield service


def until_it_hangs_up(service, *pieces, pause=0.0):
    """Send pieces until the service hangs up; return the status, the answer's body, and how many bytes it took."""
    taken, answer = 0, b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANG) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
                taken += len(piece)
                time.sleep(pause)
        except ConnectionError:
            pass
        try:
            while data := line.recv(65_536):
                answer += data
        except ConnectionError:
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else None, json.loads(body) if body else {}, taken


FIRST = b"POST /predict HTTP/1.1\r\nhost: service\r\n"
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
def test_a_head_without_an_end_is_cut_off(service, what):
    status, _, taken = until_it_hangs_up(service, *ENDLESS[what])
    assert status in (431, 400, None)  # a client that still sends may lose the answer
    assert taken < 10_000_000  # what the sockets' buffers hold beside the limit


def test_a_large_head_is_refused_and_a_usual_one_is_not(service):
    ((status, headers, body),) = answers(service, FIRST, b"x-long: " + b"a" * 70_000)
    assert (status, body["error"], headers["connection"]) == (431, "headers_too_large", "close")
    assert body["request_id"] == headers["x-request-id"]
    ((status, *_),) = answers(service, request(x_long="a" * 30_000))
    assert status == 200


def test_a_head_that_comes_too_slowly_is_given_up(service):
    begun = time.monotonic()
    status, body, _ = until_it_hangs_up(service, *[b"P", b"O", b"S"])
    assert (status, body["error"]) == (408, "head_timeout")
    assert time.monotonic() - begun >= SECONDS
    ((status, *_), (late, _, said)) = answers(service, request() + FIRST, count=2)
    assert (status, late, said["error"]) == (200, 408, "head_timeout")


def test_whoever_asks_nothing_is_hung_up_on(service):
    begun = time.monotonic()
    assert until_it_hangs_up(service) == (None, {}, 0)
    assert time.monotonic() - begun >= SECONDS


def test_a_body_may_take_as_long_as_it_comes(service):
    whole = request()
    at = whole.index(b"\r\n\r\n") + 10
    ((status, *_),) = answers(service, whole[:20], whole[20:at], whole[at:], pause=0.2)
    assert status == 200


def test_what_is_no_http_is_refused_like_all_else(service):
    for data in (b"\x16\x03\x01\x02\x00\x01\x00", request(transfer_encoding="chunked")):
        ((status, headers, body),) = answers(service, data)
        assert (status, body["error"], headers["content-type"]) == (400, "malformed_http", "application/json")
    assert 'mlsys_serve_errors_total{kind="malformed_http"} 2.0' in service.client.get("/metrics").text
