"""Columns and types of the panel, and panels of unusual tables."""

import ibis
import numpy as np
import pandas as pd
import pytest

from mlsys.data.panel import KEYS, with_totals
from mlsys.features import Industry, Mix, PerUser, Recency, Tenure, Trend, Windows

BLOCKS = [
    Windows(measures=["actions", "users_x"], aggregates=["sum", "max", "active"]),
    Recency(measures=["actions"]),
    Tenure(),
    Trend(measures=["actions"]),
    Mix(kind="actions", products=["x", "y"]),
    PerUser(),
]
AS_OFS = ["2020-01-01", "2020-02-01"]


def visits(rows):
    columns = ["id", "at", "a_x", "a_y", "u_x", "u_y"]
    frame = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], "float64"))
    return frame.astype({"id": "int64"}).assign(at=pd.to_datetime(frame["at"]).dt.as_unit("us"))


TWO = visits([(1, "2019-12-01", 3, 0, 1, 0), (2, "2020-01-20", 1, 2, 1, 2)])


def test_columns_and_types(panel_of):
    accounts = pd.DataFrame({"id": [1, 2], "industry": ["Retail", None]})
    panel = panel_of([*BLOCKS, Industry()], AS_OFS, TWO, accounts)
    assert tuple(panel.frame.columns[: len(KEYS)]) == KEYS
    assert list(panel.frame.columns[len(KEYS) :]) == panel.names == [info.name for info in panel.features]
    assert list(panel.inputs.columns) == panel.names
    types = panel.frame.dtypes.astype(str).to_dict()
    assert [types[name] for name in KEYS] == [
        "int64",
        "datetime64[us]",
        "int8",
        "bool",
        "float64",
        "float64",
        "int64",
        "float64",
        "float64",
    ]
    assert {types[name] for name in panel.names} <= {"float32", "float64", "str"}
    assert panel.frame["group"].tolist() == panel.frame["id"].tolist()
    assert panel.frame.index.tolist() == [0, 1, 2, 3]


def test_integer_and_fractional_counts(panel_of):
    whole = TWO.astype(dict.fromkeys(["a_x", "a_y", "u_x", "u_y"], "int32"))
    parts = TWO.assign(a_x=[0.5, 0.25])
    pd.testing.assert_frame_equal(panel_of(BLOCKS, AS_OFS, whole).frame, panel_of(BLOCKS, AS_OFS, TWO).frame)
    assert panel_of(BLOCKS, AS_OFS, parts).inputs["actions_sum_28d"].tolist() == [0.5, 0, 0, 2.25]


def test_accounts_without_events(panel_of):
    panel = panel_of(BLOCKS, AS_OFS, TWO.iloc[:0], pd.DataFrame({"id": [1, 2]}))
    assert len(panel.frame) == 4
    missing = {"actions_recency", "tenure", "actions_x_share", "actions_y_share", "actions_per_user"}
    assert set(panel.inputs.columns[panel.inputs.isna().all()]) == missing
    assert (panel.inputs.drop(columns=list(missing)) == 0).all(axis=None)
    assert panel.frame["activity"].tolist() == [0] * 4


def test_an_empty_measure(panel_of):
    panel = panel_of(BLOCKS, AS_OFS, TWO.assign(u_x=np.nan))
    assert panel.inputs["users_x_sum_84d"].tolist() == [0] * 4
    assert panel.inputs["actions_sum_84d"].tolist() == [3, 0, 3, 3]


def test_a_panel_of_one_row(panel_of):
    panel = panel_of(BLOCKS, AS_OFS[:1], TWO.iloc[:1])
    assert panel.frame["id"].tolist() == [1]
    assert panel.inputs["actions_sum_28d"].tolist() == [3]


def test_far_past_and_future_events_have_no_effect(panel_of):
    far = visits([(1, "9999-01-01", 9, 9, 9, 9), (1, "1900-01-01", 0, 0, 0, 0), (7, "2019-12-01", 5, 5, 5, 5)])
    ids = pd.DataFrame({"id": [1, 2]})
    plain, with_far = (panel_of(BLOCKS, AS_OFS, events, ids).frame for events in (TWO, pd.concat([TWO, far])))
    pd.testing.assert_frame_equal(plain, with_far)


def test_the_activity_baseline_is_the_maximum_of_its_measure(panel_of):
    events = visits([(1, "2019-12-20", 0, 0, 4, 6), (1, "2019-12-21", 0, 0, 5, 1), (1, "2019-11-01", 0, 0, 50, 1)])
    assert panel_of(BLOCKS, AS_OFS[:1], events).frame["activity"].tolist() == [6]
    changed = {"measure": "users_x", "days": 90}
    other = {
        "events": {
            "table": "visits",
            "id": "id",
            "time": "at",
            "measures": {"actions": {"x": "a_x", "y": "a_y"}, "users": {"x": "u_x", "y": "u_y"}},
            "activity": changed,
        }
    }
    assert panel_of(BLOCKS, AS_OFS[:1], events, **other).frame["activity"].tolist() == [50]


@pytest.mark.parametrize(
    ("kind", "total"),
    [("users", 5), ("actions", 7), ("visits", 7)],
)
def test_totals_sum_over_products_except_for_users(kind, total):
    rows = ibis.memtable(
        {f"{kind}_a": [5, None], f"{kind}_b": [2, None]}, schema=dict.fromkeys([f"{kind}_a", f"{kind}_b"], "int64")
    )
    found = with_totals(rows, {kind: ("a", "b")})[kind].to_pyarrow().to_pylist()
    assert found == [total, 0]
