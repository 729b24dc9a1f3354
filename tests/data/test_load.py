"""Loading event data: panels, caching, demo tables and log messages."""

from __future__ import annotations

import inspect
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from filelock import FileLock

from mlsys.data import load
from mlsys.data.cache import cache_key
from mlsys.data.contracts import check_tables
from mlsys.data.load import block_identity, check_source, frame_fingerprint, load_events, open_source, with_demo
from mlsys.errors import ConfigError, ContractError, DataError
from mlsys.features import EventBlock, Feature, Industry, Windows

BLOCKS = [Windows(measures=["actions", "users"], windows=[28]), Industry()]


def loaded(data, blocks=BLOCKS, threads=1):
    raw = check_source(data, blocks, threads=threads)
    try:
        return load_events(data, blocks, raw)
    finally:
        raw.connection.disconnect()


def end_of(data):
    """Return the data's end, without building the panel."""
    raw = check_source(data, BLOCKS, threads=1)
    try:
        return str(open_source(data, raw)[0].end)
    finally:
        raw.connection.disconnect()


@pytest.fixture
def copy(crm, tmp_path):
    """A copy of the CRM that a test can modify."""
    folder = tmp_path / "crm"
    shutil.copytree(crm.folder, folder)
    return folder


def edit(folder, table, change):
    path = folder / f"{table}.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)


@pytest.fixture
def builds(monkeypatch):
    """Record the calls that read the raw tables."""
    calls = []
    opened = open_source
    monkeypatch.setattr(load, "open_source", lambda data, raw: calls.append(data) or opened(data, raw))
    return calls


def test_the_panel_and_its_provenance(crm):
    result = loaded(crm.data(cache=False))
    assert result.horizon_days == 30
    assert result.facts["entities"] == 300
    assert result.facts["events"] == len(crm.frames["usage_actions"])
    as_ofs = result.panel.frame["as_of"].dt.strftime("%Y-%m-%d").unique().tolist()
    assert result.facts["as_ofs"] == as_ofs
    last = crm.frames["customers"]["CLOSEDATE"].max()
    assert result.facts["end"] == last
    assert pd.Timestamp(as_ofs[-1]) + pd.Timedelta(days=30) == pd.Timestamp(last)
    assert result.panel.frame["label_complete"].all()
    assert {(finding["rule"], finding["count"]) for finding in result.findings} == {
        *(("non_positive_value", 1), ("duplicate_ids", 1))
    }
    assert result.names == {
        "id": "id",
        "as_of": "as_of",
        "target": "CLOSEDATE within 30 days after the as-of",
        "positive": "converts",
    }
    counts = dict.fromkeys([name for name in crm.frames["usage_actions"] if name.startswith(("ACT", "USERS"))], "int64")
    assert result.recipe == {
        "entities": {"id": "int64", "ALEXA_RANK": "int64", "EMPLOYEE_RANGE": "string", "INDUSTRY": "string"},
        "events": {"id": "int64", "WHEN_TIMESTAMP": "timestamp", **counts},
    }


def test_a_cached_panel_equals_a_fresh_one(crm, tmp_path, builds, caplog):
    data = crm.data(cache_dir=tmp_path)
    fresh = loaded(data)
    assert "customers: 1 row with a value of 0 or less" in caplog.text
    caplog.clear()
    kept = loaded(data)
    assert len(builds) == 1
    assert "customers: 1 row with a value of 0 or less" in caplog.text  # logged every time
    pd.testing.assert_frame_equal(fresh.panel.frame, kept.panel.frame, check_exact=True)
    assert fresh.panel.frame.dtypes.equals(kept.panel.frame.dtypes)
    assert fresh.panel.features == kept.panel.features
    assert (fresh.findings, fresh.facts, fresh.fingerprint) == (kept.findings, kept.facts, kept.fingerprint)
    without = loaded(crm.data(cache=False))
    pd.testing.assert_frame_equal(without.panel.frame, kept.panel.frame, check_exact=True)


