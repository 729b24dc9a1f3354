"""What arrives on a connection besides plain requests: offers of other protocols, trailers, other hosts, an end."""

import json
import re
import socket

import pytest

from serve.http.header_limits import HEADER_LIMIT, LINGER_BYTES
from serve.http.hosts import AllowedHosts
from serve.keys import add_key
from serve.settings import Settings
from tests.serve.conftest import RECORD
from tests.serve.http.test_both_paths import responses
from tests.serve.http.test_fast_path import answers, request, same
from tests.waiting import HANG


@pytest.fixture(scope="module")
def service(start, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("connections")
    with start(folder, run.path, "--batch-workers", 0, "--log-url", "none") as service:
        service.port = int(service.url.rpartition(":")[2])
        yield service


@pytest.fixture(scope="module")
def guarded(start, run, tmp_path_factory):
    """A service that needs a key, and the key."""
    folder = tmp_path_factory.mktemp("guarded")
    key = add_key(folder / "keys.txt", "crm", "score")
    arguments = ("--batch-workers", 0, "--log-url", "none", "--keys", folder / "keys.txt")
    with start(folder, run.path, *arguments) as service:
        service.port = int(service.url.rpartition(":")[2])
        yield service, key


def exchange(service, *pieces):
    """Send pieces, finish sending, and return everything that the service sends until it closes."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANG) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            return file.read()


OFFER = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABkAAQAoAAAAAIAAAAA"}


@pytest.mark.parametrize("path", ["/predict", "/predict?explain=true", "/predict/batch"])
def test_an_offer_of_another_protocol_is_ignored(service, path):
    body = {"records": [RECORD]} if path.endswith("batch") else RECORD
    plain, offered = request(body, path=path), request(body, path=path, **OFFER)
    (expected,) = answers(service, plain)
    head, end, content = offered.partition(b"\r\n\r\n")
    for pieces in ([offered], [head + end, content], [head[:50], head[50:] + end + content[:9], content[9:]]):
        assert same(answers(service, *pieces)[0]) == same(expected)
    two = answers(service, offered + plain, count=2)  # the connection goes on
    assert [same(each) for each in two] == [same(expected)] * 2


def test_an_offer_in_a_chunked_request_or_without_a_body_is_ignored(service):
    body = json.dumps(RECORD).encode()
    head = request(b"", content_length=None, transfer_encoding="chunked", **OFFER)
    (answer,) = answers(service, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    assert same(answer) == same(answers(service, request())[0])
    (status, _, found), *_ = answers(
        service, b"GET /ready HTTP/1.1\r\nHost: localhost\r\n" + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert (status, found["status"]) == (200, "ready")


def test_this_is_not_a_proxy(service):
    ((status, headers, body),) = answers(service, b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (status, body["error"], headers["allow"]) == (405, "method", "GET, POST")


@pytest.mark.parametrize("split", [False, True], ids=["fast path", "ASGI path"])
def test_trailers_are_not_headers(guarded, split):
    service, key = guarded
    body = json.dumps(RECORD).encode()

    def ask(trailers, **headers):
        head = request(b"", content_length=None, transfer_encoding="chunked", **headers)
        rest = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)
        return answers(service, *([head, rest] if split else [head + rest]))[0]

    assert ask(b"X-API-Key: %b\r\n" % key.encode())[0] == 401
    status, headers, _ = ask(b"X-Request-Id: trailer-1\r\nContent-Type: text/plain\r\nHost: b\r\n", x_api_key=key)
    assert (status, headers["x-request-id"] == "trailer-1") == (200, False)


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"host": "localhost:1"}, 200, None),
        ({"host": "LOCALHOST"}, 200, None),
        ({"host": "127.0.0.1"}, 200, None),
        ({"host": "[::1]:8000"}, 200, None),
        ({"host": "evil.example"}, 421, "wrong_host"),
        ({"host": "localhost.evil.example"}, 421, "wrong_host"),
        ({"host": "localhost@evil.example"}, 421, "wrong_host"),
        ({"host": "10.0.0.1"}, 421, "wrong_host"),
        ({"host": ""}, 421, "wrong_host"),
        ({"host": None}, 400, "malformed_http"),
        ({"host": "localhost\r\nHost: localhost"}, 400, "malformed_http"),
    ],
)
def test_host_must_name_this_service_once(service, headers, status, kind):
    whole = request(**headers)
    head, end, body = whole.partition(b"\r\n\r\n")
    for pieces in ([whole], [head + end, body]):
        ((found, _, content),) = answers(service, *pieces)
        assert (found, content.get("error")) == (status, kind)


@pytest.mark.parametrize(
    ("settings", "allowed", "refused"),
    [
        ({}, ["localhost", "127.0.0.1", "[::1]"], ["10.0.0.5", "scoring.example"]),
        ({"host": "10.0.0.5"}, ["10.0.0.5:80", "localhost"], ["10.0.0.6", "scoring.example"]),
        ({"host": "2001:DB8::1"}, ["[2001:db8:0::1]"], ["[2001:db8::2]"]),
        ({"host": "0.0.0.0", "insecure": True}, ["10.0.0.5", "[::1]", socket.gethostname()], ["a.example"]),
        ({"host": "0.0.0.0", "keys": "keys.txt"}, ["a.example", "10.0.0.5", "localhost"], ["a b", ""]),
        ({"allowed_hosts": ("A.example",)}, ["a.example.:80", "localhost"], ["b.example", "10.0.0.5"]),
        ({"allowed_hosts": ("*",)}, ["a.example", "10.0.0.5"], ["a/b"]),
    ],
)  # fmt: skip
def test_hosts_follow_from_the_address_unless_they_are_given(settings, allowed, refused):
    hosts = AllowedHosts.from_settings(Settings("latest", **settings))
    assert [host for host in allowed if not hosts.allows(host.encode())] == []
    assert [host for host in refused if hosts.allows(host.encode())] == []


@pytest.mark.parametrize("size", [1_400, 16_384, 300_000], ids=["packets", "pieces", "at once"])
@pytest.mark.parametrize("more", [0, 1], ids=["at the limit", "above it"])
def test_the_limit_on_headers_does_not_depend_on_packets(service, size, more):
    whole = request(x_long="")
    used = whole.index(b"\r\n\r\n") + 4
    whole = whole.replace(b"x-long: ", b"x-long: " + b"a" * (HEADER_LIMIT - used + more))
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    ((status, *_),) = answers(service, *pieces, pause=0)
    assert status == (431 if more else 200)
    end = whole.index(b"\r\n\r\n")
    ((status, *_),) = answers(service, whole[: end + 3], whole[end + 3 :])
    assert status == (431 if more else 200)


def test_a_client_that_goes_on_sending_gets_the_answer(service):
    for _ in range(10):
        status = re.match(rb"HTTP/1.1 (\d+)", exchange(service, b"GET / HTTP/1.1\r\nx-long: ", *[b"a" * 100_000] * 20))
        assert status is not None
        assert status[1] == b"431"
    assert LINGER_BYTES > 2_000_000


def test_a_client_that_has_finished_sending_gets_its_answers(service):
    own = (b"date", b"x-request-id", b"content-length")

    def found(*pieces):
        return [
            (status, [header for header in headers if header[0] not in own], json.loads(body) | {"request_id": ""})
            for status, headers, body in responses(exchange(service, *pieces))
        ]

    for whole in (request(), request(path="/predict?explain=true"), request(b"{"), request([RECORD], path="/score")):
        head, end, body = whole.partition(b"\r\n\r\n")
        assert len(found(whole)) == 1
        assert found(whole) == found(head + end, body)
    slow = request({"records": [RECORD] * 3_000}, path="/predict/batch")
    assert [status for status, *_ in found(slow + request() + request(b"{"))] == [200, 200, 400]
    assert found(request()[:-1]) == []  # a part of a request gets no answer


def test_malformed_http_after_a_request_leaves_its_answer(service):
    slow = request({"records": [RECORD] * 3_000}, path="/predict/batch")
    for first in (request(), slow):
        found = answers(service, first + b"NOT HTTP\r\n\r\n", count=2)
        assert [status for status, *_ in found] == [200, 400]
    broken = request(b"", content_length=None, transfer_encoding="chunked")
    for pieces in ([broken + b"x\r\n"], [broken, b"x\r\n"], [broken, b"1\r\n{\r\n", b"x\r\n"]):
        ((status, _, body),) = answers(service, *pieces)
        assert (status, body["error"]) == (400, "malformed_http")
