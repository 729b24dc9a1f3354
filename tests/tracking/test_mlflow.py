"""MLflow on a database file and behind real servers, and the model that it serves."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy

from mlsys.config import build
from mlsys.errors import ConfigError
from mlsys.model_config import Component
from mlsys.runs import Run
from mlsys.runs.golden import golden_inputs
from mlsys.runs.writer import RunWriter
from mlsys.tracking import MlflowTracker
from mlsys.tracking.client import TrackingClient
from mlsys.tracking.receipts import TRACKING_FILE, new_id, run_id
from tests.tracking.conftest import CONFIG, LONG_TIMEOUTS, METRICS, send
from tests.waiting import HANG, wait_until

# SQLAlchemy warns about options that MLflow's own tables use.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MLFLOW = [sys.executable, "-m", "mlflow"]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow runs uvicorn from the PATH


@dataclass
class Sent:
    """Runs that were sent to a database: one complete run, and a sweep."""

    tracker: MlflowTracker
    complete: Run
    sweep: dict[str, Run]


@pytest.fixture(scope="module")
def sent(trained, tmp_path_factory):
    """A complete run and a sweep, sent to a new database by two processes at once, and then sent again."""
    folder = tmp_path_factory.mktemp("mlflow")
    tracker = MlflowTracker(uri=f"sqlite:///{folder}/mlflow.db", register_model="leads", **LONG_TIMEOUTS)
    (folder / "sweep").mkdir()
    (folder / "sweep" / "multirun.yaml").write_text("")
    states = ["trial", "pruned", "failed", "killed"]
    sweep = {status: trial_of(folder / "sweep" / str(n), n, status) for n, status in enumerate(states)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        clients = [TrackingClient(tracker), TrackingClient(tracker)]
        first = send_in_parallel(
            clients, [[trained, sweep["trial"]], [sweep["pruned"], sweep["failed"], sweep["killed"]]]
        )
        again = send_in_parallel(clients, [[trained], [sweep["trial"]]])
        for tracking_client in clients:
            tracking_client.close()
    assert {name: first[name] for name in again} == again
    return Sent(tracker, trained, sweep)


def send_in_parallel(clients, batches):
    """Send each client's batch of runs in parallel; return where each run is."""
    locations = {}
    for turn in itertools.zip_longest(*batches):
        pairs = [(tracking_client, run) for tracking_client, run in zip(clients, turn, strict=True) if run is not None]
        for tracking_client, run in pairs:
            tracking_client.start(run.path)
            tracking_client.finish(run.path)
        for tracking_client, run in pairs:
            _, receipt = tracking_client.flush()
            assert receipt.state == "online", receipt.reason
            locations[run.path] = receipt.where
    return locations


def trial_of(folder, number, status):
    writer = RunWriter(folder)
    writer.write_text("config.yaml", f"{CONFIG}search: {{trial: {number}}}\n")
    if status == "trial":
        writer.write_json("metrics.json", METRICS)
    writer.finish(seed=1, threads=1, status="failed" if status == "killed" else status)
    run = Run.open(folder)
    if status == "killed":
        new_id(folder)  # as when it started
        (folder / "manifest.json").unlink()
    return run


def client_of(uri):
    from mlflow import MlflowClient

    return MlflowClient(uri)


def find(client, run):
    found = client.search_runs(
        [client.get_experiment_by_name("mlsys").experiment_id], f"tags.`mlsys.id` = '{run_id(run.path)}'"
    )
    assert len(found) == 1  # however often it was sent
    return found[0]


