"""A treatment of neither arm is refused, however it is sent and however the training table writes the arms."""

import io

import numpy as np
import pyarrow as pa
import pytest

from mlsys.runs.input_column import AllowedValue, InputColumn
from serve.scoring.allowed_values import AllowedValues
from serve.scoring.text_columns import TextColumn
from tests.serve.table_runs import write_campaign_run

STREAM = "application/vnd.apache.arrow.stream"
# Treated, control, what is expected, and for some values how they are shown; the last ones are fine.
NUMBERS = ("1", "0", "0 or 1, or null", {0.5: "0.5", 7: "7", "offer": '"offer"'}, [1, 0, "1", 0.0, None])
WORDS = ("yes", "no", "no (0) or yes (1), or null", {0.5: "0.5", "offer": '"offer"'}, [1, 0, "Yes", True, "no", None])
TEXTS = ("Offer", "Mail", "'Mail' or 'Offer', or null", {7: "7", "ofer": '"ofer"'}, ["Offer", "Mail", None])


@pytest.fixture(scope="module", params=[NUMBERS, WORDS, TEXTS], ids=["numbers", "words", "texts"])
def case(request):
    return request.param


@pytest.fixture(scope="module")
def inside(case, inside_of, tmp_path_factory):
    return inside_of(write_campaign_run(tmp_path_factory.mktemp("campaign"), *case[:2]))


def test_one_record(inside, case):
    _, _, expected, wrong, right = case
    for value, got in wrong.items():
        answer = inside.post("/predict", {"size": 1.5, "called": value})
        [problem] = answer.json()["problems"]
        assert (answer.status_code, problem["field"], problem["got"]) == (422, "called", got)
        near = "; closest match: Offer" if value == "ofer" else ""
        assert problem["message"] == f"called is {got}; expected {expected}{near}."
    for value in right:
        assert inside.post("/predict", {"size": 1.5, "called": value}).json()["warnings"] == []


def test_a_batch_names_each_row(inside, case):
    _, _, expected, wrong, right = case
    records = [{"size": 1.5, "called": value} for value in (*right, *wrong)]
    answer = inside.post("/predict/batch", {"records": records})
    found = [(each["row"], each["got"], each["expected"]) for each in answer.json()["problems"]]
    assert found == [(len(right) + row, got, expected) for row, got in enumerate(wrong.values())]
    assert inside.post("/predict/batch", {"records": records[: len(right)]}).status_code == 200
    numbers = [{"size": 1.5, "called": value} for value in (right[0], next(iter(wrong)))]  # nothing to convert
    assert [each["row"] for each in inside.post("/predict/batch", {"records": numbers}).json()["problems"]] == [1]


def test_tables_name_each_row(inside, case):
    treated, control, expected, _, _ = case
    lines = ["size,called", f"1,{treated}", "2,offers", f"3,{control}", "4,0.5", "5,"]
    table = pa.table({"size": [1.0, 2, 3, 4, 5], "called": [treated, "offers", control, "0.5", None]})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    for kind, body in {"text/csv": "\n".join(lines).encode(), STREAM: stream.getvalue()}.items():
        answer = inside("POST", "/predict/batch", content=body, headers={"content-type": kind})
        problems = answer.json()["problems"]
        assert [(each["row"], each["expected"]) for each in problems] == [(1, expected), (3, expected)]


def test_the_form_offers_the_two_arms(inside, case):
    page, options = inside.get("/").text, sorted(case[:2])
    field = page[page.index('data-field="called"') :].partition("</select>")[0]
    assert [f">{option}</option>" in field for option in ["unknown", *options, "offer"]] == [True, True, True, False]


def test_the_documentation_names_the_arms(inside, case):
    field = inside.get("/openapi.json").json()["components"]["schemas"]["Record"]["properties"]["called"]
    assert f"must be {case[2]}" in field["description"]


def test_texts_of_several_records_are_checked_once_per_value():
    arms = (AllowedValue("mail", "mail"), AllowedValue("offer", "offer"))
    allowed = AllowedValues([], [InputColumn("called", number=False, nullable=True, allowed=arms)])
    column = TextColumn.of(["mail", "call", None, "call"])
    found = allowed.problems(np.empty((4, 0)), [column], first_row=10)
    assert [each["row"] for each in found] == [11, 13]
