import numpy as np
import pandas as pd

from mlsys.evaluation.audit.duplicates import duplicates
from mlsys.evaluation.splits import Backtest, GroupKFold

from .subjects import accounts, audited, flat, leads


def run(subject):
    return duplicates(subject, limit=0.5)


def test_distinct_rows_pass():
    check = run(audited(accounts()))
    assert (check.status, check.value, check.limit) == ("pass", 0.0, 0.5)


def test_repeated_rows_that_do_not_score_better_pass():
    frame = accounts()
    frame["usage"], frame["size"] = frame["id"] % 20, 1.0  # accounts that never change
    check = run(audited(frame, score="usage"))
    assert check.value > 0.8
    assert check.status == "pass"


def test_inactive_accounts_do_not_count():
    frame = accounts()
    frame = frame.assign(usage=0.0, size=np.nan, sector="retail")
    assert run(audited(frame, score="activity")).value == 0.0


def memorised(seed=0):
    """Return rows of which two thirds occur twice, a month apart, and a score that has memorised their labels."""
    generator = np.random.default_rng(seed)
    first = leads(count=1200, seed=seed)
    first["as_of"] = pd.Series(pd.Timestamp("2020-01-06"), index=first.index, dtype="datetime64[us]")
    again = first.iloc[:800].assign(as_of=first["as_of"] + pd.Timedelta(days=40))
    fresh = leads(count=400, seed=seed + 1).assign(as_of=again["as_of"].iloc[0])
    frame = pd.concat([first, again, fresh], ignore_index=True)
    known = np.arange(len(frame)) < 2000
    score = np.where(known, frame["label"] + generator.normal(scale=0.1, size=len(frame)), frame["size"])
    return frame, score


def test_memorised_rows_are_a_warning_with_both_metrics():
    frame, score = memorised()
    check = run(audited(frame, split=Backtest(folds=1, horizon_days=30), score=score))
    assert check.status == "warn"
    assert 0.6 < check.value < 0.7
    assert "ROC-AUC 1.000 versus 0.7" in check.message


def test_memorised_rows_below_the_limit_pass():
    frame, score = memorised()
    subject = audited(frame, split=Backtest(folds=1, horizon_days=30), score=score)
    assert duplicates(subject, limit=0.9).status == "pass"


def test_copies_across_a_random_split_are_a_warning_with_their_number():
    frame = leads()
    frame = pd.concat([frame, frame.iloc[:60]], ignore_index=True)
    frame["id"] = frame["group"] = np.arange(len(frame))
    subject = flat(frame)
    sides = np.empty(len(frame))
    for fold in subject.folds:
        sides[fold.test] = fold.number
    separated = 2 * int((sides[:60] != sides[600:]).sum())
    check = run(subject)
    assert check.status == "warn"
    assert f"including the label: {separated} of 660 test rows" in check.message
    assert "data.group" in check.message


def test_copies_kept_on_one_side_pass():
    frame = leads()
    frame = pd.concat([frame, frame.iloc[:60]], ignore_index=True)  # with the same id and group
    assert run(flat(frame)).status == "pass"


def test_copies_with_another_label_do_not_count():
    frame = leads()
    frame = pd.concat([frame, frame.iloc[:60].assign(label=1 - frame["label"].iloc[:60])], ignore_index=True)
    frame["id"] = frame["group"] = np.arange(len(frame))
    assert run(flat(frame)).status == "pass"


def test_a_few_coarse_columns_repeat_by_chance():
    generator = np.random.default_rng(0)
    frame = leads(rooms=generator.integers(1, 6, 600).astype(float))
    frame["size"] = np.round(frame["size"])
    check = run(audited(frame, split=GroupKFold(folds=3), score="size"))
    assert check.status == "pass"
    assert check.value > 0.5


def test_the_two_zeros_and_missing_values_are_equal():
    frame = leads(count=200)
    frame["source"] = "web"
    frame["size"] = np.r_[np.arange(1.0, 101), np.arange(1.0, 101)]
    frame.loc[[0, 100], "size"] = [0.0, -0.0]
    frame.loc[[1, 101], "size"] = np.nan
    frame["label"] = np.r_[frame["label"][:100], frame["label"][:100]].astype(np.int8)
    folds = GroupKFold(folds=2).split(frame)
    halves = [np.arange(100), np.arange(100, 200)]
    folds = [type(fold)(fold.number, halves[fold.number], halves[1 - fold.number]) for fold in folds]
    check = run(audited(frame, folds=folds, score="activity"))
    assert "200 of 200 test rows" in check.message
