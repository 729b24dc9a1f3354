from dataclasses import replace

import pandas as pd
import pytest

from mlsys.evaluation.comparison.candidates import Candidate
from mlsys.evaluation.comparison.comparability import check_comparable
from mlsys.evaluation.comparison.rows import Alignment
from tests.evaluation.comparison.conftest import AS_OFS, config, predictions

SERVER = {"data.url": "postgres://ann@db/crm"}


def one(rows=None, fingerprint="f" * 64, **changes):
    rows = predictions(1.0) if rows is None else rows
    return Candidate("x", "x", "complete", config(**changes), {}, rows, fingerprint)


def comparability(first, second):
    rows = [each.predictions for each in (first, second) if each.predictions is not None]
    place = {number: number for number in range(2) if (first, second)[number].predictions is not None}
    return check_comparable([first, second], 1, Alignment(rows) if len(rows) > 1 else None, place)


def test_the_same_rows_are_compared_fully():
    found = comparability(one(), one(predictions(0.1, seed=2), **{"model.max_depth": 6}))
    assert (found.level, found.reasons, len(found.shared)) == ("fully", (), 240)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (one(fingerprint="0" * 64), "different data: fingerprint 000000000000, not ffffffffffff"),
        (one(fingerprint=None), "different data: fingerprint unknown"),
        (one(**{"data.horizon_days": 60}), "different label: data.horizon_days is 60, not 30"),
        (one(**{"data.outcome.time": "PAID"}), "different label: data.outcome.time"),
        (one(**{"data.kind": "table"}), "different data: a flat table, not entities with events"),
        (one(predictions(1.0, as_ofs=("2021-02-24",))), "no rows in common: tested on as-of 2021-02-24, not on"),
        (one(predictions(1.0).assign(id=lambda rows: rows["id"] + 900)), "no rows in common"),
        (
            one(predictions(1.0).assign(label=lambda rows: 1 - rows["label"])),
            "the outcome differs in 240 of 240 shared rows",
        ),
        (one(predictions(1.0).assign(fold=lambda rows: rows["id"] % 2)), "different folds"),
        (replace(one(), predictions=None), "only metrics are available"),
    ],
)
def test_reasons_why_runs_cannot_be_compared(other, reason):
    found = comparability(one(), other)
    assert found.level == "no"
    assert found.shared is None
    assert any(reason in each for each in found.reasons), found.reasons


def test_fewer_folds_are_compared_partly():
    found = comparability(one(), one(predictions(1.0, as_ofs=AS_OFS[1:]).assign(fold=lambda rows: rows["fold"] + 5)))
    assert found.level == "partly"
    assert len(found.shared) == 160
    assert "160 rows that both scored, in 2 of 3 folds" in found.reasons[0]


@pytest.mark.parametrize(("number", "rows"), [(1, "1 row"), (2, "2 rows")])
def test_few_shared_rows(number, rows):
    whole = predictions(1.0, as_ofs=(None,))
    found = comparability(one(whole.iloc[:50]), one(whole.iloc[50 - number :]))
    assert found.reasons[0].startswith(f"compared on {rows} that both scored, in 1 of 1 fold; own test rows: ")


def test_held_out_rows_of_other_seeds_overlap_partly():
    whole = predictions(1.0, as_ofs=(None,))
    found = comparability(one(whole.iloc[:50]), one(whole.iloc[30:]))
    assert (found.level, len(found.shared)) == ("partly", 20)


def test_repeated_ids_in_another_order_cannot_be_matched():
    rows = predictions(1.0, as_ofs=(None,)).assign(id=lambda rows: rows["id"] // 2, label=0)
    assert comparability(one(rows), one(rows)).level == "fully"
    found = comparability(one(rows), one(rows.iloc[::-1].reset_index(drop=True)))
    assert found.level == "no"
    assert "ids are repeated" in found.reasons[0]


def test_a_servers_tables_may_have_changed():
    found = comparability(one(**SERVER), one(fingerprint="0" * 64, **SERVER))
    assert found.level == "fully"
    assert "on a database server" in found.reasons[0]
    file = {"data.url": "duckdb:///crm.duckdb"}
    assert comparability(one(**file), one(fingerprint="0" * 64, **file)).level == "no"


def test_different_knowledge_of_the_same_rows_is_noted():
    found = comparability(one(), one(**{"data.events.available_after_days": 0}))
    assert found.level == "fully"
    assert "available_after_days is 0" in found.reasons[0]


def test_flat_tables_compare_by_row():
    rows = predictions(1.0, as_ofs=(None, None))
    assert isinstance(rows["as_of"].iloc[0], type(pd.NaT))
    assert comparability(one(rows), one(rows)).level == "fully"