def test_the_cache_key_covers_exactly_what_determines_the_panel(crm, copy, monkeypatch, tmp_path):
    keys = []
    monkeypatch.setattr(load, "get_or_make", lambda data, parts, make, **_: keys.append(cache_key(**parts)) or make())

    def key(blocks=BLOCKS, **changes):
        keys.clear()
        loaded(crm.data(**changes), blocks)
        return keys[0]

    here = key()
    assert key(dir=str(copy), name="other", cache_gb=1.0, cache_dir=str(tmp_path)) == here  # the same bytes elsewhere
    assert key(horizon_days=20) != here
    assert key(rules={"duplicate_ids": "drop"}) != here
    assert key(spine={"dates": ["2020-01-01"]}) != here
    assert key([Windows(measures=["actions", "users"], windows=[27]), Industry()]) != here
    assert key(BLOCKS[::-1]) != here
    edit(copy, "usage_actions", lambda usage: usage.assign(USERS_EMAIL=usage["USERS_EMAIL"] + 1))
    assert key(dir=str(copy)) != here


class Bare(EventBlock):
    """A block that is not a dataclass."""

    def __init__(self, days):
        self.days = days

    def features(self, history):
        return [Feature("n", history.sum("actions"), f"{self.days}")]


def test_block_identity_covers_class_parameters_and_code(tmp_path, monkeypatch):
    assert block_identity(Bare(1)) == block_identity(Bare(1))
    assert block_identity(Bare(1)) != block_identity(Bare(2))
    assert "Bare" in block_identity(Bare(1))
    assert block_identity(Windows(measures=["a"])) == block_identity(Windows(measures=["a"]))
    assert block_identity(Windows(measures=["a"])) != block_identity(Windows(measures=["b"]))
    child = type("Bare", (Bare,), {"__module__": Windows.__module__})
    before = block_identity(child(1))
    source = tmp_path / "blocks.py"
    source.write_text("changed")
    file_of = inspect.getfile
    monkeypatch.setattr("inspect.getfile", lambda kind: str(source) if kind is Bare else file_of(kind))
    assert block_identity(child(1)) != before  # code of base classes counts too


def test_panels_of_interactively_defined_blocks_are_not_cached(crm, tmp_path, builds):
    typed = type("Typed", (Bare,), {"__module__": "builtins"})  # without a file, as in an interactive session
    assert block_identity(typed(1)) is None
    loaded(crm.data(cache_dir=tmp_path), [typed(1)])
    assert len(builds) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_panel_does_not_depend_on_the_number_of_threads(crm):
    one, many = (loaded(crm.data(cache=False), threads=threads).panel.frame for threads in (1, 4))
    pd.testing.assert_frame_equal(one, many, check_exact=True)
    assert frame_fingerprint(one) == frame_fingerprint(many)


def test_all_wrong_names_are_listed_together(crm):
    data = crm.data()
    outcome = data.outcome.model_copy(update={"value": "MMR"})
    events = data.events.model_copy(update={"activity": data.events.activity.model_copy(update={"measure": "user"})})
    wrong = data.model_copy(update={"outcome": outcome, "events": events})
    with pytest.raises(ConfigError) as error:
        check_source(wrong, [Windows(measures=["action"]), Industry("sector")])
    assert [(problem.where, problem.got, problem.closest) for problem in error.value.problems] == [
        ("data.outcome.value", "MMR", "MRR"),
        ("features.blocks: Windows", "measure action", "actions"),
        ("features.blocks: Industry", "attribute sector", None),
        ("data.events.activity.measure", "user", "users"),
    ]


@pytest.mark.parametrize(
    ("closed", "end"),
    [("2020-03-20 00:00:00", "2020-03-20"), ("2020-03-20 17:00:00", "2020-03-20"), ("2020-02-24", "2020-02-24")],
)
def test_the_end_is_the_day_of_the_latest_time(crm, copy, closed, end):
    edit(copy, "customers", lambda rows: rows.assign(CLOSEDATE=[closed] + [rows["CLOSEDATE"].min()] * (len(rows) - 1)))
    assert end_of(crm.data(dir=str(copy))) == end  # the last week begins on 2020-02-24


