"""Hostile requests never cause a 5xx response.

MLSYS_FUZZ_BODIES sets the number of bodies; `python benchmarks/serve.py fuzz` uses 10,000.
"""

import asyncio
import io
import json
import math
import os

import httpx
import pandas as pd
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.serve.conftest import INDUSTRIES, RECORD

BODIES = int(os.environ.get("MLSYS_FUZZ_BODIES", "300"))
REPEATABLE = settings(
    max_examples=BODIES,  # a third of them from the OpenAPI document, which take ten times as long
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # failing bodies are printed as they are: shrinking is not worth its time
    suppress_health_check=list(HealthCheck),
)
KINDS = [
    "application/json",
    "application/json; charset=latin-1",
    "text/csv",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
    "multipart/form-data",
    "",
]

edge_cases = st.sampled_from(
    [None, True, "", "12.5", "NaN", [], {}, 1e308, 10**400, -0.0, math.nan, math.inf, "\x00", "\ud800"]
)
anything = st.recursive(
    edge_cases | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
changes = st.dictionaries(st.sampled_from([*RECORD, "user", "a:b", ""]), anything, max_size=3)
records = st.builds(
    lambda changed, dropped: {name: value for name, value in {**RECORD, **changed}.items() if name not in dropped},
    changes,
    st.sets(st.sampled_from([*RECORD]), max_size=1),
)
batches = st.fixed_dictionaries(
    {"records": st.lists(records | anything, max_size=4) | anything},
    optional={
        "ids": st.lists(anything, max_size=4) | anything,
        "as_of": st.just("2020-02-24") | anything,
        "more": anything,
    },
)
raw = st.fixed_dictionaries(
    {"entities": st.lists(records, max_size=2) | anything, "events": anything, "as_of": anything}
)


def text_of(value):
    return json.dumps(value).encode()  # lone surrogates are escaped; NaN and Infinity are written


def tables():
    """Return a valid table in each format."""
    frame = pd.DataFrame({"users": [1.0, None], "actions": [0.5, 2.0], "industry": INDUSTRIES[:2]})
    arrow, parquet = io.BytesIO(), io.BytesIO()
    frame.to_feather(arrow, compression="uncompressed")
    frame.to_parquet(parquet)
    return [frame.to_csv(index=False).encode(), arrow.getvalue(), parquet.getvalue()]


def corrupted(data, position, byte, cut):
    """Return bytes with one byte changed and some cut off at the end."""
    position = position % max(1, len(data))
    return (data[:position] + bytes([byte]) + data[position + 1 :])[: len(data) - cut % 40]


valid = st.one_of(records.map(text_of), batches.map(text_of), raw.map(text_of), anything.map(text_of))
duplicate = st.just(b'{"users": 3, "users": 4, "actions": 0.5, "industry": null}')
broken = st.builds(
    corrupted, valid | st.sampled_from(tables()), st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 39)
)
bodies = st.one_of(valid, broken, duplicate, st.binary(max_size=200))
queries = st.just("") | st.sampled_from(["explain=true", "explain=maybe", "id=7&as_of=2020-02-30", "%ff=%00", "&&&=="])
requests = st.tuples(
    st.sampled_from(["/predict", "/predict/batch", "/score", "/model/reload", "/predict/", "/%7f"]),
    queries,
    st.sampled_from(KINDS),
    st.sampled_from(["*/*", "text/csv", "image/png;q=x", ""]),
    bodies,
)


class Sender:
    """Client of the service in this process, with one event loop for all requests."""

    def __init__(self, inside):
        self.document = inside.get("/openapi.json").json()
        self.runner = asyncio.Runner()
        transport = httpx.ASGITransport(app=inside.app, raise_app_exceptions=True)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        self.statuses = set()

    def __call__(self, method, url, **more):
        answer = self.runner.run(self.client.request(method, url, **more))
        self.statuses.add(answer.status_code)
        assert answer.status_code < 500, answer.text
        assert "Traceback" not in answer.text
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "message", "problems", "request_id"}
        return answer

    def close(self):
        self.runner.run(self.client.aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def send(run, inside_of):
    sender = Sender(inside_of(run))
    yield sender
    sender.close()


def test_no_body_causes_an_internal_error(send):
    send.statuses.clear()

    @REPEATABLE
    @given(requests)
    def run(request):
        path, query, kind, accept, body = request
        url = f"{path}?{query}" if query else path
        answer = send("POST", url, content=body, headers={"content-type": kind, "accept": accept})
        if answer.status_code == 200 and path == "/predict":
            assert 0 <= answer.json()["probability"] <= 1

    run()
    assert send.statuses >= {200, 400, 404, 415, 422}  # the bodies reach every check


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_bodies_that_the_openapi_document_allows_or_forbids(send, mode):
    schema = schemathesis.openapi.from_dict(send.document)
    operations = [found.ok() for found in schema.get_all_operations()]
    strategies = [operation.as_strategy(mode) for operation in operations]

    @settings(REPEATABLE, max_examples=BODIES // 3)
    @given(st.one_of(strategies))
    def run(case):
        sent = case.as_transport_kwargs(base_url="http://localhost")
        body = text_of(sent["json"]) if "json" in sent else sent.get("data")
        headers = {name: value for name, value in sent["headers"].items() if name.lower() != "user-agent"}
        answer = send(case.method, sent["url"], params=sent["params"], content=body, headers=headers)
        case.operation.validate_response(answer)

    run()
