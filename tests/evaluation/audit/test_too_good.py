from dataclasses import replace

import numpy as np
import pytest

from mlsys.evaluation.audit.too_good import too_good

from .subjects import accounts, audited, flat, leads


def run(subject):
    return too_good(subject, auc=0.99, odds=100)


def rare(separation, seed=0):
    """Return a subject with one positive row in 250, and a score of the given separation."""
    generator = np.random.default_rng(seed)
    frame = leads(count=7500).assign(label=(np.arange(7500) % 250 == 0).astype(np.int8))
    return audited_by(frame, generator.normal(size=7500) + separation * frame["label"])


def audited_by(frame, score):
    return flat(frame, score=score.to_numpy())


def test_an_honest_model_passes():
    check = run(audited(accounts(count=600), score="usage"))
    assert check.status == "pass"
    assert "at a base rate of" in check.message


def test_an_average_precision_implausible_for_a_rare_outcome_is_a_warning():
    check = run(rare(separation=3.2))
    assert check.status == "warn"
    assert check.value > check.limit
    assert check.limit == pytest.approx(100 * 0.004 / (1 + 99 * 0.004), abs=1e-6)
    assert "Assume a leak" in check.message


def test_folds_without_known_outcomes_are_left_out_and_the_message_says_so():
    subject = audited(accounts(count=1200), score="usage")
    assert "known outcomes" not in run(subject).message
    frame = subject.panel.frame
    last = frame["as_of"] == frame["as_of"].max()
    partial = replace(
        subject, panel=replace(subject.panel, frame=frame.assign(label_complete=frame["label_complete"] & ~last))
    )
    assert f"(mean over {len(subject.folds) - 1} folds with known outcomes)" in run(partial).message


def test_a_good_ranking_of_rare_outcomes_passes():
    assert run(rare(separation=1.5)).status == "pass"


def test_a_nearly_perfect_roc_auc_is_a_warning_at_any_base_rate():
    frame = leads()
    score = frame["label"] + np.random.default_rng(0).random(600) / 2
    score[frame.index[frame["label"] == 0][:3]] = 2.0  # at the top of the list, which lowers average precision
    check = run(audited_by(frame, score))
    assert check.status == "warn"
    assert (check.value > 0.99, check.limit) == (True, 0.99)


@pytest.mark.parametrize(
    ("positives", "finding"),
    [(0, "0 positive test rows are"), (1, "1 positive test row is"), (2, "2 positive test rows are")],
)
def test_the_check_does_not_apply_to_few_positive_rows(positives, finding):
    frame = leads().assign(label=(np.arange(600) < positives).astype(np.int8))
    check = run(audited_by(frame, frame["label"]))
    assert (check.status, check.value) == ("pass", None)
    assert f"{finding} too few to judge the metrics by" in check.message


def test_the_check_does_not_apply_without_a_fold_of_both_classes():
    frame = leads().assign(label=np.int8(1))
    check = run(audited_by(frame, frame["label"]))
    assert (check.status, check.value) == ("pass", None)
    assert "no fold has test rows of both classes" in check.message
