import numpy as np
import pytest

from mlsys.evaluation.audit import single_feature as module
from mlsys.evaluation.audit.single_feature import single_feature

from .subjects import accounts, audited, flat, leads


def run(frame, make=audited):
    return single_feature(make(frame), limit=0.95)


def test_honest_features_pass_and_the_best_is_named():
    check = run(accounts())
    assert check.status == "pass"
    assert 0.5 < check.value < 0.92
    assert "The best single feature, usage, has a ROC-AUC of" in check.message


@pytest.mark.parametrize("direction", [1, -1])
def test_a_number_that_reveals_the_label_fails(direction):
    frame = accounts()
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(frame))
    check = run(frame.assign(paid=direction * (frame["label"] + noise)))
    assert check.status == "fail"
    assert check.value > 0.99
    assert "paid (1.000)" in check.message


def test_a_missing_value_that_reveals_the_label_fails():
    frame = accounts()
    noise = np.random.default_rng(0).normal(size=len(frame))
    assert run(frame.assign(closed=np.where(frame["label"] == 1, noise, np.nan))).status == "fail"


def test_a_category_that_reveals_the_label_fails():
    frame = accounts()
    frame["stage"] = np.where(frame["label"] == 1, "won", frame["sector"])
    check = run(frame)
    assert check.status == "fail"
    assert "stage" in check.message


def test_a_distinct_category_for_each_row_passes():
    frame = leads()
    check = run(frame.assign(name=[f"lead {number}" for number in range(len(frame))]), flat)
    assert check.status == "pass"


def test_a_category_unseen_in_training_gets_the_overall_rate():
    frame = accounts()
    folds = audited(frame).folds
    frame["stage"] = np.where(np.arange(len(frame)) < folds[0].test[0], "old", "new")
    labels = frame["label"].to_numpy()[folds[0].train]
    rates = module._rates(audited(frame, folds=folds[:1]), "stage")
    assert rates == pytest.approx(labels.mean())


def test_just_below_the_limit_is_a_warning():
    frame = accounts()
    generator = np.random.default_rng(0)
    check = run(frame.assign(hint=frame["label"] + generator.normal(scale=0.6, size=len(frame))))
    assert 0.92 < check.value < 0.95
    assert check.status == "warn"


def test_with_few_positive_rows_the_check_only_warns():
    frame = accounts()
    frame = frame[(frame["label"] == 0) | (frame["id"] < 12)].reset_index(drop=True)
    check = run(frame.assign(paid=frame["label"].astype(float)))
    assert check.status == "warn"
    assert "it may also be chance" in check.message


@pytest.mark.parametrize(("positives", "noun"), [(1, "1 positive test row"), (2, "2 positive test rows")])
def test_few_positive_rows_are_counted(positives, noun):
    frame = leads(count=60)
    frame["label"] = (np.arange(60) < positives).astype(np.int8)
    check = run(frame.assign(paid=frame["label"].astype(float)), flat)
    assert f"With only {noun}, it may also be chance." in check.message


def test_rows_with_incomplete_labels_do_not_count():
    frame = accounts()
    frame["label_complete"] = frame["as_of"] < frame["as_of"].max()
    paid = np.where(frame["label_complete"], 0.0, frame["label"])
    assert run(frame.assign(paid=paid)).status == "pass"


def test_one_class_only_cannot_be_ranked():
    frame = accounts()
    assert run(frame.assign(label=np.int8(0))).value is None
