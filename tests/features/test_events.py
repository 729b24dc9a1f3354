"""Event blocks, compared with a slow reference implementation, and the boundaries of their windows."""

import math
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mlsys.features import Mix, PerUser, Presence, Recency, Tenure, Trend, Windows

AS_OFS = ["2020-02-02", "2020-02-03", "2020-03-01"]  # two adjacent dates, whose windows overlap almost completely
MEASURES = {"actions_x": "a_x", "actions_y": "a_y", "users_x": "u_x", "users_y": "u_y"}


def number(cell):
    """Return a cell as a float; None if it is missing."""
    return None if cell is None or math.isnan(cell) else float(cell)


def seen(events, entity, as_of, after_days):
    """Return an entity's visible events: when each became known, and its measures."""
    rows = []
    for row in events.to_dict("records"):
        known = row["at"].to_pydatetime() + timedelta(days=after_days)
        if row["id"] != entity or known > as_of:
            continue
        measures = {name: number(row[column]) for name, column in MEASURES.items()}
        measures["actions"] = (measures["actions_x"] or 0) + (measures["actions_y"] or 0)
        measures["users"] = max(measures["users_x"] or 0, measures["users_y"] or 0)
        rows.append((known, measures))
    return rows


def values(rows, measure, as_of, days):
    """Return a measure's values in the rows that became known in the last ``days`` days."""
    since = as_of - timedelta(days=days) if days else datetime.min
    return [row[measure] for known, row in rows if known > since and row[measure] is not None]


def total(*arguments):
    return float(sum(values(*arguments)))


def midnight(moment):
    start = datetime(moment.year, moment.month, moment.day)
    return start if start == moment else start + timedelta(days=1)


def growth(recent, before):
    return math.log(max(recent, 0) + 1) - math.log(max(before, 0) + 1)


def row_of(events, entity, as_of, after_days):
    """Return the columns expected of the fixture ``event_blocks`` for one entity and as-of."""
    rows = seen(events, entity, as_of, after_days)
    expected = {}
    for name in ("actions", "users", "actions_x"):
        for days, suffix in ((7, "7d"), (28, "28d"), (None, "all")):
            inside = values(rows, name, as_of, days)
            expected[f"{name}_sum_{suffix}"] = float(sum(inside))
            expected[f"{name}_max_{suffix}"] = max(inside, default=0.0)
            expected[f"{name}_active_{suffix}"] = float(sum(value > 0 for value in inside))
    for name in ("users", "actions_y"):
        known = [midnight(moment) for moment, row in rows if (row[name] or 0) > 0]
        expected[f"{name}_recency"] = (as_of - max(known)).days if known else math.nan
    first = [midnight(moment) for moment, row in rows if row["actions"] > 0]
    expected["tenure"] = (as_of - min(first)).days if first else math.nan
    every = [midnight(moment) for moment, _ in rows]
    for days, suffix in ((7, "7d"), (28, "28d"), (None, "all")):
        since = as_of - timedelta(days=days) if days else datetime.min
        expected[f"rows_{suffix}"] = float(sum(moment > since for moment, _ in rows))
    expected["rows_recency"] = (as_of - max(every)).days if every else math.nan
    expected["rows_tenure"] = (as_of - min(every)).days if every else math.nan
    for name in ("actions", "users_y"):
        recent, both = total(rows, name, as_of, 14), total(rows, name, as_of, 42)
        expected[f"{name}_trend"] = growth(recent, (both - recent) / 2)
    recent, both = total(rows, "actions", as_of, 7), total(rows, "actions", as_of, 28)
    expected["actions_week_trend"] = growth(recent, (both - recent) / 3)
    everything = total(rows, "actions", as_of, 56)
    parts = {name: total(rows, f"actions_{name}", as_of, 56) for name in "xy"}
    for name, part in parts.items():
        expected[f"actions_{name}_share"] = part / everything if everything else math.nan
    expected["products_used"] = float(sum(part > 0 for part in parts.values()))
    users = total(rows, "users", as_of, 28)
    expected["actions_per_user"] = total(rows, "actions", as_of, 28) / users if users else math.nan
    return expected


