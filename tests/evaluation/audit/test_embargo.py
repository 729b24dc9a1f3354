from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlsys.evaluation.audit.embargo import embargo
from mlsys.evaluation.splits import Backtest, GroupKFold, Holdout

from .subjects import accounts, audited, flat, leads


def test_a_walk_forward_backtest_passes():
    check = embargo(audited(accounts()))
    assert (check.status, check.value, check.limit) == ("pass", 0, 0)
    assert "label window of 30 days ends by the first test as-of" in check.message


@pytest.mark.parametrize(("count", "finding"), [(1, "In fold 1, 1 of "), (2, "In fold 1, 2 of ")])
def test_training_rows_whose_window_ends_too_late_fail_and_are_counted(count, finding):
    subject = audited(accounts())
    late = np.flatnonzero(subject.panel.frame["as_of"] == subject.folds[1].as_of - pd.Timedelta(days=28))
    folds = list(subject.folds)
    folds[1] = replace(folds[1], train=np.append(folds[1].train, late[:count]))
    check = embargo(audited(subject.panel.frame, folds=folds))
    assert (check.status, check.value) == ("fail", count)
    assert finding in check.message
    assert f"training rows {'has' if count == 1 else 'have'} a label window of 30 days that ends after" in check.message
    assert "Set split.horizon_days to data.horizon_days" in check.message


def test_a_split_with_too_short_an_embargo_fails():
    check = embargo(audited(accounts(), split=Backtest(folds=3, horizon_days=28)))
    assert check.status == "fail"


@pytest.mark.parametrize("split", [GroupKFold(folds=3), Holdout(order="random")])
def test_a_random_split_of_rows_with_a_label_window_fails(split):
    check = embargo(audited(accounts(), split=split))
    assert check.status == "fail"
    assert "split=backtest" in check.message


def test_training_on_incomplete_labels_fails():
    frame = accounts()
    folds = audited(frame).folds
    frame.loc[folds[0].train[:2], "label_complete"] = False
    check = embargo(audited(frame, folds=folds))
    assert check.status == "fail"
    assert check.value == 2 * 3  # the first fold's rows are in all three
    assert "Train only on rows with label_complete" in check.message


def with_times(frame):
    days = np.random.default_rng(0).permutation(len(frame))
    return frame.assign(as_of=(pd.Timestamp("2020-01-01") + pd.to_timedelta(days, "D")).astype("datetime64[us]"))


def test_a_flat_table_with_times_and_a_random_split_is_a_warning():
    check = embargo(flat(with_times(leads()), horizon_days=0))
    assert check.status == "warn"
    assert "split=backtest" in check.message


def test_a_flat_table_split_by_time_passes():
    check = embargo(audited(with_times(leads()), split=Backtest(folds=3), horizon_days=0))
    assert (check.status, check.value) == ("pass", 0)
    assert check.message == "In every fold, each training row is earlier than the first test row."


def test_a_flat_table_split_by_time_with_a_test_row_in_training_fails():
    subject = audited(with_times(leads()), split=Backtest(folds=3), horizon_days=0)
    times = subject.panel.frame["as_of"]
    folds = [replace(fold, train=np.append(fold.train, times.iloc[fold.test].idxmin())) for fold in subject.folds]
    check = embargo(audited(subject.panel.frame, folds=folds, horizon_days=0))
    assert (check.status, check.value) == ("fail", 1)
    assert "1 of " in check.message
    assert "is not earlier than the first test row: the model has learned from rows" in check.message


def test_a_table_without_times_has_no_embargo():
    check = embargo(flat(leads()))
    assert (check.status, check.value) == ("pass", None)
