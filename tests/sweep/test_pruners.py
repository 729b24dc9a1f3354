"""The default pruner."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.sweep.pruners import PairedPruner

HARD_LAST = [1.0, 1.4, 0.7, 0.8, 1.2, 2.1]


def pruned_after(values, best=HARD_LAST, direction="minimize", **settings):
    """Return after how many folds a trial is pruned, given a complete one; None if it is not pruned."""
    study = optuna.create_study(direction=direction, pruner=PairedPruner(**settings))
    complete, trial = study.ask(), study.ask()
    for step, value in enumerate(best):
        complete.report(value, step)
    study.tell(complete, sum(best) / len(best))
    for step, value in enumerate(values):
        trial.report(value, step)
        if trial.should_prune():
            return step + 1
    return None


def worse(by=0.1):
    return [value + by for value in HARD_LAST]


def test_a_worse_trial_is_pruned_before_the_hard_folds():
    assert pruned_after(worse()) == 2
    study = optuna.create_study(pruner=PairedPruner())
    assert not study.ask().should_prune(), "no trial is complete"


def test_a_better_or_equal_trial_is_never_pruned():
    assert pruned_after(worse(-0.1)) is None
    assert pruned_after(HARD_LAST) is None


def test_a_trial_with_worse_ranks_and_a_better_mean_is_kept():
    assert pruned_after([1.1, 1.5, 0.8, 0.9, 1.3, 0.1]) == 2
    assert pruned_after([0.1, 1.5, 0.8, 0.9, 1.3, 2.2]) is None


def test_a_maximised_objective():
    assert pruned_after(worse(-0.1), direction="maximize") == 2
    assert pruned_after(worse(), direction="maximize") is None


def test_settings_decide_when_a_trial_is_pruned():
    assert pruned_after(worse(), n_startup_steps=5) == 5
    assert pruned_after(worse(), p_threshold=0.1) == 4
    assert pruned_after(worse(), p_threshold=0.0) is None


@pytest.mark.parametrize("settings", [{"p_threshold": 7}, {"p_threshold": -1}, {"n_startup_steps": 1}])
def test_invalid_settings_are_rejected(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        PairedPruner(**settings)


EXACT = st.integers(-1024, 1024).map(lambda number: number / 1024)  # sums of these are not rounded


@given(st.lists(EXACT, min_size=6, max_size=6), EXACT)
def test_the_difficulty_of_folds_does_not_matter(offsets, shift):
    easy = [0.5 + offset for offset in offsets]
    hard = [value + 16 * step for step, value in enumerate(easy)]
    moved = [value + shift for value in easy]
    there = [value + 16 * step for step, value in enumerate(moved)]
    assert (pruned_after(moved, easy) is None) == (pruned_after(there, hard) is None)
