"""`mlsys score` reads a table as training read its own."""

import json

import numpy as np
import pandas as pd
import pytest

from mlsys.data.table import TableRecipe, apply, read_table
from mlsys.runs.golden import predict
from tests.serve.conftest import write_run
from tests.serve.table_runs import ROWS, write_campaign_run, write_leads_run


@pytest.fixture(scope="module")
def leads(tmp_path_factory):
    return write_leads_run(tmp_path_factory.mktemp("leads"))


@pytest.fixture
def file(leads):
    return leads.path.parent / "leads.csv"


def test_the_training_file_gets_the_probabilities_of_the_run(mlsys, leads, file, tmp_path):
    code, out, _ = mlsys("score", leads.path, file, "--out", tmp_path / "scored.csv", "--top", "2")
    scored = pd.read_csv(tmp_path / "scored.csv")
    inputs = apply(TableRecipe.from_dict(leads.read_json("recipe.json")), read_table(file))
    expected = predict(leads.model, leads.calibration, inputs)[1]
    assert code == 0
    assert scored["lead"].tolist() == [f"L{number}" for number in range(ROWS)]
    np.testing.assert_array_equal(scored["probability"], expected)
    assert scored["decision"].tolist() == (expected >= 0.5).tolist()
    *lines, last = out.splitlines()
    flagged = int((expected >= 0.5).sum())
    assert last == f"{ROWS} rows: {flagged} with 50.0% or more; written to {tmp_path / 'scored.csv'}"
    assert [line.split()[0] for line in lines] == ["lead", *scored.nlargest(2, "probability")["lead"]]


def test_rows_without_ids_are_numbered(mlsys, leads, file, tmp_path):
    read_table(file).drop(columns=["won", "lead"]).to_csv(tmp_path / "new.csv", index=False, sep="\t")
    code, out, _ = mlsys("score", leads.path, tmp_path / "new.csv", "--json", "--top", "3")
    assert code == 0
    assert [set(row) for row in json.loads(out)] == [{"at", "probability", "decision"}] * 3


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [("staff", "many", "staff: 1 row, the first is row 4"), ("paid", "", "paid: 1 row, the first is row 4")],
)
def test_what_training_never_missed_is_refused(column, cell, expected, mlsys, leads, file, tmp_path):
    frame = read_table(file)
    frame.loc[3, column] = cell
    frame.to_csv(tmp_path / "new.csv", index=False)
    code, _, errors = mlsys("score", leads.path, tmp_path / "new.csv")
    assert code == 1
    assert expected in errors


@pytest.mark.parametrize(
    ("treated", "control", "expected"),
    [
        ("1", "0", "called: 2 rows, the first is row 2 with 'offer'; expected 0 or 1, or null"),
        ("yes", "no", "called: 2 rows, the first is row 2 with 'offer'; expected no (0) or yes (1), or null"),
        ("Letter", "Mail", "called: 2 rows, the first is row 2 with 'offer'; expected 'Letter' or 'Mail', or null"),
    ],
)
def test_a_treatment_of_neither_arm_is_refused(treated, control, expected, mlsys, tmp_path):
    run = write_campaign_run(tmp_path, treated, control)
    cells = [treated, "offer", "", "0.5", control]
    pd.DataFrame({"size": ["1", "2", "", "3", "4"], "called": cells}).to_csv(tmp_path / "new.csv", index=False)
    code, _, errors = mlsys("score", run.path, tmp_path / "new.csv")
    assert code == 1
    assert expected in errors
    assert "size: 1 row, the first is row 3" in errors
    assert "or leave them empty where the value is not known" in errors


def test_missing_columns_are_listed(mlsys, leads, file, tmp_path):
    read_table(file).rename(columns={"staff": "stuff"}).to_csv(tmp_path / "new.csv", index=False)
    code, _, errors = mlsys("score", leads.path, tmp_path / "new.csv")
    assert code == 1
    assert "- staff (closest: stuff)" in errors


def test_a_run_of_events_is_refused(mlsys, file, tmp_path):
    code, _, errors = mlsys("score", write_run(tmp_path / "run").path, file)
    assert code == 1
    assert "was not trained on a flat table" in errors
