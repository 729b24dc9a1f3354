"""The race: who is tested on which folds, within the budget."""

import math

import numpy as np
import pytest

from mlsys.errors import FitError
from mlsys.selection.judge import Judge
from mlsys.selection.race import race

AUC = Judge("roc_auc")
FIELD = {"best": 3.0, "close": 2.9, "good": 2.8, "poor": 0.5, "worse": 0.3, "worst": 0.0}


def run(simulated, seconds=None, final_folds=0, judge=AUC):
    return race(simulated, simulated.names, simulated.folds, judge, simulated.budget(seconds, final_folds))


def folds_by_name(finish):
    return {entrant.name: len(entrant.tests) for entrant in finish.entrants}


def test_the_latest_fold_comes_first_and_clearly_worse_candidates_are_dropped(simulation):
    simulated = simulation(FIELD, rows=300)
    finish = run(simulated)
    assert [folds for _, folds in simulated.calls[:6]] == [[5]] * 6
    assert folds_by_name(finish) == {"best": 6, "close": 6, "good": 6, "poor": 1, "worse": 1, "worst": 1}
    assert {entrant.status for entrant in finish.entrants if "clearly worse than" in entrant.reason} == {"worse"}
    assert finish.unscreened == 0, "candidates that were clearly worse do not bias the choice"


def test_candidates_within_noise_stay_while_there_is_time(simulation, monkeypatch):
    monkeypatch.setattr("mlsys.selection.judge.RESAMPLES", 60)
    equal = dict.fromkeys("abcdef", 1.0)
    races = [run(simulation(equal, seed=seed)) for seed in range(6)]
    dropped = [entrant.status == "worse" for finish in races for entrant in finish.entrants]
    assert np.mean(dropped) < 0.1
    short = run(simulation(equal), seconds=16)
    assert sorted(folds_by_name(short).values()) == [2, 2, 2, 2, 4, 4]
    assert "no time" in {entrant.status for entrant in short.entrants if len(entrant.tests) == 2}


def test_the_choice_stops_in_time_for_the_final_fits(simulation):
    equal = dict.fromkeys("abcd", 1.0)
    for seconds in (8, 14, 20, 40):
        simulated = simulation(equal)
        run(simulated, seconds=seconds, final_folds=4)
        assert simulated.now + 4 <= max(seconds, 4 + 4), "each candidate has at least one fold"


def test_a_tiny_budget_tests_each_candidate_once_and_says_so(simulation):
    finish = run(simulation(FIELD), seconds=0.001)
    assert set(folds_by_name(finish).values()) == {1}
    assert len(finish.folds) == 1
    assert {entrant.reason for entrant in finish.finishers} == {"no time for 5 more of 6 folds"}


def test_a_slow_candidate_does_not_use_up_the_time_of_the_others(simulation):
    finish = run(simulation(FIELD, seconds={"close": 50.0}, rows=300), seconds=80)
    assert folds_by_name(finish)["close"] == 1
    assert folds_by_name(finish)["best"] == folds_by_name(finish)["good"] == 6


def test_a_candidate_that_turns_out_slower_than_estimated_ends_the_round(simulation):
    simulated = simulation(dict.fromkeys("abc", 1.0))
    times = iter([1, 1, 1, 30, *[1] * 20])
    simulated._seconds = type("Times", (), {"get": lambda self, name, default: next(times)})()
    finish = run(simulated, seconds=12)
    assert sorted(folds_by_name(finish).values()) == [1, 1, 2]
    assert finish.unscreened == 1
    assert [entrant.status for entrant in finish.entrants].count("no time") == 2


def test_a_candidate_that_fails_is_left_out_with_its_error(simulation):
    finish = run(simulation({"fine": 4.0, "early": 4.0, "late": 4.0}, failing={"early": 5, "late": 3}, rows=30))
    assert folds_by_name(finish) == {"fine": 6, "early": 0, "late": 2}
    assert [entrant.name for entrant in finish.finishers] == ["fine"]
    failed = {entrant.name: entrant.reason for entrant in finish.entrants if entrant.status == "failed"}
    assert failed == {"early": "fold 0: it broke.", "late": "fold 0: it broke."}


def test_if_those_that_stayed_fail_the_ones_dropped_before_take_their_place(simulation):
    finish = run(simulation({"fine": 0.5, "late": 5.0}, failing={"late": 4}))
    assert [entrant.name for entrant in finish.finishers] == ["fine"]
    assert finish.finishers[0].reason == "those tested on more than 1 fold failed"
    assert (len(finish.folds), finish.unscreened) == (1, 0)


def test_if_all_fail_one_error_names_each_reason(simulation):
    with pytest.raises(FitError, match=r"None of the.*\n  a: fold 0: it broke\.\n  b: fold 0: it broke\.\nFix"):
        run(simulation({"a": 1.0, "b": 1.0}, failing={"a": 5, "b": 5}))


def test_an_undefined_objective_is_an_error_instead_of_an_arbitrary_choice(simulation):
    simulated = simulation({"a": 1.0, "b": 1.0})
    made = simulated._tested
    simulated._tested = lambda name, fold: (made(name, fold), made(name, fold).predictions)[0]

    def without_positives(name, folds):
        results = simulated(name, folds)
        for result in results:
            result.predictions["label"] = 0
        return results

    with pytest.raises(FitError, match="cannot choose by roc_auc, which is undefined on the first 2 folds"):
        race(without_positives, simulated.names, simulated.folds, AUC, simulated.budget(None))


def test_without_a_limit_the_race_depends_on_the_seed_alone(simulation):
    first, second = (run(simulation(FIELD, seconds={"best": time})) for time in (1.0, 500.0))
    assert folds_by_name(first) == folds_by_name(second)
    assert [entrant.mean for entrant in first.entrants] == [entrant.mean for entrant in second.entrants]


@pytest.mark.parametrize("objective", ["log_loss", "precision@10"])
def test_the_direction_of_the_objective_is_known(simulation, objective):
    finish = run(simulation({"bad": 0.0, "good": 4.0}, rows=300), judge=Judge(objective))
    means = {entrant.name: entrant.mean for entrant in finish.entrants}
    assert finish.finishers[Judge(objective).best([each.mean for each in finish.finishers])].name == "good"
    assert not any(math.isnan(mean) for mean in means.values())
    assert np.sign(means["good"] - means["bad"]) == Judge(objective).sign
