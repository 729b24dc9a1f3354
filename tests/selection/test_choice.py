"""The choice: the best candidate or a blend, and how much choosing flatters it."""

import numpy as np
import pytest

from mlsys.selection.choice import MAX_MEMBERS, Mixtures, best_blend, choose
from mlsys.selection.judge import Judge
from mlsys.selection.race import race

AUC, REPLICATIONS = Judge("roc_auc"), 30


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("mlsys.selection.judge.RESAMPLES", 40)


def finished(simulated, seconds=None, judge=AUC):
    return race(simulated, simulated.names, simulated.folds, judge, simulated.budget(seconds))


def choice_of(simulated, seconds=None, judge=AUC, may_blend=lambda entrants: True):
    return choose(finished(simulated, seconds, judge), judge, may_blend)


@pytest.mark.parametrize("seconds", [None, 18], ids=["no limit", "some dropped for lack of time"])
def test_optimism_is_about_right_if_all_candidates_are_equal_noise(simulation, seconds):
    """The true ROC-AUC of each candidate, and so of whatever is chosen, is 0.5."""
    naive, found = [], []
    for seed in range(REPLICATIONS):
        finish = finished(simulation(dict.fromkeys("abcdef", 0.0), rows=45, folds=4, seed=seed), seconds)
        choice = choose(finish, AUC, lambda entrants: False)
        naive += [entrant.mean for entrant in finish.finishers if entrant.name == choice.best]
        found.append(choice.optimism)
    nested = [each.nested for each in found]
    assert np.mean(naive) > 0.5 + 3 * np.std(naive) / np.sqrt(REPLICATIONS)
    assert abs(np.mean(nested) - 0.5) < 3 * np.std(nested) / np.sqrt(REPLICATIONS)
    assert np.mean([each.value for each in found]) >= np.mean(nested)
    assert {each.folds for each in found} == {4} if seconds is None else {2}, (
        "where nobody was dropped for lack of time"
    )


def test_a_clear_winner_is_hardly_flattered(simulation):
    choice = choice_of(simulation({"good": 4.0, "bad": 0.0, "worse": -1.0}, rows=200))
    assert choice.members == {"good": 1.0}
    assert choice.optimism.value == choice.optimism.nested


def test_candidates_with_independent_errors_are_blended(simulation):
    choice = choice_of(simulation(dict.fromkeys("abcde", 1.5), rows=200), judge=Judge("log_loss"))
    assert 2 <= len(choice.members) <= MAX_MEMBERS
    assert sum(choice.members.values()) == pytest.approx(1, abs=1e-5)
    assert choice.blend.is_better
    assert choice.blend.difference["value"] < 0
    assert choice.optimism.nested > choice.optimism.value, "a lower log loss is better"


def test_a_blend_that_is_not_better_on_other_folds_is_left_out(simulation):
    choice = choice_of(simulation({"a": 1.5, "b": 0.6}, rows=24, seed=11))
    assert not choice.blend.is_better
    assert choice.blend.difference["low"] < 0 < choice.blend.difference["high"]
    assert choice.members == {"a": 1.0}


def test_only_what_may_be_blended_is(simulation):
    simulated = simulation(dict.fromkeys("abcde", 1.5), rows=200)

    def may_blend(entrants):
        return not {entrant.name for entrant in entrants} & {"a", "b"} and len(entrants) < 4

    choice = choice_of(simulated, judge=Judge("log_loss"), may_blend=may_blend)
    assert set(choice.blend.members) <= {"c", "d", "e"}
    nothing_in_time = choice_of(simulated, judge=Judge("log_loss"), may_blend=lambda entrants: len(entrants) < 2)
    assert len(nothing_in_time.members) == 1
    assert nothing_in_time.blend is None


def test_one_fold_is_too_few_for_a_blend_and_for_optimism(simulation):
    choice = choice_of(simulation(dict.fromkeys("abcde", 1.5), rows=200), seconds=0.001, judge=Judge("log_loss"))
    assert len(choice.members) == 1
    assert choice.blend is None
    assert choice.optimism is None


def test_the_greedy_blend_finds_weights_that_a_grid_finds(simulation):
    judge = Judge("log_loss")
    mixtures = Mixtures(finished(simulation({"a": 1.5, "b": 1.2}, rows=100, folds=3), judge=judge), judge)
    every = np.arange(3)
    grid = [(count, 10 - count) for count in range(11)]
    best = min(mixtures.mean(counts, every) for counts in grid)
    assert mixtures.mean(best_blend(mixtures, [0, 1], every), every) == pytest.approx(best, abs=1e-3)
