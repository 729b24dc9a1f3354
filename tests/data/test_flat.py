"""A flat table as a panel."""

import logging
import sqlite3

import numpy as np
import pandas as pd
import pytest

from mlsys.data import flat
from mlsys.data.config import TableData
from mlsys.data.flat import describe_table, load_table
from mlsys.data.panel import KEYS
from mlsys.data.table import TableRecipe, apply, read_table
from mlsys.errors import ConfigError, DataError

ROWS = 60


@pytest.fixture
def leads():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "lead": [f"L{number:03}" for number in range(ROWS)],
            "day": pd.date_range("2020-01-01", periods=ROWS).strftime("%d.%m.%Y"),
            "firm": np.repeat([f"F{number}" for number in range(ROWS // 3)], 3),
            "size": rng.integers(1, 500, ROWS),
            "plan": rng.choice(["free ", "pro", "Free"], ROWS),
            "won": rng.choice(["yes", "no"], ROWS, p=[0.3, 0.7]),
            "worth": np.round(rng.gamma(2, 50, ROWS), 2),
        }
    )


@pytest.fixture
def load(tmp_path):
    def make(frame, *, sep=";", **changes):
        path = tmp_path / "leads.csv"
        frame.to_csv(path, index=False, sep=sep)
        return load_table(config(path, **changes))

    return make


def config(path, **changes):
    settings = {"kind": "table", "name": "t", "path": str(path), "target": "won", "cache": False}
    return TableData.model_validate(settings | changes)


ROLES = {"id": "lead", "time": "day", "group": "firm", "value": "worth"}


def test_a_name_that_a_model_cannot_have_is_kept_beside_the_one_that_it_sees(load, leads):
    renamed = leads.rename(columns={"size": "size [x], y", "day": "day <z>"})
    panel = load(renamed, id="lead", group="firm", value="worth").panel
    assert panel.raw_names == {
        "size [x], y": "size _x__ y"
    }  # a date has several inputs, so its name means none of them


def test_columns_with_roles(load, leads):
    loaded = load(leads, **ROLES)
    frame = loaded.panel.frame
    assert tuple(frame.columns[: len(KEYS)]) == KEYS
    assert frame["id"].tolist() == leads["lead"].tolist()
    assert frame["group"].tolist() == leads["firm"].tolist()
    assert frame["as_of"].tolist() == pd.date_range("2020-01-01", periods=ROWS).tolist()
    assert frame["as_of"].dtype == "datetime64[us]"
    won = leads["won"] == "yes"
    assert frame["label"].tolist() == won.astype(int).tolist()
    assert frame["label"].dtype == "int8"
    assert frame["label_complete"].all()
    assert frame["value"].dropna().tolist() == leads["worth"][won].tolist()
    assert frame["activity"].isna().all()
    assert loaded.panel.names == ["size", "plan"]
    assert [(info.name, info.kind) for info in loaded.panel.features] == [("size", "number"), ("plan", "category")]
    assert loaded.names == {"id": "lead", "as_of": "day", "target": "won", "positive": "yes"}
    assert loaded.horizon_days == 0
    assert loaded.facts == {"as_ofs": [], "entities": ROWS // 3, "columns": 7}


def test_without_roles_rows_have_unique_ids_and_groups(load, leads):
    frame = load(leads[["size", "plan", "won"]]).panel.frame
    assert frame["id"].tolist() == frame["group"].tolist() == list(range(ROWS))
    assert frame["as_of"].isna().all()
    assert frame["as_of"].dtype == "datetime64[us]"
    assert frame["value"].isna().all()


def test_the_recipe_reproduces_the_inputs(load, leads, tmp_path):
    loaded = load(leads, **ROLES)
    again = apply(TableRecipe.from_dict(loaded.recipe), read_table(tmp_path / "leads.csv"))
    pd.testing.assert_frame_equal(again, loaded.panel.inputs.astype(again.dtypes), check_exact=True)


def test_columns_named_like_keys(load, leads):
    renamed = leads.rename(columns={"size": "label", "plan": "group", "lead": "value"})
    loaded = load(renamed, id="value", time="day", drop=["worth", "firm"])
    assert loaded.panel.names == ["label_2", "group_2"]
    assert loaded.panel.frame["label_2"].tolist() == leads["size"].tolist()
    assert set(loaded.panel.frame["label"]) == {0, 1}
    assert loaded.panel.frame["id"].tolist() == leads["lead"].tolist()


OUTPUTS = [
    "score",
    "fold",
    "probability",
    "prediction",
    "decision",
    "id",
    "row",
    "index",
    "entity_id",
    "label_complete",
]


def test_the_value_is_dropped_by_its_own_setting(load, leads):
    columns = {column["name"]: column for column in load(leads, target="won", value="worth").recipe["columns"]}
    assert columns["worth"]["dropped"] == "set by data.value"


@pytest.mark.parametrize(
    ("names", "inputs"),
    [
        (OUTPUTS, [name + ("_2" if name in KEYS else "") for name in OUTPUTS]),
        (["Seats", "seats", "SEATS"], ["Seats", "seats", "SEATS"]),
        (["plan size", "plan_size"], ["plan size", "plan_size"]),
        (["x[1]<2", "x_1__2", "x{1},2"], ["x_1__2_2", "x_1__2", "x_1__2_3"]),
    ],
)
def test_no_two_inputs_have_the_same_name(load, names, inputs):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({name: rng.normal(size=ROWS).round(3) for name in names}).assign(won=np.arange(ROWS) % 3 // 2)
    loaded = load(frame, target="won")
    assert loaded.panel.names == inputs
    for name, output in zip(names, inputs, strict=True):
        assert loaded.panel.frame[output].tolist() == frame[name].tolist()
    assert [column["name"] for column in loaded.recipe["columns"]] == [*names, "won"]


def test_rows_without_id_or_group_get_unique_ones(load, leads):
    lead = leads["lead"].where(leads.index != 5)
    firm = leads["firm"].where(leads.index > 3)
    frame = load(leads.assign(lead=lead, firm=firm), **ROLES).panel.frame
    assert frame["id"].tolist()[4:7] == ["L004", "row 5", "L006"]
    assert frame["group"].tolist()[:6] == ["row 0", "row 1", "row 2", "row 3", "F1", "F1"]
    assert frame["group"].notna().all()


def test_ids_of_several_types_become_text(leads, tmp_path):
    path = tmp_path / "leads.jsonl"
    rows = leads.assign(lead=[number if number % 2 else f"L{number}" for number in range(ROWS)])
    rows.to_json(path, orient="records", lines=True)
    assert load_table(config(path, **ROLES)).panel.frame["id"].tolist()[:3] == ["L0", "1", "L2"]
    whole = leads.assign(lead=pd.Series(range(ROWS)).astype("Int64").where(leads.index != 1))
    whole.to_parquet(tmp_path / "leads.parquet")
    frame = load_table(config(tmp_path / "leads.parquet", **ROLES)).panel.frame
    assert frame["id"].tolist()[:3] == ["0", "row 1", "2"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_big_ids_with_a_missing_one_are_exact(leads, tmp_path, suffix):
    ids = [None if row == 1 else 2**53 + row for row in range(ROWS)]
    frame = leads.assign(lead=pd.array(ids, dtype="Int64"))
    path = tmp_path / f"leads.{suffix}"
    {"csv": frame.to_csv, "parquet": frame.to_parquet}.get(
        suffix, lambda path, **_: frame.to_json(path, orient="records", lines=True)
    )(path, index=False)
    found = load_table(config(path, **ROLES)).panel.frame["id"].tolist()
    assert found == ["row 1" if one is None else str(one) for one in ids]


def test_a_table_of_a_database_file(leads, tmp_path):
    path = tmp_path / "leads.sqlite"
    connection = sqlite3.connect(path)
    leads.to_sql("leads", connection, index=False)
    leads.assign(won="no").to_sql("other", connection, index=False)
    connection.close()
    assert load_table(config(f"{path}::leads", **ROLES)).panel.frame["id"].tolist() == leads["lead"].tolist()
    with pytest.raises(DataError, match="2 tables"):
        load_table(config(path, **ROLES))


def test_rows_without_a_target_are_dropped_and_reported(load, leads):
    loaded = load(leads.assign(won=leads["won"].where(leads.index > 1)), **ROLES)
    assert loaded.panel.frame["id"].iloc[0] == "L002"
    assert [one for one in loaded.findings if one["rule"] == "missing_target"] == [
        {
            "table": "leads.csv",
            "rule": "missing_target",
            "action": "drop",
            "count": 2,
            "message": "2 rows without a target: dropped",
        }
    ]


def test_automatically_dropped_columns_are_findings(load, leads):
    loaded = load(leads.assign(always="x", blank=None), **ROLES, drop=["plan"])
    assert loaded.panel.names == ["size"]
    assert [one["message"].split(":")[0] for one in loaded.findings] == ["always", "blank"]
    assert {one["count"] for one in loaded.findings} == {ROWS}


def test_values_of_a_positive_row_may_be_text(load, leads):
    frame = load(leads.assign(worth="1.234,50 €"), **ROLES).panel.frame
    assert frame["value"].dropna().unique().tolist() == [1234.5]
    assert frame["value"].isna().equals(frame["label"] == 0)


def test_the_class_to_predict_may_be_named(load, leads):
    loaded = load(leads, **ROLES, positive="NO")
    assert loaded.names["positive"] == "no"
    assert loaded.panel.frame["label"].tolist() == (leads["won"] == "no").astype(int).tolist()


def test_every_column_that_is_not_there_is_named(load, leads):
    with pytest.raises(ConfigError) as error:
        load(leads, target="wo", id="Lead", time="dya", group="frim", value="wort", drop=["plans"])
    assert [(problem.where, problem.got, problem.closest) for problem in error.value.problems] == [
        ("data.target", "wo", "won"),
        ("data.id", "Lead", "lead"),
        ("data.time", "dya", "day"),
        ("data.group", "frim", "firm"),
        ("data.value", "wort", "worth"),
        ("data.drop", "plans", "plan"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.iloc[:0], "has a header .* but no rows"),
        (lambda rows: rows.iloc[:1], "at least two classes"),
        (lambda rows: rows.assign(won="yes"), "at least two classes"),
        (lambda rows: rows.assign(won=None), "is empty in all 60 rows"),
        (lambda rows: rows.assign(won=[f"class {number % 5}" for number in range(ROWS)]), "data.positive"),
        (lambda rows: rows.assign(day=["never", *rows["day"][1:]]), "day"),
        (lambda rows: rows[["lead", "day", "firm", "won", "worth"]], "no usable features"),
    ],
)
def test_unusable_tables(load, leads, change, message):
    with pytest.raises(DataError, match=message):
        load(change(leads), **ROLES)


def test_a_missing_file(load, leads, tmp_path):
    load(leads)
    with pytest.raises(DataError, match=r"Not found: .*lead\.csv \(closest: leads\.csv\)"):
        load_table(config(tmp_path / "lead.csv", cache=True, cache_dir=tmp_path / "cache"))


def test_a_table_is_read_once_and_then_cached(load, leads, tmp_path, monkeypatch, caplog):
    cached = {"cache": True, "cache_dir": tmp_path / "cache", **ROLES}
    fresh = load(leads, **cached)
    reads = []
    read = flat.read_table
    monkeypatch.setattr(flat, "read_table", lambda path: reads.append(path) or read(path))
    with caplog.at_level(logging.INFO, "mlsys.data.flat"):
        kept = load(leads, **cached)
    assert reads == []
    assert "it is the target" in caplog.text  # logged every time
    pd.testing.assert_frame_equal(fresh.panel.frame, kept.panel.frame)
    assert fresh.panel.features == kept.panel.features
    assert (fresh.names, fresh.findings, fresh.facts, fresh.recipe, fresh.fingerprint) == (
        *(kept.names, kept.findings, kept.facts, kept.recipe, kept.fingerprint),
    )
    changed = load(leads.assign(size=leads["size"] + 1), **cached)
    assert len(reads) == 1
    assert changed.fingerprint != fresh.fingerprint
    load(leads, **cached, drop=["plan"])
    assert len(reads) == 2


def test_describe_table(leads, tmp_path):
    path = tmp_path / "leads.csv"
    leads.to_csv(path, index=False)
    reports = {report.name: report for report in describe_table(config(path, **ROLES))}
    assert reports["day"].kind == "time"
    assert reports["size"].done == "used"
    assert reports["won"].done.startswith("dropped")
