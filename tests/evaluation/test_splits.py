"""Splits: training labels are known at the test as-of, groups stay together, and errors say what to do."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlsys.errors import ConfigError, DataError
from mlsys.evaluation.splits import (
    Backtest,
    GroupKFold,
    Holdout,
    reported_folds,
    selection_and_reported_folds,
    split_off_latest,
)

START = pd.Timestamp("2020-01-06")


def panel(days, groups=None, labels=None, complete=True):
    """Return the panel's columns that splits read, one row per day given (None: no time)."""
    rows = len(days)
    as_of = [pd.NaT if day is None else START + timedelta(days=int(day)) for day in days]
    return pd.DataFrame(
        {
            "as_of": pd.Series(as_of, dtype="datetime64[us]"),
            "label": np.zeros(rows, dtype=np.int8) if labels is None else np.asarray(labels, dtype=np.int8),
            "label_complete": complete,
            "group": np.arange(rows) if groups is None else groups,
        }
    )


def snapshots(count, every=28, accounts=5):
    return panel(np.repeat(np.arange(count) * every, accounts), groups=np.tile(np.arange(accounts), count))


# Walk forward


def test_each_of_the_latest_as_ofs_is_tested_once():
    folds = Backtest(folds=3, horizon_days=30).split(snapshots(8))
    assert [fold.number for fold in folds] == [0, 1, 2]
    assert [fold.as_of for fold in folds] == [START + timedelta(days=28 * step) for step in (5, 6, 7)]
    assert [fold.test.tolist() for fold in folds] == [list(range(5 * step, 5 * step + 5)) for step in (5, 6, 7)]


def test_training_rows_end_a_horizon_before_the_test():
    frame = snapshots(8)
    for fold in Backtest(folds=3, horizon_days=30).split(frame):
        ends = frame["as_of"].iloc[fold.train] + pd.Timedelta(days=30)
        assert (ends <= fold.as_of).all()
        # 28 days before is too late, but 56 days before is not left out.
        assert frame["as_of"].iloc[fold.train].max() == fold.as_of - pd.Timedelta(days=56)


def test_a_window_that_ends_on_the_test_as_of_is_known():
    fold = Backtest(folds=1, horizon_days=28).split(snapshots(3))[0]
    assert fold.train.tolist() == list(range(10))


@settings(deadline=None)
@given(
    days=st.lists(st.integers(0, 200), min_size=2, max_size=60),
    folds=st.integers(1, 8),
    horizon=st.integers(0, 60),
    until=st.none() | st.integers(0, 220),
    censored=st.integers(0, 200),
)
def test_only_known_labels_are_trained_on(days, folds, horizon, until, censored):
    complete = np.array(days) <= censored
    frame = panel(days, complete=complete)
    last = None if until is None else (START + timedelta(days=until)).date()
    try:
        parts = Backtest(folds=folds, horizon_days=horizon, until=last).split(frame)
    except DataError:
        return
    assert 1 <= len(parts) <= folds
    tested = np.concatenate([fold.test for fold in parts])
    assert len(set(tested)) == len(tested)
    assert all(len(fold.train) and len(fold.test) for fold in parts)
    for fold in parts:
        known = frame["as_of"].iloc[fold.train] + pd.Timedelta(days=horizon)
        assert (known <= fold.as_of).all() if horizon else (known < fold.as_of).all()
        assert (frame["as_of"].iloc[fold.test] >= fold.as_of).all()
        assert frame["label_complete"].iloc[fold.train].all()
        # All known labels are used.
        usable = frame["as_of"] + pd.Timedelta(days=horizon) <= fold.as_of if horizon else frame["as_of"] < fold.as_of
        assert len(fold.train) == (usable & complete).sum()
    if until is not None:
        assert frame["as_of"].iloc[tested].max() <= START + timedelta(days=until)


