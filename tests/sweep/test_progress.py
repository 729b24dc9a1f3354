"""The progress of a sweep on the terminal."""

import io
import re
from types import SimpleNamespace

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from mlsys.sweep.progress import Progress
from mlsys.sweep.trials import best_trial, describe_failures
from mlsys.terminal import Terminal


def trial(value=None, state=TrialState.COMPLETE, **attributes):
    distributions = {"model.eta@xgboost": FloatDistribution(0, 1)}
    return create_trial(
        state=state, value=value, params={"model.eta@xgboost": 0.25}, distributions=distributions, user_attrs=attributes
    )


@pytest.fixture
def study():
    study = optuna.create_study()
    study.add_trials(
        [
            trial(2.0),
            trial(state=TrialState.FAIL),
            trial(state=TrialState.FAIL, error="ValueError: [no]"),
            trial(state=TrialState.PRUNED, value=5.0),
            trial(1.0, retry_of=[1]),
            trial(1.0),
        ]
    )
    return study


def progress_of(study, *, terminal):
    sweep = SimpleNamespace(config=OmegaConf.create({}), directions=["minimize"], settings=SimpleNamespace(n_trials=9))
    shared = SimpleNamespace(trials=lambda: study.get_trials(deepcopy=False))
    console = Terminal(file=io.StringIO(), force_terminal=terminal, width=100)
    return Progress(sweep, shared, console), console.file


def test_without_a_terminal_each_trial_is_printed_once_on_one_line(study):
    before = study.get_trials()
    empty = optuna.create_study()
    progress, output = progress_of(empty, terminal=False)
    with progress:
        empty.add_trials(before)
        progress.update()
        progress.update()
    lines = output.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("trial 0 complete")
    assert ": value 2 | eta=0.25 | best value 1 (trial 4)" in lines[0]
    assert "its worker died; retrying" in lines[1]
    assert "trial 2 failed" in lines[2]
    assert "ValueError: [no]" in lines[2]
    assert "pruned" in lines[3]
    assert "best" not in lines[4]


@pytest.mark.parametrize(("number", "text"), [(1, "1 trial, 1 worker."), (2, "2 trials, 2 workers.")])
def test_the_announcement_agrees_with_its_counts(study, number, text):
    progress, output = progress_of(study, terminal=False)
    progress._sweep.settings.n_trials = progress._sweep.workers = number
    progress.announce()
    assert output.getvalue().startswith(f"Searching for the lowest value: {text} Press Ctrl-C to stop")


def test_a_resumed_sweep_prints_only_new_trials(study):
    progress, output = progress_of(study, terminal=False)
    with progress:
        study.add_trial(trial(0.5))
        progress.update()
    assert [line.split()[1] for line in output.getvalue().splitlines()] == ["6"]


def test_a_terminal_shows_a_live_table(study):
    progress, output = progress_of(study, terminal=True)
    with progress:
        progress.update()
        assert "time left unknown" in output.getvalue()
        study.add_trial(trial(0.5))
        progress.update()
        progress.stopping = True
        progress.update()
    text = output.getvalue()
    assert "5 of 9, time left unknown" in text
    assert re.search(r"6 of 9, about \d+ s left", text)
    assert "6 of 9, stopping" in text
    assert "trial 2  failed: ValueError: [no]" in text
    assert "4 complete, 1 pruned, 1 failed" in text
    assert "value 0.5, trial 6: eta=0.25" in text


def test_the_best_trial_is_the_earliest_of_equal_ones(study):
    assert best_trial(study.trials, ["minimize"]).number == 4
    assert best_trial(study.trials, ["maximize"]).number == 0
    assert best_trial([], ["maximize"]) is None


def test_failures_are_grouped_by_reason():
    study = optuna.create_study()
    study.add_trials([trial(state=TrialState.FAIL, error="E: a") for _ in range(10)])
    study.add_trials([trial(state=TrialState.FAIL), trial(1.0, retry_of=[0])])
    assert describe_failures(study.trials) == {
        "E: a": "9 trials: 1, 2, 3, 4, 5, 6, 7, 8, …",
        "its worker died": "1 trial: 10",
    }
