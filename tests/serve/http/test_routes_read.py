"""Read-only endpoints: health, model information, OpenAPI, pages and logs."""

import json
import logging
import re

import pytest
from starlette.routing import request_response

from serve.logs import JsonFormatter, request_id
from serve.openapi import example_record


def test_health_and_readiness(inside, run):
    assert inside.get("/health").json() == {"status": "alive"}
    assert inside.get("/ready").json() == {"status": "ready", "model": inside.service.slot.champion.info}


def test_a_service_that_is_shutting_down_is_not_ready(inside_of, run):
    inside = inside_of(run)
    inside.service.draining = True
    assert inside.get("/ready").status_code == 503
    assert inside.get("/health").status_code == 200


def test_model_info_has_the_scoring_path_and_the_reason(inside, run):
    info = inside.get("/model/info").json()
    scorer = inside.service.slot.champion.scorer
    assert (info["path"], info["reason"], info["golden_rows"]) == (scorer.path, scorer.reason, "reproduced")
    assert info["schema"] == run.schema
    assert info["threshold"] == 0.4
    assert info["metrics"]["roc_auc"]["value"] == 0.9


def test_openapi_shows_the_runs_own_fields(inside):
    document = inside.get("/openapi.json").json()
    record = document["components"]["schemas"]["Record"]
    assert list(record["properties"]) == record["required"] == ["users", "actions", "industry"]
    assert record["additionalProperties"] is False
    users = record["properties"]["users"]
    assert users["type"] == ["number", "null"]
    assert (users["x-unit"], users["x-training-minimum"], users["x-training-maximum"]) == ("users", 0, 20)
    assert "unit: users; in training 0 to 20; may be null" in users["description"]
    assert record["properties"]["industry"]["x-training-values"] == ["Retail", "Software", "Ärzte"]
    assert record["properties"]["actions"]["type"] == "number"
    assert record["examples"] == [{"users": 3.0, "actions": 0.5, "industry": "Software"}]


def test_openapi_lists_every_endpoint_and_its_references_resolve(inside):
    document = inside.get("/openapi.json").json()
    app = inside.app._app
    served = {(route.path, method) for route in app.routes for method in route.methods - {"HEAD"}}
    pages = {("/", "GET"), ("/docs", "GET"), ("/openapi.json", "GET")}
    listed = {(path, verb.upper()) for path, verbs in document["paths"].items() for verb in verbs}
    assert listed == served - pages
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]
    assert app.openapi() == document


def test_the_example_of_the_documents_can_be_scored(inside, run):
    assert inside.post("/predict", example_record(run.schema)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_have_no_external_resources_and_escape_their_contents(inside, path):
    answer = inside.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"(?:src|href)=.?(?:https?:)?//", answer.text)
    assert "<b>this</b>" not in answer.text


def test_docs_show_every_field_and_endpoint(inside):
    page = inside.get("/docs").text
    for text in ("users: latest 7 days", "Ärzte", "/predict/batch", "/model/reload"):
        assert text in page


def test_metrics_are_prometheus_text(inside, record):
    inside.post("/predict", record)
    text = inside.get("/metrics").text
    for name in (
        'mlsys_serve_requests_total{endpoint="/predict",status="200"}',
        'mlsys_serve_request_seconds_bucket{endpoint="/predict",le="0.001"}',
        "mlsys_serve_probability_bucket",
        "mlsys_serve_batch_rows_bucket",
        "mlsys_serve_batch_queue_depth 0.0",
        "mlsys_serve_log_lag_seconds 0.0",
        "mlsys_serve_log_queue_depth 0.0",
        "mlsys_serve_log_dropped 0.0",
        "mlsys_serve_model_info{",
    ):
        assert name in text


def test_an_unforeseen_error_has_the_usual_form_and_is_counted(inside_of, run, monkeypatch, caplog):
    inside = inside_of(run)
    routes = [route for route in inside.app._app.routes if "GET" in route.methods]
    assert len(routes) >= 8

    async def fail(request):
        raise KeyError("entities")

    for number, route in enumerate(routes, start=1):
        monkeypatch.setattr(route, "app", request_response(fail))
        answer = inside.get(route.path)
        assert (answer.status_code, answer.json()["error"]) == (500, "internal")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "entities" not in answer.text
        assert inside.metric("mlsys_serve_errors_total", kind="internal") == number
    assert caplog.text.count("KeyError: 'entities'") == len(routes)


def test_log_lines_have_the_request_id(caplog):
    token = request_id.set("r-1")
    record = logging.LogRecord("serve", logging.WARNING, "", 0, "unknown %s", ("Ä",), None)
    line = json.loads(JsonFormatter().format(record))
    request_id.reset(token)
    assert (line["request_id"], line["message"], line["level"]) == ("r-1", "unknown Ä", "warning")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
