"""The winner's run directory; that it is a complete run is tested in test_training.py."""

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
    """Two trials, and a refit that leaves a file."""
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
        (folder / "whole").touch()

    monkeypatch.setattr("mlsys.sweep.worker.run_hydra_job", run)
    monkeypatch.setattr(refit, "_is_complete", lambda folder: (folder / "whole").exists())
    return SweepResults(sweep, study.trials, study), done


def test_the_best_is_refitted_once_with_all_that_its_trial_had(results):
    found, done = results
    refit.refit_winner(found)
    refit.refit_winner(found)
    assert done == [
        (
            0,
            [r"url=db\://ann\:s3cret@host", f"x={found.trials[0].params['x']}", "++search.selected_from=2"],
            "refit/2/0",
        )
    ]
    assert found.best_link.resolve() == found.sweep.folder / "refit/2/0"
    assert not found.best_link.readlink().is_absolute(), "the sweep directory can be moved"


def test_a_refit_that_was_killed_is_done_again_elsewhere(results):
    found, done = results
    (found.sweep.folder / "refit/2/0").mkdir(parents=True)
    refit.refit_winner(found)
    assert done[0][2] == "refit/2-2/0"
    assert (found.sweep.folder / "best/whole").exists()


def test_a_refit_that_fails_leaves_the_earlier_link(results, monkeypatch):
    found, _ = results
    refit.refit_winner(found)
    found.study.add_trial(
        optuna.trial.create_trial(
            value=-1.0, params=found.trials[0].params, distributions=found.trials[0].distributions
        )
    )

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("mlsys.sweep.worker.run_hydra_job", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        refit.refit_winner(SweepResults(found.sweep, found.study.trials, found.study))
    assert found.best_link.resolve().name == "0"