@pytest.mark.parametrize("after_days", [0, 7])
def test_blocks_agree_with_the_reference_implementation(panel_of, event_blocks, histories, after_days):
    everyone = pd.DataFrame({"id": [*range(1, 31), 99]})  # the last one has no events
    panel = panel_of(event_blocks, AS_OFS, histories, everyone, available_after_days=after_days)
    keys = panel.frame[["id", "as_of"]].itertuples(index=False)
    expected = pd.DataFrame([row_of(histories, key.id, key.as_of.to_pydatetime(), after_days) for key in keys])
    assert len(expected) == 31 * 3
    inputs = panel.inputs[expected.columns].astype("float64")
    pd.testing.assert_frame_equal(inputs, expected.astype("float64"), rtol=1e-12)
    assert set(panel.names) == set(expected.columns)
    # The generated data contain the cases under test.
    assert histories["a_x"].isna().any()
    assert (histories["a_x"] < 0).any()
    assert panel.inputs["tenure"].isna().any()


EDGES = {
    0: [
        ("2020-02-01 00:00", True),  # known exactly at the as-of
        ("2020-02-01 00:00:00.000001", False),
        ("2020-02-20 00:00", False),
        ("2020-01-04 00:00", False),  # known exactly 28 days earlier: just outside the window
        ("2020-01-04 00:00:00.000001", True),
        ("2020-01-05 00:00", True),
    ],
    7: [
        ("2020-01-25 00:00", True),  # stamped at the start of its week, known when the week is over
        ("2020-01-25 00:01", False),
        ("2020-01-26 00:00", False),
        ("2019-12-28 00:00", False),
        ("2019-12-28 09:00", True),
    ],
}


@pytest.mark.parametrize("after_days", EDGES)
def test_a_window_holds_what_became_known_after_its_start_and_by_the_as_of(panel_of, event, after_days):
    edges = EDGES[after_days]
    events = pd.concat([event(at, entity=number, a_x=3.0, u_x=2.0) for number, (at, _) in enumerate(edges)])
    blocks = [Windows(measures=["actions"], windows=[28], aggregates=["sum", "max", "active"], all_time=False)]
    frame = panel_of(blocks, ["2020-02-01"], events, available_after_days=after_days).frame.set_index("id")
    counted = pd.Series([float(counts) for _, counts in edges])
    assert (frame["actions_sum_28d"] / 3).to_dict() == counted.to_dict()
    assert (frame["actions_max_28d"] / 3).to_dict() == counted.to_dict()
    assert frame["actions_active_28d"].to_dict() == counted.to_dict()
    assert (frame["activity"] / 2).to_dict() == counted.to_dict()


def test_events_before_every_window_count_only_towards_all_time(panel_of, event):
    blocks = [Windows(measures=["actions"], windows=[7]), Recency(measures=["actions"]), Tenure()]
    events = pd.concat([event("2001-01-01", a_x=5.0), event("2020-01-30", a_x=2.0)])
    row = panel_of(blocks, ["2020-02-01"], events, available_after_days=0).inputs.iloc[0]
    assert row["actions_sum_all"] == 7
    assert row["actions_max_all"] == 5
    assert row["actions_sum_7d"] == 2
    assert row["actions_recency"] == 2
    assert row["tenure"] == (pd.Timestamp("2020-02-01") - pd.Timestamp("2001-01-01")).days


def test_users_of_several_products_are_counted_once_and_actions_added(panel_of, event):
    blocks = [Windows(measures=["actions", "users"], windows=[7], all_time=False)]
    row = panel_of(blocks, ["2020-02-01"], event("2020-01-24", a_x=4.0, a_y=5.0, u_x=2.0, u_y=3.0)).inputs.iloc[0]
    assert row["actions_sum_7d"] == 9
    assert row["users_sum_7d"] == 3


