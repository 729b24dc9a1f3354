"""API keys, rate limits, and secrets that must not leak."""

import asyncio
import base64
import json
import stat

import pytest

from serve.errors import RequestError, ServeError
from serve.http.auth import hash_key, read_keys
from serve.http.rate_limit import RateLimit
from serve.keys import add_key, main


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """A file of two keys, and the keys themselves."""
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    return path, {scope: add_key(path, f"{scope}-user", scope) for scope in ("score", "admin")}


@pytest.fixture(scope="module")
def guarded(inside_of, run, secrets):
    return inside_of(run, keys=read_keys(secrets[0]))


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def test_the_file_has_only_hashes_and_is_private(secrets):
    path, keys = secrets
    text = path.read_text()
    assert not any(secret in text for secret in keys.values())
    assert hash_key(keys["score"]) in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_command_creates_a_key(tmp_path, capsys, monkeypatch):
    path = tmp_path / "keys.txt"
    monkeypatch.setattr("sys.argv", ["keys", "crm", "--scope", "admin", "--file", str(path)])
    main()
    printed = capsys.readouterr()
    (key,) = read_keys(path)
    assert (key.name, key.scope) == ("crm", "admin")
    assert hash_key(printed.out.strip()).endswith(key.digest.hex())
    assert printed.out.strip() not in printed.err
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["crm score", "crm score secret", "crm root sha256$" + "0" * 64, "crm score sha256$zz", "a b c d"]
)
def test_a_malformed_file_is_rejected_without_quoting_it(tmp_path, line):
    path = tmp_path / "keys.txt"
    path.write_text(f"# comment\n\n{line}\n")
    with pytest.raises(ServeError, match="Line 3") as caught:
        read_keys(path)
    assert line not in str(caught.value)
    path.write_text("# nothing\n")
    with pytest.raises(ServeError, match="has no keys"):
        read_keys(path)


PROTECTED = ["/", "/model/info", "/models", "/metrics", "/docs", "/openapi.json", "/nowhere"]


@pytest.mark.parametrize("path", PROTECTED)
def test_only_health_endpoints_are_open_without_a_key(guarded, path, secrets):
    for headers in ({}, bearer("wrong"), bearer(""), {"x-api-key": "wrong"}, {"authorization": "Basic !!"}):
        answer = guarded.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Basic realm="mlsys"'  # Chromium supports no more
    assert guarded.get("/health").status_code == guarded.get("/ready").status_code == 200
    assert guarded.get(path, headers=bearer(secrets[1]["score"])).status_code in (200, 404)


def test_a_key_may_be_sent_in_each_form(guarded, secrets, record):
    secret = secrets[1]["score"]
    basic = base64.b64encode(f"anyone:{secret}".encode()).decode()
    for headers in (bearer(secret), {"x-api-key": secret}, {"authorization": f"Basic {basic}"}):
        assert guarded.post("/predict", record, headers=headers).status_code == 200
    assert guarded.post("/predict", record).status_code == 401


def test_reloading_needs_an_admin_key_in_a_header(guarded, secrets):
    keys = secrets[1]
    assert guarded.post("/model/reload", {}).status_code == 401
    assert guarded.post("/model/reload", {}, headers=bearer(keys["score"])).status_code == 403
    ambient = base64.b64encode(f"x:{keys['admin']}".encode()).decode()
    assert guarded.post("/model/reload", {}, headers={"authorization": f"Basic {ambient}"}).status_code == 403
    assert guarded.post("/model/reload", {}, headers=bearer(keys["admin"])).status_code == 200


def test_without_keys_nobody_reloads(inside):
    answer = inside.post("/model/reload", {})
    assert (answer.status_code, answer.json()["error"]) == (403, "no_admin_key")


def test_secrets_do_not_leak(inside_of, run, secrets, tmp_path, caplog):
    url = f"sqlite:///{tmp_path}/predictions.db"
    inside = inside_of(run, keys=read_keys(secrets[0]), log_url=url, access_log=True)
    secret = secrets[1]["score"]
    texts = [inside.get(path, headers=bearer(secret)).text for path in PROTECTED]
    texts += [inside.get("/model/info", headers=bearer(secret + "x")).text, caplog.text]
    for hidden in (secret, hash_key(secret), str(tmp_path), str(run.path)):
        assert not any(hidden in text for text in texts)


def test_the_rate_limit_applies_per_client(inside_of, run, secrets, record):
    keys = secrets[1]
    inside = inside_of(run, keys=read_keys(secrets[0]), rate=RateLimit(rate=1, burst=3))
    codes = [inside.post("/predict", record, headers=bearer(keys["score"])).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    rejected = inside.post("/predict", record, headers=bearer(keys["score"]))
    assert rejected.json()["error"] == "rate_limit"
    assert rejected.headers["retry-after"] == "1"
    assert inside.post("/predict", record, headers=bearer(keys["admin"])).status_code == 200
    assert inside.get("/health").status_code == 200
    guesses = [inside.post("/predict", record, headers=bearer("guess")).status_code for _ in range(4)]
    assert guesses == [401, 401, 401, 429]


def test_the_rate_limit_passes_the_configured_rate():
    now = [100.0]
    limit = RateLimit(rate=10, burst=5, clock=lambda: now[0])
    passed = 0
    for _ in range(1_000):
        passed += limit.wait("crm") == 0
        now[0] += 0.01
    assert passed == pytest.approx(100 + 5, abs=1)
    while limit.wait("crm") == 0:
        pass
    with pytest.raises(RequestError, match="Rate limit of 10/s exceeded"):
        limit.check("crm")


@pytest.mark.parametrize(("limit", "progress"), [(1, "1 request is in progress"), (2, "2 requests are in progress")])
def test_requests_above_the_concurrency_limit_are_rejected(inside_of, run, record, limit, progress):
    inside = inside_of(run, concurrency=limit)
    inside.service.in_flight.update(object() for _ in range(limit))
    rejected = inside.post("/predict", record)
    assert (rejected.status_code, rejected.json()["error"]) == (503, "concurrency")
    assert progress in rejected.json()["message"]
    assert rejected.headers["retry-after"] == "1"
    assert inside.get("/health").status_code == 200


def test_pages_of_allowed_origins_may_call(inside_of, run, secrets, record):
    inside = inside_of(run, keys=read_keys(secrets[0]), cors_origin=("https://crm.example",))
    preflight = {"origin": "https://crm.example", "access-control-request-method": "POST"}
    allowed = inside("OPTIONS", "/predict", headers=preflight)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "https://crm.example"
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    answer = inside.post("/predict", record, headers=bearer(secrets[1]["score"]) | {"origin": "https://crm.example"})
    assert answer.headers["access-control-allow-origin"] == "https://crm.example"
    other = inside("OPTIONS", "/predict", headers=preflight | {"origin": "https://other.example"})
    assert other.status_code == 401
    assert "access-control-allow-origin" not in other.headers


def test_a_body_that_does_not_arrive_times_out(inside_of, run):
    inside = inside_of(run, body_timeout=0.1)
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
    messages, sent = [{"type": "http.request", "body": b'{"users": ', "more_body": True}], []

    async def receive():
        return messages.pop() if messages else await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    async def ask():
        watching = asyncio.create_task(inside.service.run_background_tasks())
        await inside.app(scope, receive, send)
        watching.cancel()

    asyncio.run(ask())
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"] == "body_timeout"
    assert (b"connection", b"close") in sent[0]["headers"]
    assert inside.service.in_flight == set()
