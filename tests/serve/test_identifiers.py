"""Ids and as-ofs: one rule for every endpoint and format."""

import json

import pytest

from mlsys.data import rules
from serve import identifiers
from serve.identifiers import read_as_of


def test_the_earliest_day_is_that_of_the_data():
    assert identifiers.EARLIEST == rules.EARLIEST


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2020-02-24", "2020-02-24"),
        ("2020-02-24T00:00:00", "2020-02-24"),
        ("2020-02-24 00:00:00.000Z", "2020-02-24"),
        ("2020-02-24T00:00+00:00", "2020-02-24"),
        ("2020-02-24T08:00:00", None),
        ("2020-02-24T00:00:00+01:00", None),
        ("20200224", None),
        ("2020-W09-1", None),
        ("2020-02-30", None),
        ("1989-12-31", None),
        ("24.02.2020", None),
        ("2020-02-24\n", None),
        ("", None),
        (20200224, None),
        (True, None),
    ],
)
def test_every_endpoint_takes_the_same_as_ofs(inside, record, text, day):
    found = read_as_of(text)
    assert (found and found.isoformat()) == day
    batch = inside.post("/predict/batch", {"records": [record], "as_of": text})
    csv = f'users,actions,industry,as_of\n1,2,Retail,"{text}"\n'
    answers = [batch, inside("POST", "/predict/batch", content=csv, headers={"content-type": "text/csv"})]
    if isinstance(text, str):
        answers.append(inside("POST", "/predict", json=record, params={"as_of": text}))
    given = text not in ("", "2020-02-24\n")  # an empty cell has no as-of, and CSV is trimmed
    assert {answer.status_code for answer in answers[: None if given else 1]} == {200 if day else 422}
    if day:
        assert batch.json()["predictions"][0]["as_of"] == day


@pytest.mark.parametrize("value", [True, 1.5, [], {}, "x" * 201, "x" * 1_000_000, "\ud800", 2**63, -(2**70), None])
def test_what_cannot_be_an_id_is_rejected(inside, record, value):
    answer = inside("POST", "/predict/batch", content=json.dumps({"records": [record] * 2, "ids": ["a", value]}),
                    headers={"content-type": "application/json"})  # fmt: skip
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")
    assert len(answer.text) < 1_000
    if value is not None:
        (problem,) = answer.json()["problems"]
        assert (problem["row"], problem["field"]) == (1, "ids")


def test_ids_are_checked_wherever_they_come_from(inside, record):
    long = "x" * 201
    csv = f"users,actions,industry,account\n1,2,Retail,{long}\n"
    table = inside("POST", "/predict/batch", content=csv, headers={"content-type": "text/csv"})
    single = inside("POST", "/predict", json=record, params={"id": long})
    assert table.status_code == single.status_code == 422
    assert "account: row 0" in table.json()["message"]


@pytest.mark.parametrize("ids", [[7, "A-7"], [2**63 - 1, -5]])
@pytest.mark.parametrize("media", ["text/csv", "application/vnd.apache.parquet", "application/json"])
def test_ids_of_both_types_can_be_returned_in_every_format(inside, record, ids, media):
    answer = inside.post("/predict/batch", {"records": [record] * 2, "ids": ids}, headers={"accept": media})
    assert answer.status_code == 200
