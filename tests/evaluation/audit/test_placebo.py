from dataclasses import replace

import numpy as np
import pytest

from mlsys.errors import FitError
from mlsys.evaluation.audit import placebo
from mlsys.evaluation.audit.placebo import label_placebo
from mlsys.evaluation.ranking import tie_groups

from .subjects import BACKTEST, accounts, audited, flat, leads


def linear(panel, folds):
    """Fit a linear model on the training rows and score the test rows, without a leak."""
    numbers = [feature.name for feature in panel.features if feature.kind == "number"]
    inputs = np.column_stack([panel.frame[numbers].to_numpy(), np.ones(len(panel.frame))])
    labels = panel.frame["label"].to_numpy(dtype=float)
    scores = []
    for fold in folds:
        line = np.linalg.lstsq(inputs[fold.train], labels[fold.train], rcond=None)[0]
        scores.append(inputs[fold.test] @ line)
    return np.concatenate(scores)


def dropping(panel, folds):
    """Drop every entity from training that will be positive in test, so that unknown entities are positive."""
    entity, positive = panel.frame["group"].to_numpy(), panel.frame["label"].to_numpy() == 1
    scores = []
    for fold in folds:
        converters = entity[fold.test[positive[fold.test]]]
        seen = np.setdiff1d(entity[fold.train], converters)
        scores.append(1.0 - np.isin(entity[fold.test], seen))
    return np.concatenate(scores)


def encoding_before_the_split(panel, folds):
    """Replace each entity by its fraction of positive rows, including test rows."""
    rates = panel.frame.groupby("group")["label"].transform("mean").to_numpy(dtype=float)
    return np.concatenate([rates[fold.test] for fold in folds])


def test_a_backtest_without_leaks_falls_to_chance():
    frame = accounts(count=400)
    subject = audited(frame, refit=linear)
    check = label_placebo(subject)
    assert check.status == "pass"
    assert check.value <= check.limit
    real = linear(subject.panel, subject.folds)
    positive = subject.labels[subject.tested]
    assert tie_groups(real, positive).average_precision() > 1.5 * check.value  # there was something to learn


def test_the_number_of_labels_at_once_does_not_matter(monkeypatch):
    subject = audited(accounts(count=100), refit=linear)
    whole = label_placebo(subject)
    monkeypatch.setattr(placebo, "MAX_LABELS", 7 * len(subject.labels))
    assert label_placebo(subject) == whole


@pytest.mark.parametrize("refit", [dropping, encoding_before_the_split])
def test_a_backtest_that_leaks_test_labels_fails(refit):
    check = label_placebo(audited(accounts(count=400), refit=refit))
    assert check.status == "fail"
    assert check.value > check.limit
    assert "the backtest itself leaks labels" in check.message


def test_dates_go_to_active_accounts_that_never_convert_and_then_leave():
    frame = accounts(count=400)
    seen = {}

    def refit(panel, folds):
        seen.update(frame=panel.frame, folds=folds)
        return np.zeros(sum(len(fold.test) for fold in folds))

    label_placebo(audited(frame, refit=refit))
    placebo = seen["frame"]
    converters = set(frame["id"][frame["label"] == 1])
    recipients = placebo[placebo["label"] == 1]
    assert not converters & set(recipients["id"])
    assert (recipients["activity"] > 0).all()
    assert recipients["as_of"].value_counts().to_dict() == frame["as_of"][frame["label"] == 1].value_counts().to_dict()
    last = recipients.groupby("id")["as_of"].max()
    rows = placebo[placebo["id"].isin(last.index)]
    assert (rows["as_of"] <= rows["id"].map(last)).all()
    assert len(placebo) < len(frame)
    others = ~frame["id"].isin(last.index)
    assert others.sum() == (~placebo["id"].isin(last.index)).sum()
    for before, after in zip(BACKTEST.split(frame), seen["folds"], strict=True):
        kept = placebo.iloc[after.train][["id", "as_of"]]
        original = frame.iloc[before.train][["id", "as_of"]]
        assert len(kept.merge(original)) == len(kept)
        assert (placebo["as_of"].iloc[after.test] == before.as_of).all()


def test_an_account_receives_all_dates_of_a_converter():
    frame = accounts(count=400)
    soon = frame.groupby("id")["label"].shift(-1) == 1
    frame.loc[soon & (frame["id"] % 2 == 0), "label"] = 1
    seen = {}

    def refit(panel, folds):
        seen.update(frame=panel.frame)
        return np.zeros(sum(len(fold.test) for fold in folds))

    label_placebo(audited(frame, refit=refit))
    patterns = [
        rows[rows["label"] == 1].groupby("id")["as_of"].agg(["min", "max"]).value_counts().to_dict()
        for rows in (frame, seen["frame"])
    ]
    assert patterns[0].keys() == patterns[1].keys()
    assert sum(patterns[1].values()) > 0.8 * sum(patterns[0].values())  # some patterns have no candidate
    assert any(first < last for first, last in patterns[0])


def test_the_result_depends_on_the_seed_only():
    subject = audited(accounts(count=400), refit=linear)
    assert label_placebo(subject) == label_placebo(subject)
    assert label_placebo(subject) != label_placebo(replace(subject, seed=1))


def grouped(groups=150):
    """Return a flat table with groups of unequal sizes that mostly share a label."""
    generator = np.random.default_rng(1)
    sizes = generator.integers(1, 6, groups)
    frame = leads(count=int(sizes.sum()), group=np.repeat(np.arange(groups), sizes))
    by_group = generator.random(groups) < 0.3
    return frame.assign(label=by_group[frame["group"]].astype(np.int8))


def test_a_flat_table_falls_to_chance():
    check = label_placebo(flat(grouped(), refit=linear))
    assert check.status == "pass"
    assert "given to random rows" in check.message


def test_a_flat_table_whose_backtest_leaks_test_labels_fails():
    assert label_placebo(flat(grouped(), refit=encoding_before_the_split)).status == "fail"


def test_labels_of_a_flat_table_keep_their_number_and_mostly_their_groups():
    frame, seen = grouped(), {}

    def refit(panel, folds):
        seen.update(frame=panel.frame)
        return np.zeros(len(panel.frame))

    label_placebo(flat(frame, refit=refit))
    assert seen["frame"]["label"].sum() == frame["label"].sum()
    assert (seen["frame"]["label"] != frame["label"]).sum() > 0.2 * len(frame)
    mixed = seen["frame"].groupby("group")["label"].nunique() == 2
    shuffled = frame.assign(label=np.random.default_rng(0).permutation(frame["label"]))
    assert mixed.sum() < 0.5 * (shuffled.groupby("group")["label"].nunique() == 2).sum()


def test_without_a_refit_it_does_not_apply():
    assert label_placebo(audited(accounts())).value is None


def test_without_active_accounts_it_does_not_apply():
    frame = accounts(count=400).assign(activity=0.0)
    assert label_placebo(audited(frame, refit=linear)).value is None


def test_a_refit_that_fails_is_a_warning():
    def refit(panel, folds):
        raise FitError("fold 0: all training rows are negative")

    check = label_placebo(audited(accounts(), refit=refit))
    assert (check.status, check.value) == ("warn", None)
    assert "all training rows are negative" in check.message
