"""The demo generator: repeatable, streamed, whole or absent, and with a process worth learning."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlsys.data import demo
from mlsys.data.demo import MIN_EVENTS, PRODUCTS, DemoSummary, generate
from mlsys.errors import ConfigError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "hubspot"
TABLES = ("customers", "noncustomers", "usage_actions")
EMPLOYEE_RANGES = {
    *("1", "2 to 5", "6 to 10", "11 to 25", "26 to 50"),
    *("51 to 200", "201 to 1000", "1001 to 10000", "10,001 or more"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return generate(tmp_path_factory.mktemp("demo"), events=40_000, seed=3)


@pytest.fixture(scope="module")
def tables(made: DemoSummary) -> dict[str, pa.Table]:
    return {path.stem: pq.read_table(path) for path in made.files}


def digests(summary: DemoSummary) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in summary.files]


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def most_users(usage: pa.Table) -> np.ndarray:
    return np.max([column(usage, f"USERS_{product}") for product in PRODUCTS], axis=0)


def rank_auc(score: np.ndarray, label: np.ndarray) -> float:
    """The share of (positive, negative) pairs ranked the right way, ties counting half."""
    order = np.sort(score[~label])
    below, upto = (np.searchsorted(order, score[label], side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / order.size)


def test_same_seed_and_size_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (generate(tmp_path / name, events=6_000, seed=5) for name in "ab")
    assert digests(first) == digests(second)


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    first, second = (generate(tmp_path / str(seed), events=6_000, seed=seed) for seed in (5, 6))
    assert all(a != b for a, b in zip(digests(first), digests(second), strict=True))


def test_chunk_size_does_not_change_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_ROW_GROUP", 7_000)  # several row groups, ending inside chunks
    sizes = (1, 3 * demo._BLOCK, 1_000_000)
    made = [generate(tmp_path / str(size), events=60_000, seed=1, chunk_accounts=size) for size in sizes]
    assert pq.ParquetFile(made[0].files[2]).num_row_groups == -(-made[0].events // 7_000)
    assert digests(made[0]) == digests(made[1]) == digests(made[2])


def test_larger_tables_start_with_the_smaller(tmp_path: Path) -> None:
    small, large = (generate(tmp_path / str(events), events=events, seed=2) for events in (3_000, 12_000))
    rows = pq.read_table(large.files[2]).slice(0, small.events)
    assert pq.read_table(small.files[2]).equals(rows)


@pytest.mark.parametrize("events", [MIN_EVENTS, 15_000, 50_000])
def test_requested_events_are_reached(tmp_path: Path, events: int) -> None:
    summary = generate(tmp_path, events=events, seed=4)
    customers, free, usage = (pq.read_table(path) for path in summary.files)
    assert summary.events == usage.num_rows
    assert events <= summary.events < 1.05 * events
    assert summary.customers == customers.num_rows
    ids = np.concatenate([column(customers, "id"), column(free, "id")])
    assert summary.accounts == np.unique(ids).size == ids.max()
    assert np.isin(column(usage, "id"), ids).all()


def test_types_are_those_of_the_contract(tables: dict[str, pa.Table]) -> None:
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
def test_types_are_those_that_duckdb_reads_from_the_real_files(made: DemoSummary, name: str) -> None:
    def types(path: Path) -> list[tuple[str, str]]:
        return [row[:2] for row in duckdb.sql(f"describe select * from '{path}'").fetchall()]

    assert types(made.files[TABLES.index(name)]) == types(REAL / f"{name}.csv")


def test_stamps_are_mondays_and_outcomes_days_of_the_period(tables: dict[str, pa.Table]) -> None:
    stamps = np.unique(column(tables["usage_actions"], "WHEN_TIMESTAMP")).astype("datetime64[D]")
    assert stamps.tolist() == np.arange("2019-01-07", "2020-07-28", 7, dtype="datetime64[D]").tolist()
    close = column(tables["customers"], "CLOSEDATE")
    assert np.datetime64("2019-01-15") <= close.min()
    assert close.max() <= np.datetime64("2020-08-18")


def test_an_account_has_one_row_a_week(tables: dict[str, pa.Table]) -> None:
    usage = tables["usage_actions"]
    assert usage.group_by(["id", "WHEN_TIMESTAMP"]).aggregate([]).num_rows == usage.num_rows


def test_usage_falls_over_the_holidays(tables: dict[str, pa.Table]) -> None:
    stamps = column(tables["usage_actions"], "WHEN_TIMESTAMP").astype("datetime64[D]")
    actions = np.log1p(column(tables["usage_actions"], "ACTIONS_CRM_CONTACTS"))
    dip = np.isin(stamps, np.array(["2019-12-23", "2019-12-30"], "datetime64[D]"))
    near = np.isin(stamps, np.array(["2019-12-09", "2019-12-16", "2020-01-06", "2020-01-13"], "datetime64[D]"))
    assert actions[dip].sum() / 2 < 0.8 * actions[near].sum() / 4


@pytest.mark.parametrize("seed", [0, 69, 92])  # 69 and 92 draw no account of the rarest employee range
def test_every_kind_of_dirt_is_there_in_the_smallest_tables(tmp_path: Path, seed: int) -> None:
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
def test_three_free_accounts_appear_twice_once_with_fewer_fields(tmp_path: Path, seed: int) -> None:
    free = pq.read_table(generate(tmp_path, events=MIN_EVENTS, seed=seed).files[1]).to_pylist()
    by_id: dict[int, list[dict[str, object]]] = {}
    for row in free:
        by_id.setdefault(row["id"], []).append(row)
    twice = [rows for rows in by_id.values() if len(rows) > 1]
    filled = [[sum(value is not None for value in row.values()) for row in rows] for rows in twice]
    assert [len(rows) for rows in twice] == [2, 2, 2]
    assert [first < second for first, second in filled] == [True, False, True]
    assert all(first != second for first, second in filled)


@pytest.mark.parametrize(("name", "share"), [("ALEXA_RANK", 0.022), ("EMPLOYEE_RANGE", 0.1), ("INDUSTRY", 0.74)])
def test_what_is_known_of_an_account_does_not_depend_on_its_outcome(
    tables: dict[str, pa.Table], name: str, share: float
) -> None:
    for table in (tables["customers"], tables["noncustomers"]):
        deviation = (share * (1 - share) / table.num_rows) ** 0.5
        assert table[name].null_count / table.num_rows == pytest.approx(share, abs=3.5 * deviation)


def test_accounts_convert_as_often_as_a_freemium_product_sees(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    assert 0.03 < made.customers / made.accounts < 0.05
    close = column(tables["customers"], "CLOSEDATE")
    for start in np.arange("2020-02-24", "2020-07-20", 28, dtype="datetime64[D]"):
        window = (close > start) & (close <= start + 30)
        assert window.sum() >= 10


def test_some_accounts_have_no_usage_and_most_little(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    rows = np.bincount(column(tables["usage_actions"], "id"), minlength=made.accounts + 1)[1:]
    assert 0.2 < (rows == 0).mean() < 0.45
    assert np.median(rows) <= 2
    assert rows.max() > 60


def test_team_adoption_known_in_time_predicts_conversion(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    usage, close = tables["usage_actions"], np.full(made.accounts + 1, np.datetime64("2100-01-01"))
    close[column(tables["customers"], "id")] = column(tables["customers"], "CLOSEDATE")
    age = np.datetime64("2020-04-27") - column(usage, "WHEN_TIMESTAMP").astype("datetime64[D]")
    recent = (age >= np.timedelta64(7)) & (age < np.timedelta64(35))
    score = np.zeros(made.accounts + 1)
    np.maximum.at(score, column(usage, "id")[recent], most_users(usage)[recent])
    free = (close > np.datetime64("2020-04-27")) & (np.arange(made.accounts + 1) > 0)
    soon = close <= np.datetime64("2020-07-26")
    assert 0.65 < rank_auc(score[free], soon[free]) < 0.95


def test_the_whole_history_leaks_the_outcome(made: DemoSummary, tables: dict[str, pa.Table]) -> None:
    usage, paying = tables["usage_actions"], np.zeros(made.accounts + 1, bool)
    paying[column(tables["customers"], "id")] = True
    total = np.bincount(column(usage, "id"), weights=most_users(usage), minlength=paying.size)
    assert rank_auc(total[1:], paying[1:]) > 0.95


def test_nothing_is_left_behind_when_interrupted(tmp_path: Path) -> None:
    seen = []

    def stop(events: int) -> None:
        seen.append(events)
        assert any(tmp_path.iterdir())
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, events=40_000, chunk_accounts=demo._BLOCK, progress=stop)
    assert 0 < seen[0] < seen[1]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_the_earlier_tables_whole(tmp_path: Path) -> None:
    def stop(events: int) -> None:
        raise RuntimeError("stop")

    before = generate(tmp_path, events=MIN_EVENTS, seed=1)
    bytes_before = digests(before)
    with pytest.raises(RuntimeError, match="stop"):
        generate(tmp_path, events=4_000, seed=2, progress=stop)
    assert digests(before) == bytes_before
    assert len(list(tmp_path.iterdir())) == 3


def test_progress_ends_at_the_number_of_events(tmp_path: Path) -> None:
    seen: list[int] = []
    summary = generate(tmp_path, events=40_000, chunk_accounts=demo._BLOCK, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == summary.events


def test_what_is_too_small_is_said_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        generate(tmp_path / "new", events=100, seed=-1, chunk_accounts=0)
    assert [problem.where for problem in caught.value.problems] == ["events", "seed", "chunk_accounts"]
    assert "from 2,000" in str(caught.value)
    assert not (tmp_path / "new").exists()