def test_missing_counts_differ_from_zero_where_it_matters(panel_of, event):
    events = pd.concat([event("2020-01-20", entity=1, a_x=np.nan, a_y=np.nan), event("2020-01-20", entity=2, a_x=0.0)])
    everyone = pd.DataFrame({"id": [1, 2, 3]})
    blocks = [
        Windows(measures=["actions_x"], windows=[28]),
        Recency(measures=["actions_x"]),
        Mix(kind="actions", products=["x"]),
    ]
    frame = panel_of(blocks, ["2020-02-01"], events, everyone).inputs
    assert frame["actions_x_sum_28d"].tolist() == [0, 0, 0]
    assert frame["actions_x_max_all"].tolist() == [0, 0, 0]
    assert frame["actions_x_recency"].isna().all()
    assert frame["actions_x_share"].isna().all()
    assert frame["products_used"].tolist() == [0, 0, 0]


def test_a_row_whose_counts_are_all_zero_or_missing_is_a_row(panel_of, event):
    nothing = event("2020-01-20", a_x=0.0, u_x=0.0), event("2020-01-06", a_x=np.nan, u_x=np.nan)
    frame = panel_of([Presence()], ["2020-02-01"], pd.concat(nothing), pd.DataFrame({"id": [1, 2]})).inputs
    assert frame.loc[0].to_dict() == {"rows_28d": 2, "rows_all": 2, "rows_recency": 5, "rows_tenure": 19}
    assert frame.loc[1, ["rows_28d", "rows_all"]].tolist() == [0, 0]
    assert frame.loc[1, ["rows_recency", "rows_tenure"]].isna().all()


def test_negative_counts_are_handled(panel_of, event):
    events = pd.concat([event("2020-01-20", a_x=-50.0), event("2019-12-20", a_x=-70.0)])
    row = panel_of([Trend(measures=["actions"]), Windows(measures=["actions"])], ["2020-02-01"], events).inputs.iloc[0]
    assert row["actions_trend"] == 0
    assert row["actions_sum_84d"] == -120
    assert row["actions_max_84d"] == -50


def test_ids_may_be_text(panel_of, histories):
    blocks = [Windows(measures=["actions"])]
    numbers = panel_of(blocks, AS_OFS, histories)
    texts = panel_of(blocks, AS_OFS, histories.assign(id="é" + histories["id"].astype(str)))
    assert texts.frame["id"].tolist()[:3] == ["é1", "é10", "é11"]
    assert texts.frame["group"].equals(texts.frame["id"])
    by_number = texts.frame.assign(id=texts.frame["id"].str[1:].astype("int64")).sort_values(["as_of", "id"])
    pd.testing.assert_frame_equal(by_number[numbers.names].reset_index(drop=True), numbers.inputs)


def test_one_product_alone_is_its_kinds_total(panel_of, event):
    measures = {"actions": {"x": "a_x"}, "users": {"x": "u_x"}}
    changed = {"table": "visits", "id": "id", "time": "at", "measures": measures, "activity": {"measure": "users"}}
    panel = panel_of([Windows(measures=["users"])], ["2020-02-01"], event("2020-01-24", u_x=6.0), events=changed)
    assert panel.inputs["users_sum_28d"].tolist() == [6]


def test_columns_carry_what_people_need_to_read_them(panel_of, event, event_blocks):
    features = {info.name: info for info in panel_of(event_blocks, ["2020-02-01"], event("2020-01-01")).features}
    assert features["actions_sum_28d"].description == "actions: total, last 28 days"
    assert features["actions_sum_28d"].unit == "actions"
    assert features["users_active_all"].unit == "rows"
    assert features["users_max_all"].description == "users: largest value in one row, all time before the as-of"
    assert features["tenure"].unit == "days"
    assert {info.kind for info in features.values()} == {"number"}


@pytest.mark.parametrize(
    ("block", "arguments", "message"),
    [
        (Windows, {"measures": ["actions"], "aggregates": ["median"]}, "'sum', 'max' or 'active'"),
        (Windows, {"measures": ["actions"], "windows": [0]}, "greater than 0"),
        (Windows, {"measures": []}, "at least 1 item"),
        (Windows, {"measures": "actions"}, "sequence"),
        (Trend, {"measures": ["actions"], "recent": 28, "before": 28}, "recent=28 must be less than before=28"),
        (Mix, {"kind": "actions", "products": []}, "at least 1 item"),
        (PerUser, {"days": -1}, "greater than 0"),
    ],
)
def test_invalid_arguments_are_rejected(block, arguments, message):
    with pytest.raises(ValidationError, match=message):
        block(**arguments)
