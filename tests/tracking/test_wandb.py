"""W&B: offline runs read with its own tools, and a stand-in server that can fail in various ways."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from mlsys.runs import Run
from mlsys.tracking import WandbTracker, wandb_server
from mlsys.tracking.client import TrackingClient
from mlsys.tracking.receipts import run_id
from mlsys.tracking.wandb_server import offline_reason
from tests.tracking.conftest import LONG_TIMEOUTS, isolated_environment, send, write_run
from tests.tracking.wandb_stand_in import KEY
from tests.waiting import HANG

WANDB = [sys.executable, "-m", "wandb"]


def records(where):
    """Return the records of an offline run by type, read with W&B's own reader."""
    command = [*WANDB, "leet", "inspect", "--json", str(where)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {}
    for line in map(json.loads, lines):
        found.setdefault(line["type"], []).append(line.get(line["type"], {}))
    return found


def merged(parts):
    """Merge all updates of a config or summary."""
    merged = {}
    for part in parts:
        merged |= part.get("update", {})
    return merged


@pytest.fixture
def key(monkeypatch, server):
    """Configure a key and a server that accepts it."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    return server


@pytest.fixture(scope="module")
def offline(trained, tmp_path_factory):
    """Runs of every status, written offline by one process; returns the folder and the receipts by status."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "multirun/sweep").mkdir(parents=True)
    (folder / "multirun/sweep/multirun.yaml").write_text("")
    paths = {"complete": trained.path}
    for number, status in enumerate(["trial", "pruned", "failed", "killed"]):
        kept = "failed" if status == "killed" else status
        paths[status] = write_run(folder / f"multirun/sweep/{number}", kept, f"{{trial: {number}}}").path
    (paths["killed"] / "manifest.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in isolated_environment(folder).items():
            patch.setenv(name, value)
        patch.delenv("WANDB_API_KEY", raising=False)
        patch.chdir(folder)
        tracking_client = TrackingClient(WandbTracker(project="leads", **LONG_TIMEOUTS))
        receipts = {}
        for status, path in paths.items():
            tracking_client.start(path)
            tracking_client.finish(path)
            receipts[status] = tracking_client.flush()[1]
        tracking_client.close()
    return folder, receipts


def test_without_a_key_a_run_is_written_offline(offline, trained):
    folder, receipts = offline
    receipt = receipts["complete"]
    assert (receipt.state, receipt.reason) == ("offline", "no API key")
    assert receipt.where.startswith("wandb/offline-run-")
    assert receipt.advice == f"wandb login && wandb sync {receipt.where}"
    found = records(folder / receipt.where)
    run, config, summary = found["run"][0], merged(found["config"]), merged(found["summary"])
    assert (run["run_id"], run["project"], run["job_type"]) == (run_id(trained.path), "leads", "train")
    assert (run["tags"], run["display_name"]) == (["baseline"], "day/run")
    assert config["model"]["n_estimators"] == 10
    assert config["run"]["path"] == str(trained.path)
    assert config["run"].get("git_commit") == trained.manifest.git.commit
    roc_auc = trained.metrics["overall"]["roc_auc"]
    assert (summary["roc_auc"], summary["roc_auc/low"]) == (roc_auc["value"], roc_auc["low"])
    assert summary["objective"] == trained.metrics["overall"]["log_loss"]["value"]
    assert (summary["status"], summary["audit"]) == ("complete", trained.audit["status"])
    assert found["exit"][0].get("exit_code", 0) == 0


def test_folds_figures_tables_and_files(offline, trained):
    folder, receipts = offline
    found = records(folder / receipts["complete"].where)
    rows = [record["item"] for record in found["history"]]
    folds = [row for row in rows if "folds/roc_auc" in row]
    assert [(row["fold"], row["as_of"], row["folds/roc_auc"]) for row in folds] == [
        (number, fold["as_of"], fold["roc_auc"]) for number, fold in enumerate(trained.metrics["folds"])
    ]
    assert {"glob_name": "folds/*", "step_metric": "fold"}.items() <= found["metric"][1].items()
    logged = {name.rpartition(".")[0] for row in rows for name in row if name.endswith("._type")}
    plots = {f"plots/{path.stem}" for path in (trained.path / "plots").glob("*.png")}
    assert len(plots) == 7
    assert logged == {
        *plots, "tables/importances", "tables/top_leads",
        *(f"curves/{name}_table" for name in ("pr", "roc", "gain", "calibration")),
    }  # fmt: skip
    artifact = next(record for record in found["artifact"] if record["type"] == "run")
    names = {entry["path"] for entry in artifact["manifest"]["contents"]}
    assert names == {*trained.manifest.files, "manifest.json"}


@pytest.mark.parametrize(("status", "code"), [("trial", 0), ("pruned", 0), ("failed", 1), ("killed", 255)])
def test_the_status_of_a_trial(offline, status, code):
    folder, receipts = offline
    found = records(folder / receipts[status].where)
    assert (found["run"][0]["run_group"], found["run"][0]["job_type"]) == ("sweep", "trial")
    assert merged(found["config"])["run"]["trial"] == ["trial", "pruned", "failed", "killed"].index(status)
    summary = merged(found["summary"])
    assert summary["status"] == status
    assert found["run"][-1]["tags"] == (["baseline"] if status == "trial" else ["baseline", status])
    assert found["exit"][0].get("exit_code", 0) == code
    assert ("objective" in summary) == (status == "trial")


def test_wandb_dir_and_log_artifacts(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    where = send(WandbTracker(log_artifacts=False, **LONG_TIMEOUTS), trained.path).where
    assert where.startswith("elsewhere/wandb/offline-run-")
    assert [record for record in records(tmp_path / where)["artifact"] if record["type"] == "run"] == []


def test_online_if_a_server_answers(key, trained):
    receipt = send(WandbTracker(**LONG_TIMEOUTS), trained.path)
    identity = run_id(trained.path)
    assert receipt.state == "online", (receipt.reason, key.errors)
    assert receipt.where == f"{key.url}/ann/mlsys/runs/{identity}"
    bucket = key.runs[identity]
    assert bucket.exit_code == 0
    assert bucket.summary["objective"] == trained.metrics["overall"]["log_loss"]["value"]
    assert [row["as_of"] for row in bucket.history.values() if "folds/roc_auc" in row] == [
        fold["as_of"] for fold in trained.metrics["folds"]
    ]
    assert f"run-{identity}" in key.artifacts
    rows, digest = len(bucket.history), key.artifacts[f"run-{identity}"]
    assert send(WandbTracker(**LONG_TIMEOUTS), trained.path).state == "online"  # again: replaces all rows
    assert (list(key.runs), len(bucket.history)) == ([identity], rows)
    assert (bucket.times_begun, bucket.first_offsets) == (2, [0, 0])
    assert key.artifacts[f"run-{identity}"] == digest
    assert key.errors == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("refuses", "Connection refused"),
        ("stalls", "did not answer in 0.3 s"),
        ("500", "answered 500"),
        ("key", "refused the API key"),
        ("black hole", "did not answer in 0.3 s"),
    ],
)
def test_an_unusable_server_is_detected_quickly(key, monkeypatch, black_hole, fault, reason):
    url = {"refuses": "http://127.0.0.1:1", "black hole": black_hole}.get(fault, key.url)
    key.die_at = "Viewer" if fault == "stalls" else ""
    key.valid_key = "" if fault == "key" else KEY
    key.status = 500 if fault == "500" else 200
    monkeypatch.setattr(wandb_server, "PROBE_SECONDS", 0.3 if "0.3 s" in reason else HANG)
    assert reason in offline_reason(SimpleNamespace(base_url=url, api_key=KEY, identity_token_file=None))


def test_a_server_that_refuses_means_offline_unless_mode_is_online(make_run, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    receipt = send(WandbTracker(**LONG_TIMEOUTS), make_run().path)
    assert (receipt.state, receipt.reason) == ("offline", "127.0.0.1:9: Connection refused")
    assert receipt.advice == f"wandb sync {receipt.where}"
    forced = send(WandbTracker(mode="online", **LONG_TIMEOUTS), make_run("outputs/b").path)
    assert (forced.state, forced.reason) == ("failed", "W&B: 127.0.0.1:9: Connection refused")


def test_a_run_that_cannot_be_started_is_written_offline(key, trained):
    key.refuses = "UpsertBucket"
    receipt = send(WandbTracker(**LONG_TIMEOUTS), trained.path)
    assert (receipt.state, receipt.reason.partition(":")[0]) == ("offline", "the run could not be started")


@pytest.mark.parametrize("moment", ["file_stream", "CreateRunFiles"])
def test_a_server_that_dies_costs_the_timeout(key, trained, moment):
    key.die_at = moment
    receipt = send(WandbTracker(start_timeout=HANG, finish_timeout=3), trained.path)  # the server is silent longer
    assert receipt.state == "failed"
    assert "in time" in receipt.reason or receipt.reason == "no answer within 3 s"
    key.revive()
    assert send(WandbTracker(**LONG_TIMEOUTS), trained.path).state == "online"
    assert key.runs[run_id(trained.path)].exit_code == 0


def test_wandb_sync_uploads_an_offline_run(server, trained, tmp_path, monkeypatch):
    where = send(WandbTracker(**LONG_TIMEOUTS), trained.path).where
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    done = subprocess.run([*WANDB, "sync", where], capture_output=True, text=True, check=False, timeout=HANG)
    assert done.returncode == 0, done.stderr
    bucket = server.runs[run_id(trained.path)]
    assert bucket.exit_code == 0
    assert bucket.summary["objective"] == trained.metrics["overall"]["log_loss"]["value"]
    assert f"run-{run_id(trained.path)}" in server.artifacts
    assert send(WandbTracker(**LONG_TIMEOUTS), trained.path).state == "online"
    assert list(server.runs) == [run_id(trained.path)]  # no duplicates


@pytest.mark.slow
def test_a_search_is_one_group_with_objectives(key, crm, tmp_path):
    small = [
        "features=minimal",
        "hydra.sweeper.pruner=null",
        "metrics.bootstrap_resamples=10",
        "search.folds=2",
        "search.holdout_folds=2",
        *(f"tracking.{name}={seconds}" for name, seconds in LONG_TIMEOUTS.items()),
    ]
    sweep = ["hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    command = [sys.executable, "-m", "mlsys.train", "-m", "search=logistic", *crm.overrides, *small, *sweep]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("wandb")] == ["wandb: 4 runs online"]
    assert done.stdout.splitlines()[-1] == str(tmp_path / "sweep")
    buckets = list(key.runs.values())
    assert {bucket.fields["groupName"] for bucket in buckets} == {"sweep"}
    kinds = [bucket.fields["jobType"] for bucket in buckets]
    assert sorted(kinds) == ["refit", "trial", "trial", "trial"]
    trials = [bucket for bucket, kind in zip(buckets, kinds, strict=True) if kind == "trial"]
    study = yaml.safe_load((tmp_path / "sweep/optimization_results.yaml").read_text())
    best = min(trials, key=lambda bucket: bucket.summary["objective"])
    assert best.summary["objective"] == pytest.approx(study["best_value"])
    numbers = [json.loads(bucket.fields["config"])["run"]["value"]["trial"] for bucket in [best, *trials]]
    assert numbers[0] == study["best_trial"]
    assert sorted(numbers[1:]) == [0, 1, 2]


@pytest.mark.slow
def test_training_succeeds_if_the_server_dies(key, crm, tmp_path):
    key.die_at = "file_stream"
    small = [
        "threads=1",
        "metrics.bootstrap_resamples=10",
        "model=activity",
        "split.folds=2",
        "features=minimal",
        "seed=3",
    ]
    command = [
        sys.executable,
        "-m",
        "mlsys.train",
        *crm.overrides,
        *small,
        f"tracking.start_timeout={HANG}",
        "tracking.finish_timeout=3",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG, env=os.environ)
    assert done.returncode == 0, done.stderr
    run = Run.open(done.stdout.splitlines()[-1])
    assert run.manifest.status == "complete"
    lines = [line for line in done.stderr.splitlines() if line.startswith("wandb")]
    assert len(lines) == 1
    assert lines[0].endswith(f"mlsys track {run.path.relative_to(tmp_path)} --to wandb")
    key.revive()
    track = [sys.executable, "-m", "mlsys", "track", "latest", "--json", "--timeout", str(HANG)]
    sent = subprocess.run(track, capture_output=True, text=True, check=True, timeout=HANG)
    assert [row["state"] for row in json.loads(sent.stdout)] == ["online"]
    assert list(key.runs) == [run_id(run.path)]
    assert Path(sent.args[0]).exists()
