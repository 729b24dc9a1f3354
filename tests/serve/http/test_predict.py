"""POST /predict: the response, and one clear error message for anything that cannot be scored."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from mlsys.runs.golden import predict
from mlsys.runs.inputs import to_inputs
from serve.http.predict import REASONS


def send(inside, text, **more):
    headers = {"content-type": "application/json", **more.pop("headers", {})}
    return inside("POST", "/predict", content=text, headers=headers, **more)


def expected(run, record):
    frame = pd.DataFrame([record]).astype({"industry": "str"}).where(lambda f: f.notna(), np.nan)
    frame["users"] = frame["users"].astype("float64")
    return predict(run.model, run.calibration, to_inputs(frame, run.schema))[1][0]


@pytest.mark.parametrize("change", [{}, {"users": None}, {"industry": None}, {"industry": "Bakery"}, {"users": 400}])
def test_the_probability_is_the_runs_own(inside, run, record, change):
    record |= change
    answer = inside.post("/predict", record)
    assert answer.status_code == 200
    found = answer.json()
    assert found["probability"] == pytest.approx(expected(run, record), abs=1e-9)
    assert found["decision"] == (found["probability"] >= 0.4)
    assert found["threshold"] == 0.4
    assert found["model"] == {"name": run.name, "version": inside.service.slot.champion.version, "run": run.name}
    assert found["request_id"] == answer.headers["x-request-id"]
    assert list(found) == ["probability", "decision", "threshold", "warnings", "model", "request_id"]


def test_values_not_seen_in_training_are_scored_with_warnings(inside, record):
    found = inside.post("/predict", record | {"industry": "Bäckerei", "users": 400}).json()
    assert len(found["warnings"]) == 2
    assert any("Bäckerei" in warning for warning in found["warnings"])


def test_reasons_are_added_on_request_and_add_up(inside, record):
    plain = inside.post("/predict?explain=false", record).json()
    assert "reasons" not in plain
    found = inside.post("/predict?explain=true", record).json()
    reasons = found.pop("reasons")
    assert found == plain | {"request_id": found["request_id"]}
    parts = [reason["contribution"] for reason in reasons["top"]]
    assert reasons["base"] + sum(parts) + reasons["other"] == pytest.approx(reasons["total"], abs=1e-9)
    assert math.log(found["probability"] / (1 - found["probability"])) == pytest.approx(reasons["total"], abs=1e-6)
    assert {reason["field"] for reason in reasons["top"]} <= set(record)


def test_all_problems_are_reported_at_once(inside):
    answer = inside.post("/predict", {"user": 3, "actions": "12.5", "industry": True})
    assert answer.status_code == 422
    body = answer.json()
    assert body["error"] == "invalid_input"
    assert {problem["field"] for problem in body["problems"]} == {"user", "users", "actions", "industry"}
    assert next(each for each in body["problems"] if each["field"] == "user")["nearest"] == "users"
    assert body["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("text", "status", "error", "message"),
    [
        (b"", 400, "empty_body", "empty"),
        (b"{", 400, "malformed_json", "not valid JSON"),
        (b'{"users": 3,}', 400, "malformed_json", "not valid JSON"),
        (b'{"users": \xff}', 400, "malformed_json", "not valid JSON"),
        (b"[" * 100_000, 400, "malformed_json", "not valid JSON"),
        (b'{"users": NaN, "actions": 1, "industry": null}', 422, "invalid_input", "users is NaN"),
        (b'{"users": 1, "actions": Infinity, "industry": null}', 422, "invalid_input", "actions is Infinity"),
        (b'{"users": 1, "actions": 1e999, "industry": null}', 422, "invalid_input", "actions is Infinity"),
        (
            b'{"users": 1, "actions": 1' + b"0" * 400 + b', "industry": null}',
            422,
            "invalid_input",
            "actions is a number",
        ),
        (b'{"users": 1, "actions": null, "industry": null}', 422, "invalid_input", "actions is null"),
        (
            b'{"users": 1, "users": 2, "actions": 1, "industry": "a"}',
            422,
            "invalid_input",
            "Duplicate field users",
        ),
        (
            b'{"users": 1, "users": 2, "actions": 1, "industry": ":"}',
            422,
            "invalid_input",
            "Duplicate field users",
        ),
        (b'{"users": ' + b"1" * 5000 + b', "actions": 1, "industry": ":::"}', 400, "malformed_json", ""),
        (b"[]", 422, "invalid_input", "a list"),
        (b'"text"', 422, "invalid_input", "text"),
        (b"null", 422, "invalid_input", "null"),
    ],
)
def test_invalid_bodies_have_clear_messages(inside, text, status, error, message):
    answer = send(inside, text)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert message in answer.json()["message"]
    assert "Traceback" not in answer.text


def test_colons_in_strings_are_not_duplicate_fields(inside, record):
    assert inside.post("/predict", record | {"industry": "a:b::c"}).status_code == 200


def test_a_content_type_other_than_json_is_rejected(inside, record):
    answer = send(inside, json.dumps(record), headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media")
    assert "application/json" in answer.json()["message"]
    assert send(inside, json.dumps(record), headers={"content-type": "application/json; charset=UTF-8"}).is_success


def test_all_reasons_are_sent_on_request(inside, record, monkeypatch):
    monkeypatch.setitem(REASONS, "true", 1)
    assert len(inside.post("/predict?explain=true", record).json()["reasons"]["top"]) == 1
    reasons = inside.post("/predict?explain=all", record).json()["reasons"]
    assert {reason["field"] for reason in reasons["top"]} == set(record)
    assert reasons["other"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("query", ["explan=true", "explain=maybe", "as_of=yesterday"])
def test_an_invalid_query_is_rejected(inside, record, query):
    answer = inside.post(f"/predict?{query}", record)
    assert answer.status_code in (400, 422)
    assert query.split("=")[0] in answer.json()["message"]


def test_a_body_that_is_too_large_is_rejected_before_it_is_read(inside):
    answer = send(inside, b" " * 1_000_001)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def test_unknown_paths_and_methods_have_the_common_error_format(inside):
    answer = inside.get("/predict")
    assert (answer.status_code, answer.json()["error"]) == (405, "method")
    assert answer.headers["allow"] == "POST"
    answer = inside.get("/predictions")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_valid_request_id_of_the_client_is_kept(inside, record):
    assert inside.post("/predict", record, headers={"x-request-id": "crm-17"}).json()["request_id"] == "crm-17"
    replaced = inside.post("/predict", record, headers={"x-request-id": 'a"b\\'}).json()["request_id"]
    assert replaced != 'a"b\\'
    first, second = (inside.post("/predict", record).json()["request_id"] for _ in range(2))
    assert first != second


def test_responses_have_security_headers_and_no_cors(inside, record):
    answer = inside.post("/predict", record, headers={"origin": "https://elsewhere.example"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_internal_error_is_a_plain_500_with_a_traceback_in_the_log(inside, record, monkeypatch, caplog):
    def broken(record, **options):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(inside.service.slot.champion.scorer, "score", broken)
    answer = inside.post("/predict", record)
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text


def test_requests_are_counted(inside_of, run, record):
    inside = inside_of(run)
    inside.post("/predict", record)
    inside.post("/predict", record | {"industry": "Bakery"})
    inside.post("/predict", {})
    count = "mlsys_serve_requests_total"
    assert inside.metric(count, endpoint="/predict", status="200") == 2
    assert inside.metric(count, endpoint="/predict", status="422") == 1
    assert inside.metric("mlsys_serve_errors_total", kind="invalid_input") == 1
    assert inside.metric("mlsys_serve_request_seconds_count", endpoint="/predict") == 3
    assert inside.metric("mlsys_serve_probability_count") == 2
    assert inside.metric("mlsys_serve_warnings_total") == 1
