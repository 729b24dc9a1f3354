"""Comparing runs in a tracker: a real MLflow on SQLite, and a stand-in that implements W&B's protocol."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mlsys.errors import ConfigError, RunError
from mlsys.evaluation.comparison import compare
from mlsys.evaluation.comparison.page import render_page
from mlsys.runs import Run
from mlsys.tracking import MlflowTracker
from mlsys.tracking.log_run import finish_run, start_run
from mlsys.tracking.mlflow_tracker import CLIENT_ENVIRONMENT
from mlsys.tracking.remote import RemoteRun, gather_remote
from mlsys.tracking.remote_mlflow import CLIENT_ENVIRONMENT as READ_ENVIRONMENT
from mlsys.tracking.remote_mlflow import MlflowRemote
from mlsys.tracking.remote_wandb import WandbRemote
from mlsys.tracking.run_data import labels, overall
from tests.evaluation.comparison.conftest import config, pair, predictions, write  # noqa: F401 - fixtures
from tests.pages import Page
from tests.tracking.conftest import LONG_TIMEOUTS
from tests.tracking.wandb_reading import KEY, StoredRun, serving


class InMemoryRemote:
    """A remote in memory, with the run directories that were uploaded."""

    address = "memory:here"

    def __init__(self, *runs: RemoteRun, folders: dict[str, Path] | None = None) -> None:
        self._runs, self._folders = runs, folders or {}
        self.downloads: list[str] = []

    def runs(self):
        return self._runs

    def download(self, run, folder):
        self.downloads.append(run.name)
        if run.name not in self._folders:
            return False
        shutil.copytree(self._folders[run.name], folder)
        return True


def remote_run(name, log_loss=0.5, status="complete", **changes):
    numbers = {"log_loss": log_loss, "log_loss/low": 0.1, "log_loss/high": 0.9, "seconds": 3.0, "seconds/fit": 2.0}
    numbers["predict_ms"] = 12.0
    return RemoteRun(f"id-{name}", f"outputs/{name}", status, config(**changes), numbers, "f" * 64)


def test_runs_with_numbers_only_are_shown_and_not_compared(tmp_path):
    gathered = gather_remote(InMemoryRemote(remote_run("a", 0.3), remote_run("b", 0.2)), [], cache=tmp_path)
    assert [candidate.name for candidate in gathered.candidates] == ["outputs/b", "outputs/a"]
    found = compare(gathered)
    assert found.runs[0].metrics["log_loss"] == {"value": 0.2, "low": 0.1, "high": 0.9}
    assert found.runs[1].comparability.level == "no"
    assert "no predictions" in found.runs[1].comparability.reasons[0]
    assert (found.runs[1].candidate.fit_seconds, found.runs[1].candidate.predict_ms) == (2.0, 12.0)
    page = Page(render_page(found))
    assert page.open == []
    assert page.all("img") == []


def test_uploaded_runs_are_compared_and_downloaded_once(pair, tmp_path):  # noqa: F811
    folders = {f"outputs/{name}": pair / "outputs" / name for name in ("good", "poor")}
    remote = InMemoryRemote(remote_run("good"), remote_run("poor"), folders=folders)
    for _ in range(2):
        found = compare(gather_remote(remote, ["poor", "id-good"], cache=tmp_path))
    assert [run.candidate.path for run in found.runs] == ["memory:here outputs/poor", "memory:here outputs/good"]
    assert found.runs[1].better("roc_auc") == "better"
    assert remote.downloads == ["outputs/poor", "outputs/good"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_changed_upload_is_not_used(pair, tmp_path, caplog):  # noqa: F811
    shutil.copytree(pair / "outputs" / "poor", tmp_path / "poor")
    (tmp_path / "poor" / "config.yaml").write_text("{}")
    folders = {"outputs/good": pair / "outputs" / "good", "outputs/poor": tmp_path / "poor"}
    remote = InMemoryRemote(remote_run("good"), remote_run("poor"), folders=folders)
    with caplog.at_level(logging.WARNING):
        gathered = gather_remote(remote, ["good", "poor"], cache=tmp_path / "cache")
    assert gathered.candidates[1].predictions is None
    assert "changed: config.yaml" in caplog.text


def test_the_best_finished_runs(tmp_path):
    runs = [remote_run(str(number), 0.1 * number) for number in range(1, 5)]
    remote = InMemoryRemote(
        *runs,
        remote_run("lost", 0.0, "failed"),
        remote_run("gone", 0.0, "pruned"),
        replace(remote_run("bare"), numbers={}),
    )
    gathered = gather_remote(remote, [], top=3, cache=tmp_path)
    assert [candidate.name for candidate in gathered.candidates] == ["outputs/1", "outputs/2", "outputs/3"]
    assert (gathered.sorted_by, gathered.selected_from) == ("log_loss", 5)
    assert {left.reason for left in gathered.left_out} == {"failed", "pruned"}


def test_unknown_names_and_too_few_or_too_many_runs(tmp_path):
    remote = InMemoryRemote(remote_run("a"))
    with pytest.raises(RunError, match=r"'outputs/ab' not found in memory:here \(closest: outputs/a\)\."):
        gather_remote(remote, ["outputs/ab"], cache=tmp_path)
    with pytest.raises(RunError, match="Fewer than two runs"):
        gather_remote(remote, [], cache=tmp_path)
    many = InMemoryRemote(*(remote_run(str(number)) for number in range(21)))
    with pytest.raises(ConfigError, match="21 runs"):
        gather_remote(many, [run.id for run in many.runs()], cache=tmp_path)


@pytest.fixture(scope="module")
def trials(tmp_path_factory, write):  # noqa: F811
    """Two trials, which are sent without figures: good and poor; read-only."""
    root = tmp_path_factory.mktemp("trials")
    for name, skill in (("good", 2.5), ("poor", 0.2)):
        write(root / "sweep" / name, predictions(skill), status="trial", **{"search": {"trial": 0}})
    (root / "sweep" / "multirun.yaml").touch()
    return root / "sweep"


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory, trials):
    """A database with both trials, sent by our tracker, and a run of somebody else."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    tracker = MlflowTracker(uri=f"sqlite:///{folder / 'mlflow.db'}", **LONG_TIMEOUTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for variable, value in (CLIENT_ENVIRONMENT | READ_ENVIRONMENT).items():
            patch.setenv(variable, value)
        for name in ("good", "poor"):
            assert finish_run(start_run(tracker, trials / name), trials / name).state == "online"
        client = mlflow.MlflowClient(tracker.uri)
        client.set_terminated(client.create_run("0", run_name="somebody else's").info.run_id)
    return tracker.uri


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow 3.17 uses it with SQLAlchemy 2.1
def test_runs_from_mlflow(mlflow_uri, trials, tmp_path):
    remote = MlflowRemote(mlflow_uri)
    runs = {run.name: run for run in remote.runs()}
    assert set(runs) == {"sweep/good", "sweep/poor"}
    good, original = runs["sweep/good"], Run.open(trials / "good")
    assert (good.status, good.config, good.fingerprint) == ("trial", original.config, "f" * 64)
    recorded = {name: entry["value"] for name, entry in original.metrics["overall"].items()}
    assert {name: entry["value"] for name, entry in good.metrics()["overall"].items()} == pytest.approx(
        {name: value for name, value in recorded.items() if value is not None}
    )
    assert (good.numbers["seconds/fit"], good.numbers["predict_ms"]) == (2.0, 10.0)
    found = compare(gather_remote(remote, ["good", "poor"], cache=tmp_path))
    assert [run.comparability.level for run in found.runs] == ["reference", "fully"]
    assert found.runs[1].better("roc_auc") == "worse"


