from math import inf, nan

import pytest

from mlsys.errors import RunError
from mlsys.runs.input_column import LARGEST, MAX_LISTED, InputColumn, input_columns

USERS = {"name": "users", "dtype": "float64", "nullable": False, "min": 0, "max": 50.0, "unit": "people"}
PLAN = {"name": "plan", "dtype": "string", "nullable": True, "categories": ["free", "pro"], "description": "Plan"}


def test_a_numeric_input():
    column = InputColumn.of(USERS)
    assert (column.number, column.dtype, column.low, column.high, column.has_range) == (
        True,
        "float64",
        0.0,
        50.0,
        True,
    )
    assert (column.title, column.unit, column.example) == ("users", "people", 0)
    assert column.expected == "a number below 3.4e38 in size"


def test_a_categorical_input():
    column = InputColumn.of(PLAN)
    assert (column.number, column.dtype, column.title, column.example) == (False, "string", "Plan", None)
    assert (column.categories, column.is_open) == ({"free", "pro"}, False)
    assert column.expected == "text or null, such as 'free', 'pro'"


def test_an_input_without_values_in_training_has_no_range():
    column = InputColumn.of({"name": "users", "dtype": "float64", "nullable": True})
    assert (column.low, column.high, column.has_range, column.example) == (-inf, inf, False, None)


def test_a_full_list_of_categories_may_be_incomplete():
    full = PLAN | {"categories": [str(number) for number in range(MAX_LISTED)]}
    assert InputColumn.of(full).categories is None
    assert InputColumn.of(full).is_open
    assert len(InputColumn.of(full, known=frozenset({"rare"})).categories) == MAX_LISTED + 1


@pytest.mark.parametrize("value", [0, -3.5, LARGEST, -LARGEST])
def test_valid_numbers(value):
    assert InputColumn.of(USERS).accepts(value)


@pytest.mark.parametrize("value", [None, "3", True, nan, inf, 2 * LARGEST, 10**400, [3]])
def test_invalid_numbers(value):
    assert not InputColumn.of(USERS).accepts(value)


@pytest.mark.parametrize(("value", "fits"), [("new", True), ("", True), (None, True), (3, False), ("\ud800", False)])
def test_values_of_a_categorical_input(value, fits):
    assert InputColumn.of(PLAN).accepts(value) is fits


@pytest.mark.parametrize(
    "schema",
    [{}, {"inputs": []}, {"inputs": [{"name": "a"}]}, {"inputs": [USERS | {"dtype": "int8"}]}, {"inputs": ["users"]}],
)
def test_a_schema_of_another_make_is_refused(schema):
    with pytest.raises(RunError, match="train again"):
        input_columns(schema)
