"""POST /score: rows from the feature builder are scored like a batch; the builder is tested separately."""

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
    """Replace the feature builder by a fake; return its recorded calls and the errors that it should raise."""
    fake = SimpleNamespace(made=0, calls=[], error=None, open_error=None)

    class Builder:
        entities = SimpleNamespace(columns=[SimpleNamespace(name="key")])

        def __init__(self, run):
            fake.made += 1
            if fake.open_error:
                raise fake.open_error

        def build(self, entities, events, as_of):
            fake.calls.append((entities, events, as_of))
            if fake.error:
                raise fake.error
            return Built([record, record | {"industry": "Bakery"}], ("One event came twice.",))

        def close(self):
            pass

    monkeypatch.setattr(entities, "FeatureBuilder", Builder)
    monkeypatch.setattr(entities, "_builders", {})
    return fake


def test_it_matches_a_batch_of_the_same_inputs(inside_of, run, builds, record, tmp_path):
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


def test_problems_found_by_the_builder_are_reported(inside, builds):
    builds.error = InvalidInput([problem(0, "entities.plan", None, "text", None)])
    answer = inside.post("/score", BODY)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["field"] == "entities.plan"


@pytest.mark.parametrize("error", [NoFeaturesError("trained on a flat table"), RunError("/secret/path differs")])
def test_a_model_without_features_has_a_helpful_error(inside, builds, error):
    builds.open_error = error
    answer = inside.post("/score", BODY)
    assert (answer.status_code, answer.json()["error"]) == (422, "no_features")
    assert "secret" not in answer.text


@pytest.mark.parametrize("body", [[], {}, {"entities": []}, BODY | {"more": 1}])
def test_a_malformed_body_is_rejected(inside, builds, body):
    answer = inside.post("/score", body)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")
    assert builds.calls == []


def test_tables_are_neither_accepted_nor_returned(inside, builds):
    assert inside("POST", "/score", content="a\n", headers={"content-type": "text/csv"}).status_code == 415
    assert inside.post("/score", BODY, headers={"accept": "text/csv"}).status_code == 406