def test_a_configured_end(crm, copy):
    result = loaded(crm.data(dir=str(copy), cache=False, end="2019-12-31"))
    assert result.facts["end"] == "2019-12-31"
    assert result.facts["as_ofs"][-1] == "2019-12-01"
    later = crm.frames["customers"]["CLOSEDATE"] > "2019-12-31"
    assert ("impossible_dates", int(later.sum())) in {(one["rule"], one["count"]) for one in result.findings}


def test_future_dates_do_not_change_the_end(crm, copy):
    edit(copy, "customers", lambda rows: rows.assign(CLOSEDATE=["9999-01-01", *rows["CLOSEDATE"][1:]]))
    today = datetime.now(tz=UTC).date().isoformat()
    assert end_of(crm.data(dir=str(copy), rules={"impossible_dates": "warn"})) == today
    assert end_of(crm.data(dir=str(copy))) < "2020-03-20"
    with pytest.raises(ContractError, match=r"CLOSEDATE=9999-01-01"):
        end_of(crm.data(dir=str(copy), rules={"impossible_dates": "error"}))


def test_as_ofs_after_the_end_are_logged_and_flagged(crm, caplog):
    result = loaded(crm.data(cache=False, spine={"dates": ["2019-12-01", "2030-01-01"], "every_days": 400}))
    assert "1 as-of is after the end of the data" in caplog.text
    assert "so their outcomes are unknown: 2030-01-01" in caplog.text
    late = result.panel.frame[result.panel.frame["as_of"] == "2030-01-01"]
    assert not late["label_complete"].any()
    assert late["label"].sum() == 0


def test_nobody_converts(crm, copy):
    edit(copy, "customers", lambda rows: rows.iloc[:0])
    result = loaded(crm.data(dir=str(copy), cache=False))
    assert result.panel.frame["label"].sum() == 0
    assert result.panel.frame["value"].isna().all()


def test_everybody_converts_at_once(crm, copy):
    edit(copy, "customers", lambda rows: rows.assign(CLOSEDATE="2019-06-20"))
    edit(copy, "noncustomers", lambda rows: rows.iloc[:0])
    result = loaded(crm.data(dir=str(copy), cache=False, spine={"dates": ["2019-06-01"]}))
    assert result.panel.frame.groupby("as_of")["label"].mean()["2019-06-01"] == 1.0
    with pytest.raises(DataError, match="The panel is empty: no entity exists and is unconverted"):
        loaded(crm.data(dir=str(copy), cache=False, spine={"dates": ["2019-12-01"], "start": "2019-12-01"}))


def test_empty_columns(crm, copy, usage_blocks):
    edit(copy, "usage_actions", lambda usage: usage.assign(USERS_EMAIL=None))
    edit(copy, "noncustomers", lambda rows: rows.assign(INDUSTRY=None, ALEXA_RANK=None))
    edit(copy, "customers", lambda rows: rows.assign(INDUSTRY=None, ALEXA_RANK=None, MRR=None))
    frame = loaded(crm.data(dir=str(copy), cache=False), usage_blocks).panel.frame
    assert (frame["users_email_sum_84d"] == 0).all()
    assert frame[["industry", "web_rank_log10", "web_unranked", "value"]].isna().all(axis=None)
    assert frame["industry"].dtype == "str"


@pytest.mark.parametrize(
    ("table", "message"),
    [("usage_actions", "No rows in usage_actions"), ("customers noncustomers", "No rows in customers, noncustomers")],
)
@pytest.mark.parametrize("header", [True, False])
def test_tables_without_rows(crm, copy, table, message, header):
    for name in table.split():
        path = copy / f"{name}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n" if header else "")
    with pytest.raises(DataError, match=message if header else r"customers\.csv is empty|usage_actions\.csv is empty"):
        loaded(crm.data(dir=str(copy), cache=False, rules={"orphan_events": "warn"}))