def test_a_missing_database_is_not_created(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(RunError, match="database not found"):
        MlflowRemote(f"sqlite:///{tmp_path / 'typo.db'}").runs()
    assert list(tmp_path.iterdir()) == []


def test_the_password_of_a_server_is_not_shown():
    assert MlflowRemote("https://ann:secret@host/mlflow").address == "https://ann:***@host/mlflow"


@pytest.fixture
def wandb_server(monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb")
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        wandb.teardown()  # it caches the settings of earlier tests
        yield server
        wandb.teardown()


@pytest.mark.slow
def test_runs_from_wandb(wandb_server, pair, tmp_path):  # noqa: F811
    for name in ("good", "poor"):
        run = Run.open(pair / "outputs" / name)
        summary = {**labels(run), **overall(run)}  # as our tracker writes it
        files = {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
        wandb_server.stored.append(
            StoredRun(name, f"outputs/{name}", {**run.config, "run": {"path": "x"}}, summary, files=files)
        )
    wandb_server.stored.append(StoredRun("x", "outputs/crashed", {}, {"log_loss": 0.1}, state="crashed"))
    wandb_server.stored.append(replace(wandb_server.stored[0], id="bare", name="outputs/bare", files={}))
    found = compare(gather_remote(WandbRemote("ann/leads"), ["good", "poor", "bare"], cache=tmp_path / "cache"))
    assert [run.comparability.level for run in found.runs] == ["reference", "fully", "no"]
    assert found.runs[1].better("roc_auc") == "worse"
    assert found.runs[2].metrics["roc_auc"] == found.runs[0].metrics["roc_auc"]
    gathered = gather_remote(WandbRemote("ann/leads"), [], cache=tmp_path / "cache")
    assert [(left.path, left.reason) for left in gathered.left_out] == [("wandb:ann/leads outputs/crashed", "killed")]
    with pytest.raises(RunError, match="ann/nothing cannot be read"):
        WandbRemote("ann/nothing").runs()


def test_a_project_needs_its_entity():
    with pytest.raises(ConfigError, match="ENTITY/PROJECT"):
        WandbRemote("leads")
