"""Comparing runs that a tracker knows: a real MLflow on SQLite, and a stand-in that speaks W&B's protocol."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mlsys.errors import ConfigError, RunError
from mlsys.evaluation.comparison import compare
from mlsys.evaluation.comparison.page import render_page
from mlsys.runs import Run
from mlsys.runs.settings import flat
from mlsys.tracking.remote import RemoteRun, gather_remote
from mlsys.tracking.remote_mlflow import MlflowRemote
from mlsys.tracking.remote_wandb import WandbRemote
from tests.evaluation.comparison.conftest import config, pair, write  # noqa: F401 - fixtures
from tests.evaluation.test_report import Page
from tests.tracking.wandb_reading import KEY, Known, serving


class Shelf:
    """A remote in memory: runs by name, and folders of those that were uploaded."""

    address = "shelf:here"

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


def one(name, log_loss=0.5, status="complete", **changes):
    numbers = {"log_loss": log_loss, "log_loss/low": 0.1, "log_loss/high": 0.9, "seconds": 3.0, "seconds/fit": 2.0}
    return RemoteRun(f"id-{name}", f"outputs/{name}", status, config(**changes), numbers, "f" * 64)


def test_numbers_alone_are_shown_and_not_compared(tmp_path):
    gathered = gather_remote(Shelf(one("a", 0.3), one("b", 0.2)), [], cache=tmp_path)
    assert [candidate.name for candidate in gathered.candidates] == ["outputs/b", "outputs/a"]
    found = compare(gathered)
    assert found.runs[0].metrics["log_loss"] == {"value": 0.2, "low": 0.1, "high": 0.9}
    assert found.runs[1].verdict.level == "no"
    assert "not its predictions" in found.runs[1].verdict.reasons[0]
    assert found.runs[1].candidate.fit_seconds == 2.0
    page = Page(render_page(found))
    assert page.open == []
    assert page.all("img") == []


def test_whole_runs_are_compared_and_fetched_once(pair, tmp_path):  # noqa: F811
    folders = {f"outputs/{name}": pair / "outputs" / name for name in ("good", "poor")}
    shelf = Shelf(one("good"), one("poor"), folders=folders)
    for _ in range(2):
        found = compare(gather_remote(shelf, ["poor", "id-good"], cache=tmp_path))
    assert [run.candidate.path for run in found.runs] == ["shelf:here outputs/poor", "shelf:here outputs/good"]
    assert found.runs[1].better("roc_auc") == "better"
    assert shelf.downloads == ["outputs/poor", "outputs/good"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_upload_that_was_tampered_with_leaves_the_numbers(pair, tmp_path, caplog):  # noqa: F811
    shutil.copytree(pair / "outputs" / "poor", tmp_path / "poor")
    (tmp_path / "poor" / "config.yaml").write_text("{}")
    folders = {"outputs/good": pair / "outputs" / "good", "outputs/poor": tmp_path / "poor"}
    shelf = Shelf(one("good"), one("poor"), folders=folders)
    with caplog.at_level(logging.WARNING):
        gathered = gather_remote(shelf, ["good", "poor"], cache=tmp_path / "cache")
    assert gathered.candidates[1].predictions is None
    assert "changed: config.yaml" in caplog.text


def test_the_best_of_those_that_ended(tmp_path):
    runs = [one(str(number), 0.1 * number) for number in range(1, 5)]
    shelf = Shelf(*runs, one("lost", 0.0, "failed"), one("gone", 0.0, "pruned"), replace(one("bare"), numbers={}))
    gathered = gather_remote(shelf, [], top=3, cache=tmp_path)
    assert [candidate.name for candidate in gathered.candidates] == ["outputs/1", "outputs/2", "outputs/3"]
    assert (gathered.sorted_by, gathered.tried) == ("log_loss", 5)
    assert {left.reason for left in gathered.left_out} == {"failed", "pruned"}


def test_unknown_names_and_too_few(tmp_path):
    shelf = Shelf(one("a"))
    with pytest.raises(RunError, match=r"The nearest is outputs/a\."):
        gather_remote(shelf, ["outputs/ab"], cache=tmp_path)
    with pytest.raises(RunError, match="Fewer than two runs"):
        gather_remote(shelf, [], cache=tmp_path)
    many = Shelf(*(one(str(number)) for number in range(21)))
    with pytest.raises(ConfigError, match="21 runs"):
        gather_remote(many, [run.id for run in many.runs()], cache=tmp_path)


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory, pair):  # noqa: F811
    """A database with the two runs as `mlsys.tracking.MlflowTracker` sends them, one with its files, and a sweep."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        client = mlflow.MlflowClient(uri)
        experiment = client.create_experiment("mlsys", artifact_location=(folder / "files").as_uri())
        for name in ("good", "poor"):
            run = Run.open(pair / "outputs" / name)
            tags = {"mlsys.id": name, "mlsys.status": "complete", "mlsys.data_fingerprint": "f" * 64}
            sent = client.create_run(experiment, tags=tags, run_name=f"outputs/{name}").info.run_id
            for key, value in flat(run.config).items():
                client.log_param(sent, key, str(value))
            for metric, entry in run.metrics["overall"].items():
                for part, value in ({"": entry["value"], "/low": entry["low"], "/high": entry["high"]}).items():
                    client.log_metric(sent, metric.replace("@", "_at_") + part, value)
            client.log_artifacts(sent, str(run.path), "run")
            client.set_terminated(sent, "FINISHED")
        tags = {"mlsys.id": "sweep", "mlsys.job_type": "sweep"}
        client.set_terminated(client.create_run(experiment, tags=tags, run_name="sweep").info.run_id)
        client.set_terminated(client.create_run(experiment, run_name="somebody else's").info.run_id)
    return uri


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow 3.17 uses it with SQLAlchemy 2.1
def test_runs_from_mlflow(mlflow_uri, pair, tmp_path):  # noqa: F811
    remote = MlflowRemote(mlflow_uri)
    runs = {run.name: run for run in remote.runs()}
    assert set(runs) == {"outputs/good", "outputs/poor"}
    good, original = runs["outputs/good"], Run.open(pair / "outputs" / "good")
    assert good.config == original.config
    assert good.metrics()["overall"]["precision@5"] == pytest.approx(original.metrics["overall"]["precision@5"])
    found = compare(gather_remote(remote, ["good", "poor"], cache=tmp_path))
    assert [run.verdict.level for run in found.runs] == ["reference", "fully"]
    assert found.runs[1].better("roc_auc") == "worse"


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(RunError, match="there is no database"):
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
        wandb.teardown()  # it keeps the settings that an earlier test had
        yield server
        wandb.teardown()


