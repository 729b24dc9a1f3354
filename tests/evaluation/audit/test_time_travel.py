import numpy as np
import pandas as pd
import pytest

from mlsys.evaluation.audit import time_travel as module
from mlsys.evaluation.audit.time_travel import time_travel
from mlsys.features import WholeHistory

from .blocks import RECENCY, USAGE, Company, DaysToOrder, Others, SectorRate, Spine, Sum
from .subjects import accounts, audited, flat, leads


def run(shop, *blocks, sample=40):
    return time_travel(shop.subject([USAGE, *blocks]), sample=sample)


def test_honest_blocks_pass_and_undated_attributes_are_named(shop):
    check = run(shop, RECENCY, Company())
    assert (check.status, check.value, check.limit) == ("pass", 0, 0)
    assert "40 panel rows" in check.message
    assert "  " not in check.message
    assert "known at the as-of: size, sector" in check.message


@pytest.mark.parametrize("block", [Sum(0), Others(ever=False)])
def test_honest_table_blocks_pass(shop, block):
    assert run(shop, block).status == "pass"


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (WholeHistory(["actions", "users"]), "actions_ever, users_ever"),
        (Sum(1), "total"),
        (Sum(7), "total"),
        (Spine(), "hint"),
        (DaysToOrder(), "patience"),
        (SectorRate(), "sector_rate"),
        (Others(ever=True), "everybody"),
    ],
)
def test_blocks_that_look_ahead_fail_and_are_named(shop, block, names):
    check = run(shop, block)
    count = 1 + names.count(",")
    assert (check.status, check.value) == ("fail", count)
    assert check.message.startswith(f"{count} of ")
    assert f"features {'depends' if count == 1 else 'depend'} on the future" in check.message
    assert f"on the future or the outcome: {names}. All numbers" in check.message


def test_entity_blocks_alone_are_checked(shop):
    found = [time_travel(shop.subject([block]), sample=20).status for block in (Company(), DaysToOrder())]
    assert found == ["pass", "fail"]


def test_a_flat_table_has_no_future():
    check = time_travel(flat(leads()), sample=40)
    assert (check.status, check.value) == ("pass", None)


def test_unaltered_rebuilt_rows_equal_those_of_the_panel(shop):
    blocks = [USAGE, Sum(1)]
    panel = shop.subject(blocks).panel
    rows = panel.frame.iloc[::7]
    original, altered = shop.rebuild([*blocks, Company()]).pairs(rows[["id", "as_of"]])
    pd.testing.assert_frame_equal(original, rows[panel.names].reset_index(drop=True))
    assert module._changed(original, altered) == ["total"]


def test_converters_and_entities_with_later_activity_are_preferred():
    frame = accounts()
    frame["activity"] = frame["activity"].where(frame["id"] <= 15, 0.0)
    subject = audited(frame)
    active_later = module._active_later(frame)
    assert active_later.mean() < 0.1
    rows = module._sample(subject, 60, np.arange(len(frame)))
    assert len(rows) == len(rows.drop_duplicates()) == 60
    assert frame.loc[rows.index, "label"].sum() >= 15
    assert active_later[rows.index].sum() >= 30


def test_a_sample_larger_than_the_panel_has_all_rows(shop):
    subject = shop.subject([USAGE])
    assert len(module._sample(subject, 10**6, np.arange(len(subject.labels)))) == len(subject.labels)


def test_rounding_errors_are_ignored_and_missing_values_are_not():
    original = pd.DataFrame({"a": [1e9, 0.1 + 0.2], "b": [np.nan, 1.0], "c": ["x", None], "d": [np.inf, 1.0]})
    same = pd.DataFrame({"a": [1e9, 0.3], "b": [np.nan, 1.0], "c": ["x", None], "d": [np.inf, 1.0]})
    assert module._changed(original, same) == []
    other = pd.DataFrame({"a": [1e9, 400.0], "b": [0.0, 2.0], "c": ["x", "y"], "d": [np.inf, 1.1]})
    assert module._changed(original, other) == ["b", "a", "c", "d"]
