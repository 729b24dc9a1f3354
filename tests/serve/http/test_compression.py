"""Bodies may be gzip, within the same limits; large answers are gzip for clients that accept it."""

import gzip
import json

import pytest

from serve.http.compression import WORTH_COMPRESSING

JSON = "application/json"


def post(inside, path, body, encoding="gzip", **headers):
    given = {"content-type": JSON, **({"content-encoding": encoding} if encoding else {}), **headers}
    return inside("POST", path, content=body, headers=given)


@pytest.mark.parametrize(("path", "count"), [("/predict", 1), ("/predict/batch", 3), ("/predict/batch", 20_000)])
def test_a_compressed_body_is_scored_like_a_plain_one(inside, record, path, count):
    body = json.dumps(record if path == "/predict" else {"records": [record] * count}).encode()
    half = len(body) // 2
    expected = {**post(inside, path, body, encoding="identity").json(), "request_id": ""}
    for compressed in (gzip.compress(body), gzip.compress(body[:half]) + gzip.compress(body[half:])):
        answer = post(inside, path, compressed)
        assert answer.status_code == 200, answer.text
        assert {**answer.json(), "request_id": ""} == expected


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/score"])
@pytest.mark.parametrize(
    ("body", "encoding", "status", "kind"),
    [
        (b"{}", "br", 415, "unsupported_encoding"),
        (b"{}", "gzip, gzip", 415, "unsupported_encoding"),
        (b"{}", "gzip", 400, "malformed_gzip"),
        (gzip.compress(b'{"records": []}')[:-9], "gzip", 400, "malformed_gzip"),
        (gzip.compress(b"{}") + b"more", "gzip", 400, "malformed_gzip"),
        (b"", "gzip", 400, "malformed_gzip"),
        (gzip.compress(b" " * 3_000_000), "gzip", 413, "too_large"),
    ],
    ids=["another", "twice", "plain", "cut", "followed", "empty", "bomb"],
)
def test_what_is_not_gzip_or_too_large_is_rejected(inside_of, run, path, body, encoding, status, kind):
    inside = inside_of(run, max_body_mb=2)
    answer = post(inside, path, body, encoding)
    assert (answer.status_code, answer.json()["error"]) == (status, kind)
    if status == 415:
        assert "Content-Encoding" in answer.json()["message"]
        assert answer.headers["accept-encoding"] == "gzip"


def test_large_answers_are_compressed_for_clients_that_accept_it(inside, record):
    many = json.dumps({"records": [record] * 1_000}).encode()
    plain = post(inside, "/predict/batch", many, None, **{"accept-encoding": "identity"})
    small = post(inside, "/predict/batch", many, None, **{"accept-encoding": "br;q=0.5, gzip"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert small.json()["predictions"] == plain.json()["predictions"]
    assert len(plain.content) > WORTH_COMPRESSING
    for path in ("/", "/docs", "/openapi.json"):
        assert inside.get(path, headers={"accept-encoding": "gzip"}).headers["content-encoding"] == "gzip"
    few = json.dumps({"records": [record]}).encode()
    assert "content-encoding" not in post(inside, "/predict/batch", few, None).headers
    parquet = post(inside, "/predict/batch", many, None, accept="application/vnd.apache.parquet")
    assert "content-encoding" not in parquet.headers