def test_events_without_entities(crm, copy):
    edit(copy, "usage_actions", lambda usage: usage.assign(id=usage["id"] + 10_000))
    with pytest.raises(
        DataError, match=r"No rows left in table usage_actions \(used as events\) after applying data\.r"
    ):
        loaded(crm.data(dir=str(copy), cache=False))
    result = loaded(crm.data(dir=str(copy), cache=False, rules={"orphan_events": "warn"}))
    assert (result.panel.inputs[["actions_sum_28d", "users_max_all"]] == 0).all(axis=None)


def test_one_account_with_one_event(crm, copy):
    edit(copy, "customers", lambda rows: rows.iloc[:1].assign(id=1, CLOSEDATE="2019-06-20"))
    edit(copy, "noncustomers", lambda rows: rows.iloc[:0])
    edit(copy, "usage_actions", lambda usage: usage.iloc[:1].assign(id=1, WHEN_TIMESTAMP="2019-04-01 00:00:00.000"))
    frame = loaded(crm.data(dir=str(copy), cache=False)).panel.frame
    assert frame[["id", "as_of", "label"]].to_dict("records") == [
        {"id": 1, "as_of": pd.Timestamp("2019-05-21"), "label": 1}
    ]


def test_a_panel_from_a_server_is_fingerprinted_by_its_values(crm, tmp_path, monkeypatch):
    with duckdb.connect(str(tmp_path / "crm.duckdb")) as connection:
        for name in crm.frames:
            connection.sql(f"CREATE TABLE {name} AS SELECT * FROM '{crm.folder / name}.csv'")
    monkeypatch.setattr(load, "fingerprint", lambda raw: None)
    data = crm.data(dir=None, url=f"duckdb://{tmp_path / 'crm.duckdb'}", cache_dir=tmp_path / "cache")
    result = loaded(data)
    assert result.fingerprint == frame_fingerprint(result.panel.frame)
    assert not (tmp_path / "cache").exists()  # changes to its tables cannot be detected


def test_the_contracts_follow_the_config(crm, copy):
    edit(copy, "usage_actions", lambda usage: usage.assign(USERS_EMAIL=-usage["USERS_EMAIL"] - 1))
    data = crm.data(dir=str(copy), cache=False)
    raw = check_source(data, BLOCKS)
    with pytest.raises(DataError, match="negative_counts"):
        check_tables(data, raw)


def test_demo_tables_are_generated_once(crm, tmp_path, monkeypatch, caplog):
    data = crm.data(dir=None, demo={"events": 2_000, "seed": 1}, cache_dir=tmp_path)
    with caplog.at_level(logging.INFO, "mlsys.data.load"):
        first = with_demo(data)
        second = with_demo(data)
    assert first.dir == second.dir
    assert caplog.text.count("generating synthetic demo data") == 1
    assert loaded(first).panel.frame["label"].sum() > 0
    assert with_demo(crm.data()).dir == str(crm.folder)


def test_partial_demo_tables_of_killed_processes_are_removed(crm, tmp_path):
    data = crm.data(dir=None, demo={"events": 2_000}, cache_dir=tmp_path)
    folder = Path(with_demo(data).dir)
    tables = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    killed = [folder / ".demo-a", folder.parent / "events-9-seed-9-old" / ".demo-b"]
    alive = folder.parent / "events-8-seed-8-now" / ".demo-c"
    for scratch in (*killed, alive):
        scratch.mkdir(parents=True)
        (scratch / "customers.parquet").touch()
    with FileLock(alive.parents[1] / f"{alive.parent.name}.lock"):
        with_demo(data)
        assert [scratch.exists() for scratch in (*killed, alive)] == [False, False, True]
    with_demo(data)
    assert not alive.exists()
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == tables


def test_demo_tables_that_cannot_be_written(crm, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"Cannot write the demo tables: .* data\.cache_dir"):
        with_demo(crm.data(dir=None, demo={}, cache_dir=tmp_path / "file"))