def test_incomplete_labels_are_tested_and_never_trained_on():
    frame = snapshots(6)
    frame["label_complete"] = frame["as_of"] < START + timedelta(days=84)
    folds = Backtest(folds=3, horizon_days=28).split(frame)
    assert folds[-1].test.tolist() == list(range(25, 30))
    assert [len(fold.train) for fold in folds] == [15, 15, 15]


@pytest.mark.parametrize("until", ["2020-04-27", date(2020, 4, 27)])
def test_nothing_after_until_is_tested(until):
    folds = Backtest(folds=2, horizon_days=30, until=until).split(snapshots(8))
    assert [str(fold.as_of.date()) for fold in folds] == ["2020-03-30", "2020-04-27"]


def test_rows_with_a_time_each_are_tested_in_equal_parts():
    frame = panel(np.arange(100)[::-1])
    folds = Backtest(folds=4).split(frame)
    assert [len(fold.test) for fold in folds] == [20, 20, 20, 20]
    assert [len(fold.train) for fold in folds] == [20, 40, 60, 80]
    for fold in folds:
        assert frame["as_of"].iloc[fold.train].max() < frame["as_of"].iloc[fold.test].min()


def test_times_within_a_day_are_distinguished():
    frame = panel([0, 0, 0, 0])
    frame["as_of"] += pd.to_timedelta([0, 1, 2, 3], unit="s")
    assert [fold.train.tolist() for fold in Backtest(folds=3).split(frame)] == [[0], [0, 1], [0, 1, 2]]


def test_if_most_rows_share_one_time_only_the_latest_are_tested():
    folds = Backtest(folds=3).split(panel([0] * 50 + [1, 2]))
    assert [fold.test.tolist() for fold in folds] == [[51]]


@pytest.mark.parametrize(
    ("split", "frame", "message"),
    [
        (
            Backtest(),
            panel([None, 3]),
            r"needs a time for every row, but 1 of 2 rows has none\. .* \(data\.time\), or use split=group_kfold",
        ),
        (
            Holdout(),
            panel([None, None]),
            r"split\.order=time needs .* 2 of 2 rows have none.* use split\.order=random",
        ),
        (Backtest(), panel([5, 5]), r"at least two as-ofs, but there is 1\. Use split=group_kfold, or add as-ofs"),
        (Backtest(until="2019-01-01"), snapshots(3), r"at least two as-ofs up to 2019-01-01, but there are 0"),
        (Backtest(folds=3, horizon_days=30), snapshots(3), r"Fold 0 \(as-of 2020-01-06\) .* Use fewer split\.folds"),
        (Holdout(horizon_days=90), snapshots(3), r"no training rows: no label window ends .* split\.order=random"),
        (
            GroupKFold(folds=4),
            panel([None] * 3),
            r"at least 4 groups, but there are 3\. Use split\.folds=3 or less",
        ),
        *(
            (split, panel([None] * 3, groups=[1, 1, 1]), r"at least \d groups, but there is 1\. Set data\.group")
            for split in (Holdout(order="random"), GroupKFold(folds=2))
        ),
    ],
)
def test_errors_say_what_to_do(split, frame, message):
    with pytest.raises(DataError, match=message):
        split.split(frame)


@pytest.mark.parametrize(
    ("split", "wrong"),
    [
        (Backtest, {"folds": 0}),
        (Backtest, {"until": "soon"}),
        (Backtest, {"horizon_days": -1}),
        (Holdout, {"test_fraction": 25}),
        (Holdout, {"test_fraction": 0.0}),
        (Holdout, {"order": "tiem"}),
        (GroupKFold, {"folds": 1}),
    ],
)
def test_invalid_settings_are_an_error(split, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        split(**wrong)


# Holdout


def test_the_latest_rows_are_held_out():
    frame = panel(np.arange(100)[::-1])
    (fold,) = Holdout(test_fraction=0.25, horizon_days=10).split(frame)
    assert sorted(fold.test) == list(range(25))
    assert sorted(fold.train) == list(range(34, 100))
    assert fold.as_of == START + timedelta(days=75)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.4, 0.7, 0.99])
