"""The refit of the best trial; test_training.py tests that it is a complete run."""

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from omegaconf import OmegaConf

from mlsys.sweep import refit
from mlsys.sweep.results import SweepResults
from mlsys.sweep.space import parse_space


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of two trials, and a refit that writes a file."""
    space = parse_space({"x": "interval(0.0, 1.0)"}, {}, ["url=db://ann:s3cret@host"], {})
    study = optuna.create_study()
    for number in range(2):
        trial = study.ask()
        space.overrides(trial)
        study.tell(trial, float(number))
    settings = SimpleNamespace(executor="local")
    sweep = SimpleNamespace(
        folder=tmp_path, space=space, config=OmegaConf.create({"search": {}}), workers=1, settings=settings,
        directions=["minimize"],
    )  # fmt: skip
    done = []

    def run(sweep, number, overrides, subdir):
        done.append((number, overrides, subdir))
        folder = Path(sweep.folder) / subdir
        folder.mkdir(parents=True)
        (folder / "complete").touch()

    monkeypatch.setattr("mlsys.sweep.worker.run_hydra_job", run)
    monkeypatch.setattr(refit, "_is_complete", lambda folder: (folder / "complete").exists())
    return SweepResults(sweep, study.trials, study), done


def test_the_best_trial_is_refitted_once_with_its_overrides(results):
    sweep_results, done = results
    refit.refit_best(sweep_results)
    refit.refit_best(sweep_results)
    assert done == [
        (
            0,
            [r"url=db\://ann\:s3cret@host", f"x={sweep_results.trials[0].params['x']}", "++search.selected_from=2"],
            "refit/2/0",
        )
    ]
    assert sweep_results.best_link.resolve() == sweep_results.sweep.folder / "refit/2/0"
    assert not sweep_results.best_link.readlink().is_absolute(), "the sweep directory must stay movable"


@pytest.mark.parametrize(
    ("folds", "note"),
    [
        (0, "Refitting trial 0, the best of 2 trials …"),
        (1, "Refitting trial 0, the best of 2 trials, and measuring it on the latest fold, which no trial saw …"),
        (2, "Refitting trial 0, the best of 2 trials, and measuring it on the 2 latest folds, which no trial saw …"),
    ],
)
def test_the_announcement_agrees_with_the_number_of_held_out_folds(results, capsys, folds, note):
    sweep_results, _ = results
    sweep_results.sweep.config.search = {"holdout_folds": folds}
    refit.refit_best(sweep_results)
    assert capsys.readouterr().err.splitlines() == [note]


def test_a_killed_refit_is_repeated_in_a_new_folder(results):
    sweep_results, done = results
    (sweep_results.sweep.folder / "refit/2/0").mkdir(parents=True)
    refit.refit_best(sweep_results)
    assert done[0][2] == "refit/2-2/0"
    assert (sweep_results.sweep.folder / "best/complete").exists()


def test_a_failed_refit_keeps_the_earlier_link(results, monkeypatch):
    sweep_results, _ = results
    refit.refit_best(sweep_results)
    sweep_results.study.add_trial(
        optuna.trial.create_trial(
            value=-1.0, params=sweep_results.trials[0].params, distributions=sweep_results.trials[0].distributions
        )
    )

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("mlsys.sweep.worker.run_hydra_job", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        refit.refit_best(SweepResults(sweep_results.sweep, sweep_results.study.trials, sweep_results.study))
    assert sweep_results.best_link.resolve().name == "0"
