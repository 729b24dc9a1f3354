"""The treatment column of a flat table."""

import numpy as np
import pandas as pd
import pytest

from mlsys.data.table import apply, infer_recipe
from mlsys.data.table.treatment import check_outcomes, find_treatment
from mlsys.errors import DataError


def find(values, treated=None):
    rows = pd.DataFrame({"mailed to": values})
    rows = rows.assign(size=range(len(rows)), won=[0, 1] * (len(rows) // 2) + [0] * (len(rows) % 2))
    recipe = infer_recipe(rows, target="won")
    return find_treatment(rows["mailed to"], recipe, apply(recipe, rows), treated=treated)


@pytest.mark.parametrize(
    ("values", "treated", "expected"),
    [
        ([0, 1, 1, 0], None, (1.0, 0.0, ("1", "0"))),
        ([True, False, True, False], None, (1.0, 0.0, ("True", "False"))),
        (["yes", "no", "Yes ", "no"], None, (1.0, 0.0, ("yes", "no"))),
        (["Control", "Treated", "control", "Treated"], None, ("Treated", "control")),
        (["A", "P", "P", "A"], "a", ("A", "P")),
        ([1, 2, 2, 1], 2, (2.0, 1.0, ("2", "1"))),
        ([1, 2, 2, 1], "2.0", (2.0, 1.0, ("2", "1"))),
        ([0, 1, 1, 0], False, (0.0, 1.0, ("0", "1"))),
    ],
)
def test_its_two_values(values, treated, expected):
    found = find(values, treated)
    if len(expected) == 2:  # categories: the panel has a text, perhaps in lower case
        assert tuple(str(each).casefold() for each in (found.treated, found.control)) == tuple(
            each.casefold() for each in expected
        )
        assert tuple(name.casefold() for name in found.names) == tuple(each.casefold() for each in expected)
    else:
        assert (found.treated, found.control, found.names) == expected


@pytest.mark.parametrize(
    ("values", "treated", "message"),
    [
        ([1, 1, 1, 1], None, "has only one value, '1': all rows are in one arm"),
        ([1, None, 0, None], None, "is empty in 2 of 4 rows. Fill it with one of its two values"),
        (["a", "c", "b", "a"], "a", r"has 3 values \('a', 'b', 'c'\); expected two"),
        (["10", "2", "1", "2"], "2", r"has 3 values \('1', '2', '10'\); expected two"),
        (["A", "P", "P", "A"], None, "which of them means treated is not obvious. Set data.treated to that value"),
        (["yes", "maybe", "yes", "maybe"], None, "Set data.treated"),
        (["mailed", "not mailed"] * 2, "maild", r"data.treated=maild \(closest: mailed\)"),
        (["2020-01-01", "2021-05-07"] * 2, None, "expected a column with two values, such as 0 and 1"),
    ],
)
def test_what_it_cannot_be(values, treated, message):
    with pytest.raises(DataError, match=message):
        find(values, treated)


@pytest.mark.parametrize("won", [[0, 1, 1, 0], [1, 0, 0, 1]])
def test_it_cannot_be_the_outcome(won):
    rows = pd.DataFrame({"mailed": ["no", "yes", "yes", "no"], "size": [1, 2, 3, 4], "won": won})
    recipe = infer_recipe(rows, target="won")
    inputs = apply(recipe, rows)
    found = find_treatment(rows["mailed"], recipe, inputs)
    message = "Treatment column 'mailed' tells the outcome: all rows with 'yes' have the same value of the target 'won'"
    with pytest.raises(DataError, match=message):
        check_outcomes(found, inputs, rows["won"].to_numpy(), treatment_name="mailed", target="won")
    check_outcomes(found, inputs, np.array([0, 1, 0, 0]), treatment_name="mailed", target="won")
