"""The synthetic tables have the types, gaps and errors of a CRM export."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlsys.data.demo import MIN_EVENTS, PRODUCTS, DemoSummary, generate

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "hubspot"
TABLES = ("customers", "noncustomers", "usage_actions")
EMPLOYEE_RANGES = {
    *("1", "2 to 5", "6 to 10", "11 to 25", "26 to 50"),
    *("51 to 200", "201 to 1000", "1001 to 10000", "10,001 or more"),
}


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def test_types(tables: dict[str, pa.Table]) -> None:
    firmographics = [("ALEXA_RANK", "int64"), ("EMPLOYEE_RANGE", "string"), ("INDUSTRY", "string"), ("id", "int64")]
    counts = [(f"{kind}_{product}", "int64") for kind in ("ACTIONS", "USERS") for product in PRODUCTS]
    expected = {
        "customers": [("CLOSEDATE", "date32[day]"), ("MRR", "double"), *firmographics],
        "noncustomers": firmographics,
        "usage_actions": [("WHEN_TIMESTAMP", "timestamp[us]"), *counts, ("id", "int64")],
    }
    for name, table in tables.items():
        assert [(field.name, str(field.type)) for field in table.schema] == expected[name]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real tables are not at {REAL}")
@pytest.mark.parametrize("name", TABLES)
def test_types_match_the_real_files(made: DemoSummary, name: str) -> None:
    def types(path: Path) -> list[tuple[str, str]]:
        return [row[:2] for row in duckdb.sql(f"describe select * from '{path}'").fetchall()]

    assert types(made.files[TABLES.index(name)]) == types(REAL / f"{name}.csv")


def test_one_row_per_account_and_week(tables: dict[str, pa.Table]) -> None:
    usage = tables["usage_actions"]
    assert usage.group_by(["id", "WHEN_TIMESTAMP"]).aggregate([]).num_rows == usage.num_rows


@pytest.mark.parametrize("seed", [0, 69, 92])  # 69 and 92 draw no account of the rarest employee range
def test_the_smallest_tables_have_every_kind_of_error(tmp_path: Path, seed: int) -> None:
    customers, free, usage = (pq.read_table(path) for path in generate(tmp_path, events=MIN_EVENTS, seed=seed).files)
    assert 1 <= (column(customers, "MRR") <= 0).sum() < 0.2 * customers.num_rows
    both = pa.concat_tables([customers.select(free.schema.names), free])
    assert set(pc.unique(both["EMPLOYEE_RANGE"]).to_pylist()) == {*EMPLOYEE_RANGES, None}
    assert both["ALEXA_RANK"].null_count
    assert 16_000_001 in both["ALEXA_RANK"].to_pylist()
    assert 0.55 < both["INDUSTRY"].null_count / both.num_rows < 0.85
    industries = [name for name in both["INDUSTRY"].to_pylist() if name]
    assert 0 < sum(name.isupper() for name in industries) < len(industries)
    impossible = column(usage, "USERS_CRM_CONTACTS") > column(usage, "ACTIONS_CRM_CONTACTS")
    assert impossible.sum() == 3
    assert not any((column(usage, f"USERS_{p}") > column(usage, f"ACTIONS_{p}")).any() for p in PRODUCTS[1:])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_free_accounts_are_duplicated_with_fewer_fields(tmp_path: Path, seed: int) -> None:
    free = pq.read_table(generate(tmp_path, events=MIN_EVENTS, seed=seed).files[1]).to_pylist()
    by_id: dict[int, list[dict[str, object]]] = {}
    for row in free:
        by_id.setdefault(row["id"], []).append(row)
    twice = [rows for rows in by_id.values() if len(rows) > 1]
    filled = [[sum(value is not None for value in row.values()) for row in rows] for rows in twice]
    assert [len(rows) for rows in twice] == [2, 2, 2]
    assert [first < second for first, second in filled] == [True, False, True]
    assert all(first != second for first, second in filled)


@pytest.mark.parametrize(("name", "fraction"), [("ALEXA_RANK", 0.022), ("EMPLOYEE_RANGE", 0.1), ("INDUSTRY", 0.74)])
def test_missingness_does_not_depend_on_the_outcome(tables: dict[str, pa.Table], name: str, fraction: float) -> None:
    for table in (tables["customers"], tables["noncustomers"]):
        deviation = (fraction * (1 - fraction) / table.num_rows) ** 0.5
        assert table[name].null_count / table.num_rows == pytest.approx(fraction, abs=3.5 * deviation)