@pytest.mark.slow
def test_runs_from_wandb(wandb_server, pair, tmp_path):  # noqa: F811
    for name in ("good", "poor"):
        run = Run.open(pair / "outputs" / name)
        summary = {"status": "complete", "data_fingerprint": "f" * 64, "seconds": 3.0}
        for metric, entry in run.metrics["overall"].items():
            summary |= {metric: entry["value"], f"{metric}/low": entry["low"], f"{metric}/high": entry["high"]}
        files = {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
        wandb_server.known.append(Known(name, f"outputs/{name}", dict(run.config), summary, files=files))
    wandb_server.known.append(Known("x", "outputs/crashed", {}, {"log_loss": 0.1}, state="crashed"))
    wandb_server.known.append(replace(wandb_server.known[0], id="bare", name="outputs/bare", files={}))
    found = compare(gather_remote(WandbRemote("ann/leads"), ["good", "poor", "bare"], cache=tmp_path / "cache"))
    assert [run.verdict.level for run in found.runs] == ["reference", "fully", "no"]
    assert found.runs[1].better("roc_auc") == "worse"
    assert found.runs[2].metrics["roc_auc"] == found.runs[0].metrics["roc_auc"]
    gathered = gather_remote(WandbRemote("ann/leads"), [], cache=tmp_path / "cache")
    assert [(left.path, left.reason) for left in gathered.left_out] == [("wandb:ann/leads outputs/crashed", "killed")]
    with pytest.raises(RunError, match="ann/nothing cannot be read"):
        WandbRemote("ann/nothing").runs()


def test_a_project_needs_its_entity():
    with pytest.raises(ConfigError, match="ENTITY/PROJECT"):
        WandbRemote("leads")