def test_a_random_test_set_has_its_fraction_of_rows_and_positives(fraction):
    frame = panel([None] * 1000, labels=np.arange(1000) % 10 == 0)
    (fold,) = Holdout(test_fraction=fraction, order="random").split(frame)
    assert len(fold.test) == pytest.approx(1000 * fraction, abs=2)
    assert frame["label"].iloc[fold.test].sum() == pytest.approx(100 * fraction, abs=1)
    assert sorted([*fold.train, *fold.test]) == list(range(1000))
    assert fold.as_of is None


def test_a_random_test_set_never_contains_all_rows():
    (fold,) = Holdout(test_fraction=0.9, order="random").split(panel([None] * 2))
    assert len(fold.train) == len(fold.test) == 1


# Group k-fold


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=80),
    st.integers(2, 5),
    st.integers(0, 9),
)
def test_groups_stay_whole_and_every_row_is_tested_once(rows, folds, seed):
    groups, labels = map(np.array, zip(*rows, strict=True))
    frame = panel([None] * len(rows), groups=groups, labels=labels)
    try:
        parts = GroupKFold(folds=folds, seed=seed).split(frame)
    except DataError:
        assert len(set(groups)) < folds
        return
    assert sorted(np.concatenate([fold.test for fold in parts])) == list(range(len(rows)))
    for fold in parts:
        assert set(groups[fold.train]).isdisjoint(groups[fold.test])
        assert len(fold.train) + len(fold.test) == len(rows)
    positive = [len(set(groups[fold.test][labels[fold.test]])) for fold in parts]
    total = len(set(groups[labels]))
    assert max(positive) - min(positive) <= 1
    assert sum(positive) == total


@pytest.mark.parametrize("split", [GroupKFold(folds=3, seed=1), Holdout(order="random", seed=1)])
def test_the_seed_determines_the_split_and_the_order_of_rows_does_not(split):
    frame = panel([None] * 60, groups=[f"account {i % 20}" for i in range(60)], labels=np.arange(60) % 7 == 0)
    reversed_rows = frame[::-1].reset_index(drop=True)
    for fold, again, mirrored in zip(split.split(frame), split.split(frame), split.split(reversed_rows), strict=True):
        assert np.array_equal(fold.test, again.test)
        assert np.array_equal(np.sort(59 - mirrored.test), fold.test)
    other = type(split)(**{"seed": 2} | ({"folds": 3} if isinstance(split, GroupKFold) else {"order": "random"}))
    assert not np.array_equal(other.split(frame)[0].test, split.split(frame)[0].test)


def test_incomplete_labels_are_never_trained_on():
    frame = panel([None] * 20, complete=np.arange(20) % 2 == 0)
    for fold in [*GroupKFold(folds=2).split(frame), *Holdout(order="random").split(frame)]:
        assert (fold.train % 2 == 0).all()
        assert (fold.test % 2 == 1).any()


# The latest training rows


@settings(deadline=None)
@given(
    days=st.lists(st.integers(0, 100), min_size=1, max_size=50),
    fraction=st.floats(0.05, 0.9),
    horizon=st.integers(0, 40),
)
def test_the_early_rows_are_known_when_the_latest_begin(days, fraction, horizon):
    frame = panel(days)
    train = np.flatnonzero(np.arange(len(days)) % 3 != 1)
    early, validation = split_off_latest(frame, train, fraction=fraction, horizon_days=horizon, seed=0)
    times = frame["as_of"].to_numpy()[train]
    assert validation.any()
    assert not (early & validation).any()
    assert early.shape == validation.shape == train.shape
    start = times[validation].min()
    assert validation.tolist() == (times >= start).tolist()
    known = times + np.timedelta64(horizon, "D") <= start if horizon else times < start
    assert early.tolist() == known.tolist()


