"""Data that trackers log, read from a run directory."""

import json
from pathlib import Path

import pytest

from mlsys.runs import Run
from mlsys.runs.writer import RunWriter
from mlsys.tracking.receipts import TRACKING_FILE, new_id, run_id
from mlsys.tracking.run_data import config_of, folds, labels, overall, run_data, sweep_of
from mlsys.tracking.tables import tables


def test_a_single_run(make_run):
    run = make_run()
    data = run_data(run.path, run.config)
    assert (data.name, data.group, data.job_type, data.trial) == ("2026-11-20/10-00-00", None, "train", None)
    assert data.tags == ("baseline",)
    assert data.commit == run.manifest.git.commit


@pytest.mark.parametrize(
    ("path", "search", "name", "job_type"),
    [
        ("multirun/day/sweep/3", "{trial: 3}", "sweep/3", "trial"),
        ("multirun/day/sweep/refit/9/3", "{selected_from: 9}", "sweep/refit/9/3", "refit"),
        ("multirun/day/sweep/0", "null", "sweep/0", "train"),
    ],
)
def test_runs_of_a_sweep(make_run, tmp_path, path, search, name, job_type):
    (tmp_path / "multirun/day/sweep").mkdir(parents=True)
    (tmp_path / "multirun/day/sweep/multirun.yaml").write_text("")
    run = make_run(path, search=search)
    data = run_data(run.path, run.config)
    assert (data.name, data.group, data.job_type) == (name, "sweep", job_type)
    assert sweep_of(run.path) == tmp_path / "multirun/day/sweep"


def test_numbers_by_name(make_run):
    run = make_run()
    values = overall(run)
    assert values["objective"] == values["log_loss"] == 0.5
    assert (values["log_loss/low"], values["log_loss/high"]) == (0.4, 0.6)
    assert values["precision@10"] == 0.2
    assert "precision@10/low" not in values  # no interval
    assert values["baselines/chance/log_loss"] == 0.7
    assert values["calibration/after/ece"] == 0.2
    assert (values["seconds"], values["seconds/fit"]) == (2.0, 1.5)
    assert [fold["fold"] for fold in folds(run)] == [0, 1]
    assert folds(run)[1] == {"fold": 1, "as_of": "2020-03-23", "log_loss": 0.6}


def test_a_failed_run_has_a_status_and_no_metrics(make_run):
    run = make_run(status="failed")
    assert labels(run)["status"] == "failed"
    assert folds(run) == []
    assert set(overall(run)) == {"seconds", "seconds/fit"}


def test_what_a_run_chose_is_a_label_and_what_it_tried_a_table(tmp_path):
    writer = RunWriter(tmp_path / "run")
    writer.write_text("config.yaml", "choices: {model: auto}\nselection: {chosen: [xgboost, logistic]}\n")
    tried = {"name": "xgboost", "status": "finished", "folds": 6, "value": 0.3, "seconds": 1.5, "reason": ""}
    writer.write_json("selection.json", {"candidates": [tried | {"difference": None}]})
    writer.finish(seed=1, threads=1)
    run = Run.open(tmp_path / "run")
    assert labels(run)["chosen"] == "xgboost + logistic"
    assert tables(run)["selection"].to_dict("records") == [tried]


def test_the_id_of_a_run_does_not_change(make_run, tmp_path):
    run = make_run()
    first = run_id(run.path)
    assert run_id(run.path) == first  # derived from the manifest, without writing
    new = new_id(run.path)
    assert new not in (first, new_id(make_run("outputs/b").path))
    assert run_id(run.path) == new
    assert json.loads((run.path / TRACKING_FILE).read_text())["id"] == new
    type(run).open(run.path)  # the file is not part of the run


def test_the_id_of_a_sweep_does_not_change(tmp_path):
    assert run_id(tmp_path) == run_id(tmp_path)


def test_the_config_is_read_from_an_unfinished_run(make_run):
    run = make_run()
    Path(run.path, "manifest.json").unlink()
    assert config_of(run.path)["objective"] == "log_loss"
    assert run_data(run.path, config_of(run.path)).job_type == "train"
