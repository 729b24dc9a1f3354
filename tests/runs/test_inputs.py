import datetime

import numpy as np
import pandas as pd
import pytest

from mlsys.errors import DataError, RunError
from mlsys.runs.inputs import to_inputs

SCHEMA = {
    "inputs": [
        {"name": "users", "dtype": "float64", "nullable": True},
        {"name": "industry", "dtype": "string", "nullable": True},
    ]
}
EXPECTED = pd.DataFrame({"users": [3.0, np.nan], "industry": pd.Series(["Retail", None], dtype="str")})


@pytest.mark.parametrize("users", ["float64", "float32", "Int64", "Float64", "object", "Int8"])
@pytest.mark.parametrize("industry", ["str", "object", "category", "string", "string[python]"])
def test_every_dtype_gives_the_same_frame(users, industry):
    frame = pd.DataFrame(
        {"industry": pd.Series(["Retail", None], dtype=industry), "users": pd.Series([3, None], dtype=users)}
    )
    pd.testing.assert_frame_equal(to_inputs(frame, SCHEMA), EXPECTED, check_exact=True)


def test_integers_are_converted_and_the_index_is_kept():
    frame = pd.DataFrame({"users": np.array([3], dtype="int8"), "industry": ["Retail"]}, index=["row"])
    answer = to_inputs(frame, SCHEMA)
    assert answer.index.tolist() == ["row"]
    assert answer.loc["row"].tolist() == [3.0, "Retail"]


@pytest.mark.parametrize("rows", [0, 2])
def test_columns_without_values_match_either_type(rows):
    frame = pd.DataFrame({"users": [None] * rows, "industry": [None] * rows}, dtype=object)
    answer = to_inputs(frame, SCHEMA)
    assert answer.dtypes.astype(str).tolist() == ["float64", "str"]
    assert answer.isna().all(axis=None)


def test_records_of_a_web_request():
    answer = to_inputs(pd.DataFrame([{"users": 3, "industry": "Retail"}, {"users": None, "industry": None}]), SCHEMA)
    pd.testing.assert_frame_equal(answer, EXPECTED)


def test_missing_unknown_and_mistyped_columns_come_as_one_diff():
    schema = {"inputs": [*SCHEMA["inputs"], {"name": "tenure", "dtype": "float64", "nullable": False}]}
    frame = pd.DataFrame({"user": [1], "industry": [5], "tenure": [2.0], "row": [0]})
    with pytest.raises(DataError) as caught:
        to_inputs(frame, schema)
    lines = str(caught.value).splitlines()
    assert lines[1:-1] == [
        "  - users (float64) (closest: user)",
        "  ! industry must be string, got int 5",
        "  + user",
        "  + row",
    ]
    assert "do not match the model's 3 inputs" in lines[0]


@pytest.mark.parametrize(("number", "inputs"), [(1, "1 input "), (2, "2 inputs ")])
def test_the_number_of_inputs_in_the_message(number, inputs):
    with pytest.raises(DataError, match=inputs):
        to_inputs(pd.DataFrame(), {"inputs": SCHEMA["inputs"][:number]})


@pytest.mark.parametrize(
    ("name", "values", "got"),
    [
        ("users", ["12.5"], "str '12.5'"),
        ("users", pd.Series(["12.5"], dtype=object), "str '12.5'"),
        ("users", [True], "bool True"),
        ("users", pd.Series([1.0, True], dtype=object), "bool True"),
        ("users", [1j], "complex numbers"),
        ("users", [pd.Timestamp("2020-01-01")], "Timestamp"),
        ("users", [datetime.timedelta(1)], "Timedelta"),
        ("industry", [1.5], "float 1.5"),
        ("industry", [False], "bool False"),
        ("industry", pd.Series(["a", 1], dtype=object), "int 1"),
        ("industry", pd.Series([1, 2], dtype="category"), "int 1"),
    ],
)
def test_other_types_are_refused(name, values, got):
    other = {"users": [1.0], "industry": ["a"]}
    frame = pd.DataFrame({name: values})
    for column in other.keys() - {name}:
        frame[column] = other[column][0]
    with pytest.raises(DataError, match=rf"! {name} must be \w+, got {got}"):
        to_inputs(frame, SCHEMA)


def test_a_column_twice_is_refused():
    frame = pd.DataFrame([[1.0, 2.0, "a"]], columns=["users", "users", "industry"])
    with pytest.raises(DataError, match=r"\+ users appears 2 times"):
        to_inputs(frame, SCHEMA)


def test_a_schema_with_other_dtypes_is_refused():
    with pytest.raises(RunError, match="dtype date; expected float64 or string"):
        to_inputs(pd.DataFrame(), {"inputs": [{"name": "a", "dtype": "date", "nullable": False}]})


def test_an_input_of_few_values_refuses_others():
    arms = [{"cell": "0", "value": 0.0}, {"cell": "1", "value": 1.0}]
    schema = {"inputs": [{"name": "mailed", "dtype": "float64", "nullable": True, "allowed": arms}]}
    assert to_inputs(pd.DataFrame({"mailed": [0, 1, None]}), schema)["mailed"].tolist()[:2] == [0.0, 1.0]
    with pytest.raises(DataError, match=r"mailed: 2 rows, the first is row 2 with 0.5; expected 0 or 1, or null"):
        to_inputs(pd.DataFrame({"mailed": [0, 0.5, 7]}), schema)
