"""The fields and formats that a recipe file may have are those that training writes."""

from __future__ import annotations

import dataclasses

import pytest

from mlsys.data.table import ColumnRecipe
from mlsys.data.table.date_formats import _DAYS, _STAMPS, _TIMES
from mlsys.data.table.moments import CLOCKS, ISO, QUARTER, WEEK
from mlsys.runs.recipe_file import FIELDS, SPECIAL_FORMATS, recipe_problem
from serve.scoring.date_words import in_words


def test_fields_and_clocks_are_those_of_training():
    assert set(FIELDS) == {field.name for field in dataclasses.fields(ColumnRecipe)}
    assert {ISO, QUARTER, WEEK, *CLOCKS} == SPECIAL_FORMATS


@pytest.mark.parametrize(
    "pattern", [ISO, *CLOCKS, *_DAYS, *_TIMES, *_STAMPS, "%Y", "%Y%m", WEEK, QUARTER, "%d.%m.%y (to 2085)"]
)
def test_every_format_of_training_is_valid_and_has_an_example(pattern):
    column = {"name": "x", "kind": "date", "reason": "", "date_format": pattern}
    assert recipe_problem({"version": 1, "columns": [column]}) == ""
    assert "%" not in in_words(pattern)
    assert any(char.isdecimal() for char in in_words(pattern))


@pytest.mark.parametrize("recipe", [[], {"version": 1}, {"columns": {}}, {"columns": [[]]}, {"dates": {"x": "%Y"}}])
def test_other_content_is_refused(recipe):
    assert recipe_problem(recipe)