def test_the_numbers_of_a_run(sent):
    client = client_of(sent.tracker.uri)
    found = find(client, sent.complete)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "day/run")
    assert found.data.params["model.n_estimators"] == "10"
    roc_auc = sent.complete.metrics["overall"]["roc_auc"]
    assert (found.data.metrics["roc_auc"], found.data.metrics["roc_auc/high"]) == (roc_auc["value"], roc_auc["high"])
    assert found.data.metrics["objective"] == sent.complete.metrics["overall"]["log_loss"]["value"]
    assert "precision_at_10" in found.data.metrics
    tags = found.data.tags
    assert (tags["mlsys.status"], tags["mlsys.job_type"], tags["mlsys.tags"]) == ("complete", "train", "baseline")
    assert tags.get("mlflow.source.git.commit") == sent.complete.manifest.git.commit
    history = client.get_metric_history(found.info.run_id, "folds/roc_auc")
    assert [(point.step, point.value) for point in history] == [
        (number, fold["roc_auc"]) for number, fold in enumerate(sent.complete.metrics["folds"])
    ]
    days = [time.strftime("%Y-%m-%d", time.gmtime(point.timestamp / 1000)) for point in history]
    assert days == [fold["as_of"] for fold in sent.complete.metrics["folds"]]
    assert len(client.get_metric_history(found.info.run_id, "roc_auc")) == 1


def test_files_and_tables(sent):
    client = client_of(sent.tracker.uri)
    identity = find(client, sent.complete).info.run_id
    files = {file.path for file in client.list_artifacts(identity, "run")}
    assert files >= {"run/manifest.json", "run/report.html", "run/plots", "run/model"}
    assert {file.path for file in client.list_artifacts(identity, "tables")} == {
        "tables/importances.json", "tables/top_leads.json",
    }  # fmt: skip


def test_trials_are_nested_in_their_sweep(sent):
    client = client_of(sent.tracker.uri)
    runs = {status: find(client, run) for status, run in sent.sweep.items()}
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs.values()}
    assert len(parents) == 1
    parent = client.get_run(parents.pop())
    assert (parent.info.run_name, parent.data.tags["mlsys.job_type"]) == ("sweep", "sweep")
    states = {status: (run.info.status, run.data.tags["mlsys.status"]) for status, run in runs.items()}
    assert states == {
        "trial": ("FINISHED", "trial"), "pruned": ("KILLED", "pruned"), "failed": ("FAILED", "failed"),
        "killed": ("KILLED", "killed"),
    }  # fmt: skip
    assert runs["trial"].data.metrics["objective"] == 0.5
    assert "objective" not in runs["pruned"].data.metrics
    assert runs["failed"].data.tags["mlsys.trial"] == "2"


@pytest.mark.slow
def test_the_served_model_reproduces_the_golden_rows(sent, tmp_path):
    client = client_of(sent.tracker.uri)
    client.set_registered_model_alias("leads", "champion", client.search_model_versions("name='leads'")[0].version)
    model = ["models", "serve", "-m", "models:/leads@champion", "--env-manager", "local"]
    with running_server([*model, "--port"], "/ping", MLFLOW_TRACKING_URI=sent.tracker.uri) as url:
        run, rows = sent.complete, golden_inputs(sent.complete)
        split = {"columns": list(rows), "data": json.loads(rows.to_json(orient="values", double_precision=15))}
        exact = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
        answer = post(f"{url}/invocations", {"dataframe_split": {**split, "data": exact}})
        predictions = answer["predictions"]
        assert [row["probability"] for row in predictions] == run.golden["probability"].tolist()
        assert [row["score"] for row in predictions] == run.golden["score"].tolist()


