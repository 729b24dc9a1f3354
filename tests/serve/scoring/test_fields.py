"""Checks of records, and the problems and warnings they report."""

import time

import numpy as np
import pytest

from mlsys.runs.input_column import InputColumn, input_columns
from serve.scoring import InvalidInput
from serve.scoring.fields import Inputs, name_problems
from serve.scoring.problems import MAX_LISTED

SCHEMA = {
    "inputs": [
        {"name": "users", "dtype": "float64", "nullable": False, "min": 0.0, "max": 50.0, "description": "Users"},
        {"name": "mrr", "dtype": "float64", "nullable": True, "min": 0.1, "max": 9.0},
        {"name": "plan", "dtype": "string", "nullable": False, "categories": ["free", "pro"]},
        {"name": "industry", "dtype": "string", "nullable": True, "categories": ["Retail"]},
    ]
}
GOOD = {"users": 3, "mrr": 1.5, "plan": "free", "industry": "Retail"}


@pytest.fixture
def inputs():
    return Inputs(input_columns(SCHEMA, {}))


def problems(inputs, record):
    with pytest.raises(InvalidInput) as single:
        inputs.check(record)
    with pytest.raises(InvalidInput) as batch:
        inputs.block([GOOD, record], first_row=10)
    assert [{**each, "row": 11} for each in single.value.problems] == [
        {**each, "message": each["message"]} for each in batch.value.problems
    ]
    return single.value.problems


def test_values_are_in_schema_order(inputs):
    shuffled = dict(reversed(GOOD.items()))
    assert inputs.check(shuffled) == ((3, 1.5), ("free", "Retail"), ())
    block, warnings = inputs.block([shuffled, GOOD])
    assert block.numbers.tolist() == [[3.0, 1.5]] * 2
    assert [list(column) for column in block.categories] == [["free"] * 2, ["Retail"] * 2]
    assert warnings == {}


def test_null_is_accepted_in_nullable_fields(inputs):
    record = GOOD | {"mrr": None, "industry": None}
    (users, mrr), categories, warnings = inputs.check(record)
    assert (users, categories, warnings) == (3, ("free", None), ())
    assert np.isnan(mrr)
    block, _ = inputs.block([record])
    assert np.isnan(block.numbers[0, 1])
    found = problems(inputs, GOOD | {"users": None, "plan": None})
    assert [each["field"] for each in found] == ["users", "plan"]
    assert found[0]["got"] == "null"
    assert found[0]["message"] == "users is null; expected a number below 3.4e38 in size."
    assert "'free', 'pro'" in found[1]["expected"]


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("12.5", '"12.5"'),
        (True, "true"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (-1e39, "-1e+39"),
        (10**400, "a number of more than 300 digits"),
        ([1], "a list"),
        ({}, "an object"),
    ],
)
def test_a_value_that_is_not_a_number_is_refused(inputs, value, got):
    for name in ("users", "mrr"):
        (found,) = problems(inputs, GOOD | {name: value})
        assert (found["field"], found["got"]) == (name, got)


@pytest.mark.parametrize("value", [1, True, ["free"], 2.5, "half \ud800"])
def test_a_value_that_is_not_text_is_refused(inputs, value):
    for name in ("plan", "industry"):
        (found,) = problems(inputs, GOOD | {name: value})
        assert found["field"] == name
        assert found["expected"].startswith("text")
        assert found["message"].encode()


def test_a_name_is_suggested_for_one_field_alone():
    fields = {name: InputColumn(name, number=True, nullable=True) for name in ("sum_7d", "max_7d", "plan")}
    missing = [fields["max_7d"], fields["sum_7d"]]
    found = {each["field"]: each["nearest"] for each in name_problems(missing, ["SUM_7D", "colour"], fields, None)}
    assert found == {"max_7d": None, "sum_7d": "SUM_7D", "SUM_7D": "sum_7d", "colour": None}


def test_all_wrong_names_are_reported_with_the_closest_match(inputs):
    record = {"user": 3, "mrr": 1.5, "plan": "free", "zzz": 1}
    found = {each["field"]: each for each in problems(inputs, record)}
    assert found.keys() == {"users", "industry", "user", "zzz"}
    assert found["users"]["nearest"] == "user"
    assert found["users"]["got"] == "nothing"
    assert found["user"]["nearest"] == "users"
    assert found["zzz"]["nearest"] is None
    assert found["user"]["message"] == "'user' is not an input of the model; closest match: users."


@pytest.mark.parametrize("record", [[], "text", None, 3, True])
def test_a_record_must_be_an_object(inputs, record):
    (found,) = problems(inputs, record)
    assert found["field"] == ""
    assert "expected an object" in found["message"]


def test_every_row_that_is_wrong_is_named(inputs):
    rows = [GOOD, GOOD | {"users": "x"}, GOOD, {"users": 1}]
    with pytest.raises(InvalidInput, match=r"4 problems: row 1: users is \"x\"") as caught:
        inputs.block(rows)
    assert [each["row"] for each in caught.value.problems] == [1, 3, 3, 3]


def test_the_list_of_problems_is_limited(inputs):
    with pytest.raises(InvalidInput, match="more than 1,000 problems") as caught:
        inputs.block([{}] * 10_000)
    assert len(caught.value.problems) == MAX_LISTED


def test_out_of_range_values_are_scored_with_a_warning(inputs):
    record = GOOD | {"users": 51, "mrr": 0.01, "plan": "team", "industry": "Farm"}
    expected = (
        "users: 51 is outside the training range (0 to 50).",
        "mrr: 0.01 is outside the training range (0.1 to 9).",
        "plan: 'team' did not occur in training and is scored as unknown.",
        "industry: 'Farm' did not occur in training and is scored as unknown.",
    )
    assert inputs.check(record) == ((51, 0.01), ("team", "Farm"), expected)
    assert inputs.block([GOOD, record], first_row=7)[1] == {8: expected}


def test_a_hostile_record_is_checked_cheaply(inputs):
    record = {f"user{'s' * 5_000}{i}": 1 for i in range(20_000)}
    begin = time.process_time()
    found = problems(inputs, record)
    assert time.process_time() - begin < 2
    assert len(found) == MAX_LISTED
    (warning,) = inputs.check(GOOD | {"plan": "x" * 10**6})[2]
    assert len(warning) < 200


def test_the_limits_of_a_range_are_inside(inputs):
    assert inputs.check(GOOD | {"users": 50, "mrr": 0.1})[2] == ()
    assert inputs.block([GOOD | {"users": 0.0, "mrr": 9.0}])[1] == {}


def test_a_truncated_list_of_categories_gives_no_warnings():
    listed = [f"level {i}" for i in range(200)]  # the most frequent ones; schema.json omits the others
    schema = {"inputs": [{"name": "city", "dtype": "string", "nullable": False, "categories": listed}]}
    assert Inputs(input_columns(schema, {})).check({"city": "elsewhere"})[2] == ()
    known = Inputs(input_columns(schema, {"city": frozenset({"elsewhere"})}))
    assert known.check({"city": "elsewhere"})[2] == ()
    assert len(known.check({"city": "nowhere"})[2]) == 1


@pytest.mark.parametrize("only", ["users", "plan"])
def test_a_model_may_have_one_field(only):
    schema = {"inputs": [each for each in SCHEMA["inputs"] if each["name"] == only]}
    one = Inputs(input_columns(schema, {}))
    assert len(one.check({only: GOOD[only]})[0]) == (only == "users")
    assert len(one.block([{only: GOOD[only]}] * 3)[0]) == 3
