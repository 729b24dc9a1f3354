import html

import pytest

from serve import media_types
from serve.openapi import document
from tests.serve.conftest import write_run

KINDS = {"users": "number", "actions": "number", "industry": "category"}
FLAT = {
    "version": 1,
    "columns": [
        {"name": name, "kind": kind, "reason": "", "parts": ["value"], "outputs": [name]}
        for name, kind in KINDS.items()
    ],
}
RAW = {
    "entities": {"account": "int64", "INDUSTRY": "string"},
    "events": {"account": "int64", "WEEK": "timestamp(6)", "DAY": "date", "N_WEB": "float64"},
}


@pytest.fixture
def rows_of(inside_of, tmp_path):
    """Return a function that gives the schemas of raw rows by table, for a run with a recipe."""

    def ask(recipe):
        inside = inside_of(write_run(tmp_path / "run", recipe=recipe))
        document = inside.get("/openapi.json").json()
        assert inside.get("/docs").status_code == 200
        properties = document["components"]["schemas"]["Entities"]["properties"]
        return {table: properties[table]["items"] for table in ("entities", "events")}

    return ask


def test_a_run_on_a_flat_table_has_no_raw_columns(rows_of):
    assert rows_of(FLAT) == {"entities": {"type": "object"}, "events": {"type": "object"}}


def test_a_run_on_events_lists_its_raw_columns(rows_of):
    rows = rows_of(RAW)
    assert rows["entities"]["properties"] == {
        "account": {"type": ["integer", "null"]},
        "INDUSTRY": {"type": ["string", "null"]},
    }
    events = rows["events"]["properties"]
    assert list(events) == list(RAW["events"])
    assert events["N_WEB"] == {"type": ["number", "null"]}
    for table, columns in RAW.items():
        assert rows[table]["required"] == list(columns)
        assert rows[table]["additionalProperties"] is False
    assert events["DAY"]["type"] == events["WEEK"]["type"] == ["string", "null"]


def test_changing_a_document_does_not_change_the_next(inside):
    model = inside.service.slot.champion
    first, second = (document(model, keys=False) for _ in range(2))
    first["paths"].clear()
    assert document(model, keys=False) == second != first


def test_any_operation_may_answer_with_the_errors_of_the_connection(inside):
    document = inside.get("/openapi.json").json()
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["responses"].keys() >= {"200", "400", "408", "421", "431", "500"}
    page = inside.get("/docs").text
    for response in document["components"]["responses"].values():
        assert html.escape(response["description"]) in page


def test_security_is_described_if_requests_need_a_key(inside):
    model = inside.service.slot.champion
    closed, free = (document(model, keys=keys) for keys in (True, False))
    assert list(closed["components"]["securitySchemes"]) == ["bearer", "key"]
    assert closed["security"] == [{"bearer": []}, {"key": []}]
    assert "security" not in free
    assert "securitySchemes" not in free["components"]


def test_batches_list_every_media_type(inside):
    batch = inside.get("/openapi.json").json()["paths"]["/predict/batch"]["post"]
    assert (
        list(batch["requestBody"]["content"]) == list(batch["responses"]["200"]["content"]) == list(media_types.TYPES)
    )