def test_the_model_needs_no_training_code(sent):
    code = (
        "import json, sys; import mlflow; mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/leads/1')\n"
        "names = [n for n in sys.modules if n.startswith('mlsys')]\n"
        "bad = [n for n in ('optuna', 'hydra', 'imblearn', 'wandb', 'duckdb', 'ibis') if n in sys.modules]\n"
        "print(json.dumps([sys.modules['mlsys'].__file__, names, bad, model.metadata.signature.to_dict()]))"
    )
    # Outside this checkout, so that the logged code is loaded.
    done = subprocess.run(
        [sys.executable, "-c", code, sent.tracker.uri], capture_output=True, text=True, check=False, timeout=HANG,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, modules, bad, signature = json.loads(done.stdout.splitlines()[-1])
    assert where.endswith("code/mlsys/__init__.py")
    assert bad == []
    assert "mlsys.pipeline.transformers" in modules
    columns = json.loads(signature["inputs"])
    assert [column["name"] for column in columns] == [entry["name"] for entry in sent.complete.schema["inputs"]]


@contextmanager
def tracking_server(database, folder):
    """Run `mlflow server`."""
    server = ["server", "--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    with running_server(
        [*server, "--workers", "1", "--port"], "/health", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"
    ) as url:
        yield url


@pytest.mark.slow
def test_a_server_on_postgresql(postgresql, trained, tmp_path):
    engine = sqlalchemy.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # separate, because Optuna and MLflow have a table of the same name
        connection.execute(sqlalchemy.text("CREATE DATABASE mlflow"))
    engine.dispose()
    with tracking_server(engine.url.set(database="mlflow").render_as_string(hide_password=False), tmp_path) as url:
        tracker = MlflowTracker(uri=url, **LONG_TIMEOUTS)
        receipt = send(tracker, trained.path)
        assert receipt.state == "online", receipt.reason
        found = find(client_of(url), trained)
        assert found.info.status == "FINISHED"
        assert found.data.metrics["objective"] == trained.metrics["overall"]["log_loss"]["value"]
        assert found.outputs.model_outputs
        assert (tmp_path / "artifacts").is_dir()  # the server stores the files, not ./mlruns
        assert not (tmp_path / "mlruns").exists()


@pytest.mark.slow
def test_a_server_on_sqlite_updates_runs_sent_to_the_file(sent, tmp_path):
    run = sent.sweep["killed"]
    writer = RunWriter(tmp_path / "again")
    writer.write_text("config.yaml", (run.path / "config.yaml").read_text())
    writer.write_json("metrics.json", METRICS)
    writer.finish(seed=1, threads=1, status="trial")
    (tmp_path / "again" / TRACKING_FILE).write_text((run.path / TRACKING_FILE).read_text())
    with tracking_server(sent.tracker.uri, tmp_path) as url:
        receipt = send(MlflowTracker(uri=url, log_artifacts=False, **LONG_TIMEOUTS), tmp_path / "again")
        assert receipt.state == "online", receipt.reason
        assert find(client_of(url), run).info.status == "FINISHED"  # the killed run was updated
        assert find(client_of(url), run).data.metrics["objective"] == 0.5
        assert find(client_of(url), sent.complete).info.status == "FINISHED"


def test_a_server_that_refuses_connections(make_run):
    receipt = send(MlflowTracker(uri="http://127.0.0.1:1", **LONG_TIMEOUTS), make_run().path)
    assert receipt.state == "failed"
    assert "Max retries" in receipt.reason or "refused" in receipt.reason


def test_a_missing_extra_is_reported_before_anything_runs(monkeypatch):
    monkeypatch.setattr("mlsys.tracking.mlflow_tracker.find_spec", lambda name: None)
    node = Component.model_validate({"_target_": "mlsys.tracking.MlflowTracker"})
    with pytest.raises(ConfigError, match=r"pip install 'mlsys\[mlflow\]'"):
        build(node, "tracking")


@contextmanager
def running_server(arguments, path, **environment):
    """Run one of MLflow's servers on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Path("server.log").open("wb") as log:
        process = subprocess.Popen(
            [*MLFLOW, *arguments, str(port)], env=os.environ | {"PATH": PATH} | environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    url, log = f"http://127.0.0.1:{port}", Path("server.log")
    try:
        wait_until(
            lambda: answers(url + path), "MLflow's server responds", process=process, output=log.read_text, pause=0.2
        )
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(HANG)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=HANG) as answer:
            return answer.status == 200
    except OSError:
        return False


def post(url, content):
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=HANG) as answer:
        return json.loads(answer.read())
