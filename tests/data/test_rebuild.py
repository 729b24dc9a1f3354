"""Rebuilding alters data after the as-of and nothing before it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlsys.data import rebuild
from mlsys.data.reader import open_data
from mlsys.features import EmployeeRange, Industry, WebRank, Windows

DAY = 18000
HORIZON = 30

COPIES = pd.DataFrame({"copy": [0, 1, 2, 3], "id": ["a", "a", "b", "c"], "as_of_day": [DAY, DAY + 28, DAY, DAY]})
ENTITIES = pa.table(
    {
        "id": ["a", "b", "c"],
        "size": pa.array([5, None, 7], pa.int64()),
        "created_day": pa.array([None, DAY - 9, DAY + 9], pa.int64()),
        "outcome_day": pa.array([DAY + 40, None, DAY + 10], pa.int64()),
        "value": [80.0, None, 20.0],
    }
)
EVENTS = pa.table(
    {
        "id": ["a"] * 8 + ["b"],
        "known_day": [DAY - 30, DAY - 1, DAY, DAY + 1, DAY + 8, DAY + 27, DAY + 28, DAY + 29, DAY - 1],
        "actions": pa.array([1, 2, 3, 4, 5, None, 7, 8, 9], pa.int64()),
    }
)


@pytest.fixture
def histories():
    kept, altered = rebuild._event_pair(COPIES, EVENTS, first_altered=4)
    return kept.to_pandas(), altered.to_pandas()


def events_of(events, copy):
    return events[events["id"] == copy].sort_values("known_day")


@pytest.mark.parametrize("copy", [0, 1, 2, 3])
def test_visible_events_stay_as_they_are(histories, copy):
    kept, altered = histories
    as_of = COPIES["as_of_day"][copy]
    seen = [
        rows[rows["known_day"] <= as_of][["known_day", "actions"]]
        for rows in (events_of(kept, copy), events_of(altered, copy + 4))
    ]
    pd.testing.assert_frame_equal(*(rows.reset_index(drop=True) for rows in seen), check_dtype=False)


def test_the_kept_copy_has_all_events(histories):
    kept, _ = histories
    assert [len(events_of(kept, copy)) for copy in range(4)] == [8, 8, 1, 0]


def test_later_events_are_changed_removed_and_added(histories):
    kept, altered = histories
    before = events_of(kept, 0).query("known_day > @DAY")
    after = events_of(altered, 4).query("known_day > @DAY")
    added = after[after["known_day"].isin([DAY + days for days in rebuild.ADDED_AFTER])]
    assert len(added) >= 3
    assert (after["actions"] >= 13).all()  # 7 x + 13, or 13
    assert not set(before["known_day"]) <= set(after["known_day"])
    common = before.merge(after, on="known_day")
    assert 0 < len(common[common["actions_y"] != 13]) < len(before)
    assert (common["actions_x"] != common["actions_y"]).all()


def test_an_entity_without_later_events_gets_some(histories):
    assert len(events_of(histories[1], 7)) == len(rebuild.ADDED_AFTER)


def test_outcomes_flip_and_entities_stay_eligible():
    kept, altered = (table.to_pandas() for table in rebuild._entity_pair(COPIES, ENTITIES, HORIZON, first_altered=4))
    as_of = COPIES["as_of_day"].to_numpy()
    for rows in (kept, altered):
        assert not (rows["created_day"].to_numpy() > as_of).any()
        assert not (rows["outcome_day"].to_numpy() <= as_of).any()
    label = [(rows["outcome_day"].to_numpy() <= as_of + HORIZON) for rows in (kept, altered)]
    assert (label[0] != label[1]).all()
    assert label[0].tolist() == [False, True, False, True]
    assert not (kept["value"] == altered["value"]).any()
    assert altered["id"].tolist() == [4, 5, 6, 7]


def test_attributes_and_types_are_unchanged():
    kept, altered = rebuild._entity_pair(COPIES, ENTITIES, HORIZON, first_altered=4)
    assert kept["size"].to_pylist() == altered["size"].to_pylist() == [5, 5, None, 7]
    assert kept.schema == altered.schema == ENTITIES.schema.set(0, pa.field("id", pa.int64()))


def test_rows_changed_by_rules_stay_eligible():
    outcome = pa.array([DAY - 5, None, None], pa.int64())  # before the as-of, although the row is in the panel
    entities = ENTITIES.set_column(3, "outcome_day", outcome)
    kept, _ = rebuild._entity_pair(COPIES, entities, HORIZON, first_altered=4)
    assert np.isnan(kept.to_pandas()["outcome_day"]).all()


def texts(frame, column, text):
    """Put text that does not parse into every fifth row."""
    values = frame[column].astype(str)
    return frame.assign(**{column: values.where(np.arange(len(frame)) % 5 > 0, text)})


@pytest.mark.parametrize("action", ["drop", "warn"])
@pytest.mark.parametrize(
    ("table", "column", "text"),
    [
        ("customers", "CLOSEDATE", "soon"),
        ("usage_actions", "WHEN_TIMESTAMP", "soon"),
        ("usage_actions", "ACTIONS_EMAIL", "many"),
        ("noncustomers", "id", "x1"),  # ids are then numeric in one table and text in the other
    ],
)
def test_raw_columns_are_parsed_as_for_the_panel(crm, tmp_path, table, column, text, action):
    frames = crm.frames | {table: texts(crm.frames[table], column, text)}
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    data = crm.data(dir=str(tmp_path), cache=False, rules={"wrong_types": action})
    blocks = [Windows(measures=["actions"], windows=[28])]
    reader = open_data(data, blocks, threads=1)
    panel = reader.load()
    made = reader.rebuild(panel)
    rows = panel.panel.frame[["id", "as_of"]].iloc[::200].reset_index(drop=True)
    kept, altered = made.pairs(rows)
    pd.testing.assert_frame_equal(kept, altered)
    if action == "warn":  # with drop, both copies have rows that the panel lacks
        pd.testing.assert_frame_equal(kept, panel.panel.inputs.iloc[::200].reset_index(drop=True), check_dtype=False)


def test_snapshot_features_by_attribute(crm):
    reader = open_data(
        crm.data(cache=False), [Windows(["actions"], [28]), WebRank(), EmployeeRange(), Industry()], threads=1
    )
    assert reader.rebuild(reader.load()).features_by_attribute == {
        "alexa_rank": ["web_rank_log10", "web_unranked"],
        "employee_range": ["employees", "employee_range"],
        "industry": ["industry"],
    }
