"""A service for a run of each kind of data: every route answers, and as the OpenAPI document says."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import schemathesis
from omegaconf import OmegaConf

from mlsys.compose import compose_config
from mlsys.prepare import prepare
from mlsys.runs import Run
from mlsys.train import train
from serve.http.auth import read_keys
from serve.keys import add_key
from serve.openapi import example_record
from tests.serve.http.client import Client

QUICK = ["model=logistic", "metrics.bootstrap_resamples=0", "split.folds=2", "audit=light", "threads=1"]


def events(crm, folder):
    return [*crm.overrides, "features=minimal"]


def database(crm, folder):
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        for name, frame in crm.frames.items():
            frame.to_sql(name, connection, index=False)
    return ["data=sql", f"data.url=sqlite://{folder}/crm.db", "data.spine.dates=[]", "features=minimal"]


def table(crm, folder):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"lead": range(200), "visits": rng.poisson(4, 200), "plan": rng.choice(["free", "pro"], 200)})
    frame["converted"] = (frame["visits"] + rng.normal(size=200) > 4).astype(int)
    frame.to_csv(folder / "leads.csv", index=False)
    return ["data=table", f"data.path={folder}/leads.csv", "data.target=converted", "data.id=lead"]


def table_without_numbers(crm, folder):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"plan": rng.choice(["free", "pro"], 200), "country": rng.choice(["de", "fr", "it"], 200)})
    frame["converted"] = np.where(frame["plan"] == "pro", rng.random(200) < 0.7, rng.random(200) < 0.2).astype(int)
    frame.to_csv(folder / "leads.csv", index=False)
    return ["data=table", f"data.path={folder}/leads.csv", "data.target=converted"]


@pytest.fixture(
    scope="module",
    params=[events, database, table, table_without_numbers],
    ids=lambda kind: kind.__name__,
)
def served(request, crm, tmp_path_factory, inside_of):
    """The kind of data, the service of a run trained on it, and a client for it that has an admin key."""
    folder = tmp_path_factory.mktemp("kind")
    config = compose_config([*request.param(crm, folder), *QUICK])
    train(prepare(OmegaConf.create(config.to_dict())), folder / "run", [])
    headers = {"authorization": f"Bearer {add_key(folder / 'keys.txt', 'ops', 'admin')}"}
    inside = inside_of(Run.open(folder / "run"), keys=read_keys(folder / "keys.txt"))
    schema = schemathesis.openapi.from_dict(inside.get("/openapi.json", headers=headers).json())

    def ask(verb, path, **more):
        answer = inside(verb, path, **{"headers": headers, **more})
        schema[path][verb].validate_response(answer)
        return answer

    return request.param.__name__, inside, Client(schema.raw_schema, ask), headers


def test_every_route_answers(served):
    _, inside, _, headers = served
    paths = [route.path for route in inside.app._app.routes if "GET" in route.methods]
    assert {path: inside.get(path, headers=headers).status_code for path in paths} == dict.fromkeys(paths, 200)


def test_every_operation_answers_as_documented(served, crm):
    kind, inside, call, _ = served
    record = example_record(inside.service.slot.champion.schema)
    raw = raw_rows(crm)
    bodies = {"predict": record, "predict_batch": {"records": [record], "ids": ["A-7"]}, "score": raw, "reload": {}}
    found = {name: call(name, bodies.get(name)) for name in call}
    statuses = {name: status for name, (status, _) in found.items()}
    no_features = {"score": 422} if kind not in ("events", "database") else {}
    assert statuses == dict.fromkeys(call, 200) | no_features
    single, (batch,) = found["predict"][1].probability, found["predict_batch"][1].predictions
    assert batch.probability == pytest.approx(single, abs=1e-6)
    assert batch.id == "A-7"
    if not no_features:
        assert [each.id for each in found["score"][1].predictions] == [row["id"] for row in raw["entities"]]
    explained = call("predict", record, params={"explain": "true", "id": "7", "as_of": "2020-02-24"})[1]
    assert explained.reasons.top[0].field in record


def test_every_error_answers_as_documented(served):
    _, inside, call, headers = served
    wrong = {
        400: {"content": b"{", "headers": {**headers, "content-type": "application/json"}},
        401: {"headers": {}},
        406: {"headers": {**headers, "content-type": "application/json", "accept": "image/png"}},
        415: {"content": b"x", "headers": {**headers, "content-type": "image/png"}},
        421: {"headers": {**headers, "host": "other.example"}},
        422: {"json": [1]},
    }
    for status, more in wrong.items():
        assert call("predict_batch", **more)[0] == status
    inside.service.draining = True
    assert call("ready")[0] == 503
    inside.service.draining = False


def test_the_document_of_raw_rows_is_what_score_accepts(served, crm):
    kind, inside, call, headers = served
    document = inside.get("/openapi.json", headers=headers).json()
    tables = document["components"]["schemas"]["Entities"]["properties"]
    if kind not in ("events", "database"):
        assert tables["entities"]["items"] == tables["events"]["items"] == {"type": "object"}
        return
    for name in ("entities", "events"):
        schema = tables[name]["items"]
        assert schema["additionalProperties"] is False
        for column in schema["required"]:
            changed = raw_rows(crm)
            changed[name][0][column] = None
            allowed = "null" in schema["properties"][column]["type"]
            assert (call("score", changed)[0] == 200) == allowed, column
            del changed[name][0][column]
            assert call("score", changed)[0] == 422
        more = raw_rows(crm)
        more[name][0]["more"] = 1
        assert call("score", more)[0] == 422


def raw_rows(crm):
    """Return the raw rows of an account, as /score takes them."""
    entities, usage = crm.frames["noncustomers"], crm.frames["usage_actions"]
    entity = entities[entities["id"].isin(usage["id"])].drop_duplicates("id").head(1)
    events = usage[usage["id"].isin(entity["id"])].head(5).astype({"WHEN_TIMESTAMP": str})
    entity = entity.drop(columns=[name for name in ("CLOSEDATE", "MRR") if name in entity])
    rows = {
        "entities": json.loads(entity.to_json(orient="records")),
        "events": json.loads(events.to_json(orient="records")),
    }
    return {**rows, "as_of": "2020-03-02"}
