"""`mlsys track`: what it sends and prints, and its exit code."""

import json
from functools import partial

import pytest

from tests.tracking.wandb_stand_in import KEY


@pytest.fixture
def track(mlsys):
    """Run the command in this process and return its exit code, standard output and standard error."""
    return partial(mlsys, "track")


@pytest.fixture
def key(monkeypatch, server):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    return server


def test_a_sweep_and_a_run_are_sent(track, key, make_run):
    for path, status in {"multirun/s/0": "trial", "multirun/s/1": "pruned", "outputs/a": "complete"}.items():
        make_run(path, status)
    (make_run("multirun/s/2").path / "manifest.json").unlink()  # still running, or killed
    code, out, err = track("multirun/s", "a", "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["run"], row["to"], row["state"]) for row in rows] == [
        ("s/0", "wandb", "online"), ("s/1", "wandb", "online"), ("outputs/a", "wandb", "online"),
    ]  # fmt: skip
    assert len(key.runs) == 3
    assert track("multirun/s", "a")[0] == 0
    assert len(key.runs) == 3


def test_a_run_that_cannot_be_sent_is_exit_code_1(track, make_run):
    code, out, _ = track(make_run().path)
    assert code == 1
    assert "no API key" in out


def test_a_run_that_was_changed_is_not_sent(track, key, make_run):
    run = make_run("outputs/a")
    make_run("outputs/b")
    (run.path / "metrics.json").write_text("{}")
    code, out, _ = track("outputs", "--json")
    assert code == 1
    assert {row["run"]: row["state"] for row in json.loads(out)} == {"outputs/a": "failed", "outputs/b": "online"}
    assert "metrics.json" in out
    assert len(key.runs) == 1


def test_offline_on_request(track, make_run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    code, out, _ = track(make_run().path, "--json")
    assert (code, json.loads(out)[0]["state"]) == (0, "offline")


def test_the_settings_of_the_run_are_used(track, key, make_run, tmp_path):
    run = make_run(search="null\ntracking: {_target_: mlsys.tracking.WandbTracker, project: leads}")
    assert track(run.path)[0] == 0
    assert next(iter(key.runs.values())).fields["project"] == "leads"


def test_a_run_directory_cannot_choose_which_code_runs(track, key, make_run, tmp_path):
    run = make_run(search=f"null\ntracking: {{_target_: logging.FileHandler, filename: {tmp_path / 'x'}}}")
    assert track(run.path)[0] == 0
    assert not (tmp_path / "x").exists()
    assert next(iter(key.runs.values())).fields["project"] == "mlsys"


def test_an_unknown_tracker_is_exit_code_2(track, make_run):
    code, _, err = track(make_run().path, "--to", "wandbb")
    assert code == 2
    assert "closest: wandb" in err


def test_a_folder_without_runs(track, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = track("empty")
    assert code == 1
    assert "No finished runs in" in err
