"""schema.json and reference.json: their content, also for unusual columns."""

import json

import numpy as np
import pandas as pd
import pytest

from mlsys.data.panel import Panel
from mlsys.evaluation.schema import input_schema, reference
from mlsys.features.base import FeatureInfo
from mlsys.runs.input_column import MAX_LISTED
from mlsys.runs.inputs import to_inputs
from mlsys.runs.json_format import json_text

NAMES = {"id": "account", "as_of": None, "target": "converted", "positive": "yes"}
ROWS = pd.DataFrame(
    {
        "users": [4.0, np.nan, 1.0, 2.0],
        "age": [10.0, 20.0, 30.0, 40.0],
        "empty": [np.nan] * 4,
        "industry": pd.Series(["b", None, "a", "b"], dtype="str"),
        "blank": pd.Series([None] * 4, dtype="str"),
    }
)
PANEL = Panel(
    ROWS,
    (
        FeatureInfo("users", "number", "Users of the last four weeks", "users"),
        FeatureInfo("age", "number", "Days since the account exists", "days"),
        FeatureInfo("empty", "number", "Nothing"),
        FeatureInfo("industry", "category", "Industry"),
        FeatureInfo("blank", "category", "Nothing either"),
    ),
)


def test_the_schema():
    assert input_schema(PANEL, ROWS, names=NAMES) == {
        "inputs": [
            {
                **{"name": "users", "dtype": "float64", "nullable": True, "min": 1.0, "max": 4.0, "example": 1.0},
                **{"unit": "users", "description": "Users of the last four weeks"},
            },
            {
                **{"name": "age", "dtype": "float64", "nullable": False, "min": 10.0, "max": 40.0, "example": 30.0},
                **{"unit": "days", "description": "Days since the account exists"},
            },
            {"name": "empty", "dtype": "float64", "nullable": True, "example": None, "description": "Nothing"},
            {
                **{"name": "industry", "dtype": "string", "nullable": True, "categories": ["a", "b"], "example": "b"},
                "description": "Industry",
            },
            {
                **{"name": "blank", "dtype": "string", "nullable": True, "categories": [], "example": None},
                "description": "Nothing either",
            },
        ],
        **NAMES,
    }


def test_the_schema_accepts_the_rows_that_it_describes():
    schema = input_schema(PANEL, ROWS, names=NAMES)
    pd.testing.assert_frame_equal(to_inputs(ROWS, schema), ROWS)
    examples = pd.DataFrame([{column["name"]: column["example"] for column in schema["inputs"]}])
    assert to_inputs(examples, schema).shape == (1, 5)


def test_the_most_frequent_levels_are_listed():
    names = [f"level {i:03}" for i in range(MAX_LISTED + 5)]
    rows = pd.DataFrame({"c": pd.Series([*names, *names[5:]], dtype="str")})
    panel = Panel(rows, (FeatureInfo("c", "category", ""),))
    (column,) = input_schema(panel, rows, names=NAMES)["inputs"]
    assert column["categories"] == names[5:]
    assert len(reference(panel, rows, pd.Series([0.5]))["features"]["c"]["levels"]) == MAX_LISTED


def test_the_reference():
    description = reference(PANEL, ROWS, pd.Series(np.linspace(0, 1, 11)))
    assert description["rows"] == 4
    assert list(description["features"]) == list(ROWS)
    age = description["features"]["age"]
    assert age["kind"] == "number"
    assert age["missing"] == 0
    assert age["mean"] == 25
    assert age["std"] == pytest.approx(np.std([10, 20, 30, 40]))
    assert age["quantiles"] == pytest.approx(np.linspace(10, 40, 11))
    assert description["features"]["users"]["missing"] == 0.25
    assert description["features"]["empty"] == {"kind": "number", "missing": 1.0}
    # Frequencies among the values that are not missing.
    industry = {"kind": "category", "missing": 0.25, "levels": {"a": pytest.approx(1 / 3), "b": pytest.approx(2 / 3)}}
    assert description["features"]["industry"] == industry
    assert description["features"]["blank"] == {"kind": "category", "missing": 1.0, "levels": {}}
    assert description["probability"]["quantiles"] == pytest.approx(np.linspace(0, 1, 11))


def test_both_are_reproducible_json():
    description = [input_schema(PANEL, ROWS, names=NAMES), reference(PANEL, ROWS, pd.Series([0.1, 0.2]))]
    again = [input_schema(PANEL, ROWS, names=NAMES), reference(PANEL, ROWS, pd.Series([0.1, 0.2]))]
    for one, other in zip(description, again, strict=True):
        assert json_text(one, "it") == json_text(other, "it")
        assert json.loads(json_text(one, "it")) == one


def test_no_rows_at_all():
    none = ROWS.head(0)
    assert [column["example"] for column in input_schema(PANEL, none, names=NAMES)["inputs"]] == [None] * 5
    assert reference(PANEL, none, pd.Series([], dtype="float64"))["probability"] == {"kind": "number", "missing": 0.0}
