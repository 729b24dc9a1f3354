"""Searches with mlsys.train: trials, the winner, and rejected commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml

from mlsys.runs import Run
from tests.sweep.conftest import states, trials_of
from tests.waiting import HANG

SMALL = ["threads=1", "metrics.bootstrap_resamples=20", "features=minimal", "search.folds=2", "search.holdout_folds=2"]
QUICK = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.refit=false", "hydra.sweeper.enqueue_config=false"]
FEW_ITERATIONS = "model.n_estimators=10"
# The keys that hydra-optuna-sweeper 1.4 writes for one objective and for several.
OFFICIAL, OFFICIAL_SEVERAL = {"name", "best_params", "best_value"}, {"name", "solutions"}


def median(startup):
    """Return overrides that replace the default pruner with the median pruner."""
    pruner = "hydra.sweeper.pruner"
    return [
        f"{pruner}._target_=optuna.pruners.MedianPruner", f"+{pruner}.n_startup_trials={startup}",
        f"~{pruner}.p_threshold", f"~{pruner}.n_startup_steps",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def train(crm, tmp_path_factory):
    """Return a function that runs mlsys.train in a folder; all runs share one panel cache."""
    cache = tmp_path_factory.mktemp("cache")

    def run(folder, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "mlsys.train", *crm.overrides, *arguments], cwd=folder,
            env=os.environ | {"XDG_CACHE_HOME": str(cache)}, capture_output=True, text=True, check=False, timeout=HANG,
        )  # fmt: skip

    return run


def trials(folder):
    return trials_of(f"sqlite:///{folder / 'study.db'}", folder.name)


def results_of(folder):
    return yaml.safe_load((folder / "optimization_results.yaml").read_text())


@pytest.fixture(scope="module")
def searched(train, tmp_path_factory):
    """A search over XGBoost by one worker, whose second trial is pruned, and its process."""
    folder = tmp_path_factory.mktemp("searched") / "sweep"
    arguments = ["-m", "search=xgboost", *SMALL, FEW_ITERATIONS, *median(1), "hydra.sweeper.n_trials=3"]
    sequential = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.enqueue_config=false"]
    done = train(folder.parent, *arguments, *sequential, f"hydra.sweep.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_trials_are_small_runs(searched):
    folder, _ = searched
    all_trials = trials(folder)
    assert [trial.state.name for trial in all_trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
    for trial in all_trials:
        run = folder / str(trial.number)
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["status"] == ("pruned" if trial.state.name == "PRUNED" else "trial")
        assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 100_000
        assert not (run / "model").exists()
        assert not (run / "report.html").exists()
        assert "MedianPruner" in (run / "card.md").read_text() or manifest["status"] == "trial"
    assert (folder / "0" / "predictions.parquet").exists()
    assert not (folder / "1" / "predictions.parquet").exists()


def test_the_objective_is_the_mean_over_the_search_folds(searched):
    folder, _ = searched
    for number in (0, 2):
        metrics = json.loads((folder / str(number) / "metrics.json").read_text())
        assert len(metrics["folds"]) == 2
        mean = sum(fold["log_loss"] for fold in metrics["folds"]) / 2
        assert trials(folder)[number].value == pytest.approx(mean)


def test_the_winner_is_a_complete_run_on_unseen_folds(searched):
    folder, done = searched
    best = Run.open(folder / "best")
    assert best.manifest.status == "complete"
    assert (folder / "best").resolve() == folder / "refit" / "3" / str(results_of(folder)["best_trial"])
    assert best.config["search"]["selected_from"] == 3
    assert best.config["search"]["trial"] is None
    card = (best.path / "card.md").read_text()
    assert "Selected from 3 configurations tried in a search, by log loss on 2 folds." in card
    assert "The metrics here are from 2 later folds that the search did not use." in card
    metrics = json.loads((folder / "0" / "metrics.json").read_text())
    seen = {fold["as_of"] for fold in metrics["folds"]}
    held_out = {fold["as_of"] for fold in best.metrics["folds"]}
    assert len(held_out) == 2
    assert max(seen) < min(held_out)
    assert {key: best.config["model"][key.partition(".")[2]] for key in results_of(folder)["best_params"]} == (
        results_of(folder)["best_params"]
    )
    assert done.stdout.splitlines()[-2:] == [f"best: {folder / 'best'}", str(folder)]


def test_replaying_the_winner_is_identical(searched):
    folder, _ = searched
    mlsys = [sys.executable, "-m", "mlsys", "replay", str(folder / "best")]
    done = subprocess.run(mlsys, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=HANG)
    assert (done.returncode, done.stdout.strip().splitlines()[-1]) == (0, "identical"), done.stderr


def test_results_are_a_superset_of_the_official_ones(searched):
    folder, _ = searched
    results, best = results_of(folder), trials(folder)
    assert set(results) >= OFFICIAL | {"best_trial", "best_overrides", "objectives", "directions", "trials"}
    assert results["best_value"] == min(trial.value for trial in best if trial.state.name == "COMPLETE")
    assert "search=xgboost" in results["best_overrides"]
    assert results["trials"] == {"complete": 2, "pruned": 1, "failed": 0}
    frame = pd.read_parquet(folder / "trials.parquet")
    assert list(frame["state"]) == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert frame["log_loss"].isna().tolist() == [False, False, False], "a pruned trial keeps its last mean"
    assert (frame["fit_seconds"] > 0).all()
    assert [Path(run).name for run in frame["run"]] == ["0", "1", "2"]


def test_a_worker_opens_the_data_once_for_all_trials(searched, tmp_path):
    folder, _ = searched
    seconds = [json.loads((folder / str(n) / "manifest.json").read_text())["timing"]["panel"] for n in range(3)]
    assert max(seconds[1:]) < seconds[0] / 2


def test_each_trial_has_only_the_parameters_of_its_model(train, tmp_path):
    folder = tmp_path / "sweep"
    arguments = ["model=choice(xgboost,lightgbm,logistic)", "sampler=none", "hydra.sweeper.n_trials=5"]
    done = train(tmp_path, "-m", "search=any_model", *SMALL, *QUICK, *arguments, f"hydra.sweep.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    all_trials = trials(folder)
    assert states(all_trials).count("FAIL") == 0
    assert len({trial.params["model"] for trial in all_trials}) >= 2
    for trial in all_trials:
        assert {name.partition("@")[2] for name in trial.params} == {"", trial.params["model"]}
        config = yaml.safe_load((folder / str(trial.number) / "config.yaml").read_text())
        assert config["choices"]["model"] == trial.params["model"]
    assert all("@" not in key for key in results_of(folder)["best_params"])


def test_several_objectives_give_a_pareto_front(train, tmp_path):
    folder = tmp_path / "sweep"
    arguments = ["objective=[average_precision,ece]", FEW_ITERATIONS, "hydra.sweeper.n_trials=4"]
    done = train(tmp_path, "-m", "search=xgboost", *SMALL, *QUICK, *arguments, f"hydra.sweep.dir={folder}")
    assert done.returncode == 0, done.stderr
    results, all_trials = results_of(folder), trials(folder)
    assert set(results) >= OFFICIAL_SEVERAL
    assert results["directions"] == ["maximize", "minimize"]
    assert states(all_trials) == ["COMPLETE"] * 4
    values = {trial.number: trial.values for trial in all_trials}
    front = {
        number
        for number, (precision, error) in values.items()
        if not any(p >= precision and e <= error and (p, e) != (precision, error) for p, e in values.values())
    }
    assert {solution["trial"] for solution in results["solutions"]} == front
    frame = pd.read_parquet(folder / "trials.parquet")
    assert frame["ece"].tolist() == [trial.values[1] for trial in all_trials]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "parameter"), [("xgboost", "n_estimators"), ("lightgbm", "n_estimators"), ("catboost", "iterations")]
)
def test_trials_may_report_each_iteration(train, tmp_path, model, parameter):
    folder = tmp_path / "sweep"
    arguments = [f"model.{parameter}=40", "search.report_per=iteration", *median(1), "hydra.sweeper.n_trials=4"]
    done = train(tmp_path, "-m", f"search={model}", *SMALL, *QUICK, *arguments, f"hydra.sweep.dir={folder}")
    assert done.returncode == 0, done.stderr
    all_trials = trials(folder)
    assert not {"FAIL", "RUNNING"} & set(states(all_trials))
    assert set(all_trials[0].intermediate_values) >= {0, 10, 20, 100_000}
    assert "PRUNED" in states(all_trials)
    for trial in all_trials:
        status = json.loads((folder / str(trial.number) / "manifest.json").read_text())["status"]
        assert status == ("pruned" if trial.state.name == "PRUNED" else "trial")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "search=xgboost", "objective=rocauc"], "closest: roc_auc"),
        (["-m", "search=xgboost", "hydra.sweeper.direction=maximize"], "hydra.sweeper.direction"),
        (["-m", "search=xgboost", "search.report_per=iteration", "objective=ece"], "search.report_per=iteration"),
        (["-m", "search=any_model", "model.CC=choice(1,2)"], "model.CC"),
        (["-m", "search=xgboost", "hydra.sweeper.n_trials=0"], "greater than"),
        (["search=xgboost"], "Add -m to search"),
    ],
)
def test_an_invalid_command_fails_before_the_first_trial(train, tmp_path, arguments, message):
    done = train(tmp_path, *arguments, *QUICK)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name in ("study.db", "manifest.json")]


def test_a_failed_trial_has_a_traceback_in_its_log(train, tmp_path):
    folder = tmp_path / "sweep"
    arguments = ["data.horizon_days=1", "data.spine.every_days=300", "hydra.sweeper.n_trials=2"]
    done = train(tmp_path, "-m", "search=xgboost", *SMALL, *QUICK, *arguments, f"hydra.sweep.dir={folder}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert states(trials(folder)) == ["FAIL", "FAIL"]
    for number in "01":
        log = (folder / number / "train.log").read_text()
        assert "Traceback (most recent call last)" in log
        assert log.count("the run failed") + log.count("the job failed") == 1
        assert trials(folder)[int(number)].user_attrs["error"].partition(": ")[2].split(".")[0] in log
        assert json.loads((folder / number / "manifest.json").read_text())["status"] == "failed"


def test_the_official_sweeper_still_works(train, tmp_path):
    folder = tmp_path / "sweep"
    arguments = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "split.folds=2"]
    space = [
        "model=logistic",
        "model.C=interval(0.1,1.0)",
        "threads=1",
        "metrics.bootstrap_resamples=0",
        "features=minimal",
    ]
    done = train(tmp_path, "-m", *arguments, *space, f"hydra.sweep.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert set(results_of(folder)) == OFFICIAL
    assert done.stdout.splitlines()[-1] == str(folder)
    assert [Run.open(folder / str(number)).manifest.status for number in (0, 1)] == ["complete"] * 2


def test_a_grid_ends_with_its_leaderboard(train, tmp_path):
    arguments = [
        "model=activity,dummy",
        "split.folds=2",
        "threads=1",
        "metrics.bootstrap_resamples=20",
        "features=minimal",
    ]
    done = train(tmp_path, "-m", *arguments, f"hydra.sweep.dir={tmp_path / 'grid'}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == str(tmp_path / "grid")
    board = lines[max(index for index, line in enumerate(lines) if line.strip() == "Leaderboard") :]
    losses = [Run.open(tmp_path / "grid" / number).metrics["overall"]["log_loss"]["value"] for number in "01"]
    ranked = [line.split()[0] for line in board[2:-1] if line.split()[0] in ("0", "1")]
    assert ranked == sorted("01", key=lambda number: losses[int(number)])
    assert "model=dummy" in "\n".join(board)
    assert not (tmp_path / "grid" / "study.db").exists()


def test_optuna_can_open_the_study(searched):
    folder, _ = searched
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    study = optuna.load_study(study_name=folder.name, storage=storage)
    assert study.best_trial.number == results_of(folder)["best_trial"]
    assert study.best_trial.user_attrs["job"]["run"] == str(folder / str(study.best_trial.number))
    storage.engine.dispose()