def test_the_latest_are_about_the_requested_fraction():
    frame = panel(np.arange(100))
    early, validation = split_off_latest(frame, np.arange(100), fraction=0.2, horizon_days=0, seed=0)
    assert validation.sum() == pytest.approx(20, abs=1)
    assert early.sum() == 100 - validation.sum()


def test_without_time_the_validation_set_consists_of_whole_groups():
    groups = np.repeat(np.arange(50), 4)
    frame = panel([None] * 200, groups=groups, labels=groups % 5 == 0)
    early, validation = split_off_latest(frame, np.arange(40, 200), fraction=0.25, horizon_days=0, seed=0)
    assert (early ^ validation).all()
    assert validation.mean() == pytest.approx(0.25, abs=0.03)
    assert set(groups[40:][early]).isdisjoint(groups[40:][validation])
    assert frame["label"].iloc[40:][validation].sum() == pytest.approx(0.25 * 8 * 4, abs=4)


def test_a_single_group_leaves_no_validation_set():
    early, validation = split_off_latest(
        panel([None] * 3, groups=[1, 1, 1]), np.arange(3), fraction=0.2, horizon_days=0, seed=0
    )
    assert early.all()
    assert not validation.any()


# Folds to choose a model on


@pytest.mark.parametrize(
    ("split", "frame"),
    [
        (Backtest(folds=3, horizon_days=30), snapshots(12)),
        (Backtest(folds=3, horizon_days=30), snapshots(40, every=7)),
        (Backtest(folds=3, horizon_days=30, until=date(2020, 9, 1)), snapshots(14)),
        (Backtest(folds=3), panel(range(120))),
        (Holdout(0.3, horizon_days=30), snapshots(12)),
        (Holdout(0.3), panel(range(120))),
        (Holdout(0.3, "random"), panel([None] * 90, np.arange(90) // 3)),
        (GroupKFold(folds=3), panel([None] * 90, np.arange(90) // 3)),
    ],
    ids=str,
)
def test_a_choice_uses_nothing_of_the_reported_folds(split, frame):
    selection, reported = selection_and_reported_folds(split, frame, 3)
    assert [fold.number for fold in selection] == [0, 1, 2]
    assert [fold.number for fold in reported] == list(range(len(reported)))
    used = np.unique(np.concatenate([rows for fold in selection for rows in (fold.train, fold.test)]))
    for fold in reported:
        assert not set(used) & set(fold.test)
        assert not set(frame["group"].iloc[used]) & set(frame["group"].iloc[fold.test]) or fold.as_of is not None
        if fold.as_of is not None:
            horizon = pd.Timedelta(days=split.horizon_days)
            known = frame["as_of"].iloc[used] + horizon
            assert (known <= fold.as_of).all() if split.horizon_days else (known < fold.as_of).all()
    again = reported_folds(split, frame, None, 3)
    assert [fold.test.tolist() for fold in again] == [fold.test.tolist() for fold in reported]


def test_as_ofs_are_reported_as_without_a_choice():
    split, frame = Backtest(folds=3, horizon_days=30), snapshots(12)
    _, reported = selection_and_reported_folds(split, frame, 3)
    assert [fold.test.tolist() for fold in reported] == [fold.test.tolist() for fold in split.split(frame)]


def test_too_few_rows_to_choose_on_say_what_to_do():
    with pytest.raises(DataError, match=r"model\.folds=6 folds.*has no training rows.*fewer model\.folds"):
        selection_and_reported_folds(Backtest(folds=6, horizon_days=30), snapshots(10), 6)
    with pytest.raises(DataError, match=r"model\.folds=6 folds.*at least 9 groups.*fewer model\.folds"):
        selection_and_reported_folds(GroupKFold(folds=3), panel([None] * 8), 6)


def test_a_choice_needs_a_split_that_can_be_nested():
    class Ours:
        def split(self, frame):
            return []

    with pytest.raises(ConfigError, match="backtest, holdout or group_kfold, with model=auto"):
        selection_and_reported_folds(Ours(), snapshots(4), 2)
