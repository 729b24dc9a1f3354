"""POST /score: what the feature builder gives is scored as a batch is; the builder has tests of its own."""

from types import SimpleNamespace

import pytest

from mlsys.errors import RunError
from serve.batch import entities
from serve.features import Built, NoFeaturesError
from serve.predictions import read_predictions
from serve.scoring import InvalidInput
from serve.scoring.problems import problem

BODY = {"entities": [{"key": 7}, {"key": 8}], "events": [{"key": 7, "actions": 1}], "as_of": "2020-02-24"}


@pytest.fixture
def builds(monkeypatch, record):
    """Replace the builder; returns what it was asked for, and what it answers or raises."""
    asked = SimpleNamespace(made=0, calls=[], error=None, refusal=None)

    class Builder:
        entities = SimpleNamespace(columns=[SimpleNamespace(name="key")])

        def __init__(self, run):
            asked.made += 1
            if asked.refusal:
                raise asked.refusal

        def build(self, entities, events, as_of):
            asked.calls.append((entities, events, as_of))
            if asked.error:
                raise asked.error
            return Built([record, record | {"industry": "Bakery"}], ("One event came twice.",))

        def close(self):
            pass

    monkeypatch.setattr(entities, "FeatureBuilder", Builder)
    monkeypatch.setattr(entities, "_builders", {})
    return asked


def test_it_answers_as_a_batch_of_the_inputs_does(inside_of, run, builds, record, tmp_path):
    url = f"sqlite:///{tmp_path}/predictions.db"
    inside = inside_of(run, log_url=url)
    found = inside.post("/score", BODY).json()
    batch = inside.post("/predict/batch", {"records": [record, record | {"industry": "Bakery"}]}).json()
    assert builds.calls == [(BODY["entities"], BODY["events"], BODY["as_of"])]
    assert [{name: each.pop(name) for name in ("id", "as_of")} for each in found["predictions"]] == [
        {"id": 7, "as_of": "2020-02-24"},
        {"id": 8, "as_of": "2020-02-24"},
    ]
    assert found["predictions"] == batch["predictions"]
    assert found["warnings"] == ["One event came twice."]
    inside.post("/score", BODY)
    assert builds.made == 1
    inside.service.log.close()
    assert read_predictions(url)["id"].tolist()[:2] == ["7", "8"]


def test_what_the_builder_refuses_is_named(inside, builds):
    builds.error = InvalidInput([problem(0, "entities.plan", None, "text", None)])
    answer = inside.post("/score", BODY)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "entities.plan"


@pytest.mark.parametrize("error", [NoFeaturesError("trained on a flat table"), RunError("/secret/path differs")])
def test_a_model_without_features_says_where_to_send_its_inputs(inside, builds, error):
    builds.refusal = error
    answer = inside.post("/score", BODY)
    assert (answer.status_code, answer.json()["error"]) == (422, "no_features")
    assert "secret" not in answer.text


@pytest.mark.parametrize("body", [[], {}, {"entities": []}, BODY | {"more": 1}])
def test_a_body_of_another_shape_is_refused(inside, builds, body):
    answer = inside.post("/score", body)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")
    assert builds.calls == []


def test_tables_are_neither_taken_nor_given(inside, builds):
    assert inside("POST", "/score", content="a\n", headers={"content-type": "text/csv"}).status_code == 415
    assert inside.post("/score", BODY, headers={"accept": "text/csv"}).status_code == 406
