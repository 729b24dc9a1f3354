"""Track runs in MLflow: a local database file or any tracking server."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from filelock import FileLock
from pydantic import Field
from pydantic.dataclasses import dataclass

from mlsys.redaction import without_password
from mlsys.runs.model_io import MODEL_FILE
from mlsys.tracking.base import Ending, Receipt, RunData
from mlsys.tracking.receipts import run_id
from mlsys.tracking.run_data import flat

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

STATES: Mapping[Ending, str] = {
    "complete": "FINISHED",
    "trial": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
    "killed": "KILLED",
}
ID, SENT = "mlsys.id", "mlsys.sent"  # tags: the run's id; its status, set once everything was sent
MAX_PARAMS, MAX_METRICS, MAX_VALUE = 100, 1000, 6000  # params and metrics per request; characters per param
LOCK_TIMEOUT = 30
# By default MLflow tries to reach a server for minutes; runs that are not sent now can be sent later.
CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
Seconds = Annotated[float, Field(gt=0, le=3600)]


@dataclass(frozen=True)
class MlflowTracker:
    """MLflow.

    Parameters
    ----------
    uri : str
        URI of a tracking server or database.
    experiment : str
        Name of the experiment; created if needed.
    register_model : str, optional
        Registered model to which each complete run adds a version.
    log_model : bool
        Whether complete runs log their model for MLflow to serve.
    log_artifacts : bool
        Whether to log the files of the run directory.
    start_timeout, finish_timeout : float
        Seconds allowed to start a run, in parallel with training, and to finish it, after training.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "mlsys"
    register_model: str | None = None
    log_model: bool = True
    log_artifacts: bool = True
    start_timeout: Seconds = 30.0
    finish_timeout: Seconds = 20.0

    def __post_init__(self) -> None:
        """Check that MLflow is installed before anything runs."""
        if find_spec("mlflow") is None:
            raise ValueError("MLflow is not installed: pip install 'mlsys[mlflow]', or use tracking=wandb")

    @property
    def name(self) -> str:
        """Return ``mlflow``."""
        return "mlflow"

    def start(self, data: RunData) -> MlflowRun:
        """Start a run, or resume it if part of it was sent before."""
        for variable, value in CLIENT_ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        with self._file_lock():
            from mlflow import MlflowClient, set_tracking_uri

            set_tracking_uri(self.uri)
            client = MlflowClient(self.uri)
            experiment = _experiment(client, self.experiment)
        parent = None if data.sweep is None else _parent(client, experiment, data.sweep)
        known = _by_id(client, experiment, data.id)
        if known is None:
            tags = {ID: data.id, "mlsys.status": "running", **_tags(data), **_parent_tag(parent)}
            known = client.create_run(experiment, tags=tags, run_name=data.name)
        return MlflowRun(client, known.info.run_id, known.info.start_time, SENT in known.data.tags, self)

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """Keep the processes of this machine from creating tables or the experiment at the same time."""
        digest = hashlib.sha256(f"{Path.cwd()} {self.uri} {os.getuid()}".encode()).hexdigest()[:16]
        with FileLock(Path(tempfile.gettempdir()) / f"mlsys-mlflow-{digest}.lock", timeout=LOCK_TIMEOUT):
            yield


@dataclasses.dataclass
class MlflowRun:
    """One run in MLflow; a run that was sent in full is not changed."""

    client: MlflowClient
    id: str
    started: int
    sent: bool
    tracker: MlflowTracker

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Log the config as parameters with dotted keys."""
        from mlflow.entities import Param

        params = [Param(_name(key), str(value)[:MAX_VALUE]) for key, value in flat(config).items()]
        for chunk in _chunks([] if self.sent else params, MAX_PARAMS):
            self.client.log_batch(self.id, params=chunk)

    def log_labels(self, labels: Mapping[str, str]) -> None:
        """Log labels as tags."""
        for name, label in {} if self.sent else labels.items():
            self.client.set_tag(self.id, f"mlsys.{name}", label)

    def log_metrics(self, overall: Mapping[str, float], folds: Sequence[Mapping[str, Any]]) -> None:
        """Log numbers; for each fold, the step is its number and the time its as-of."""
        from mlflow.entities import Metric

        metrics = [Metric(_name(name), value, self.started, 0) for name, value in overall.items()]
        for fold in folds:
            moment = self.started if fold["as_of"] is None else _milliseconds(fold["as_of"])
            numbers = {name: value for name, value in fold.items() if name not in ("fold", "as_of")}
            metrics += [Metric(_name(f"folds/{name}"), value, moment, fold["fold"]) for name, value in numbers.items()]
        for chunk in _chunks([] if self.sent else metrics, MAX_METRICS):
            self.client.log_batch(self.id, metrics=chunk)

    def log_figures(self, figures: Mapping[str, Path]) -> None:
        """Log PNG files, unless they are logged with the run directory."""
        if not self.sent and not self.tracker.log_artifacts:
            for path in figures.values():
                self.client.log_artifact(self.id, str(path), "plots")

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Log tables in MLflow's own format, which it can compare between runs."""
        for name, frame in {} if self.sent else tables.items():
            self.client.log_table(self.id, frame, f"tables/{name}.json")

    def log_curves(self, curves: Mapping[str, pd.DataFrame]) -> None:
        """Do nothing: MLflow has no x-y plots, and the PNG files show the curves."""

    def log_files(self, folder: Path, names: Sequence[str]) -> None:
        """Log the run directory, and its model for MLflow to serve."""
        if self.sent:
            return
        if self.tracker.log_artifacts:
            for name in names:
                self.client.log_artifact(self.id, str(folder / name), str(Path("run", name).parent))
        if self.tracker.log_model and MODEL_FILE in names and not self._has_model():
            from mlsys.tracking.mlflow_model import log_model  # MLflow's models take a second to import

            log_model(self.id, folder, self.tracker.register_model)

    def finish(self, status: Ending) -> Receipt:
        """Finish with MLflow's nearest state; the tag mlsys.status has the exact status."""
        if not self.sent:
            if status != "killed":
                self.client.set_tag(self.id, SENT, status)
            self.client.set_terminated(self.id, STATES[status])
        return Receipt("online", f"{self._address()} run {self.id}")

    def _has_model(self) -> bool:
        outputs = self.client.get_run(self.id).outputs
        return bool(outputs and outputs.model_outputs)

    def _address(self) -> str:
        return without_password(self.tracker.uri)


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another machine created it first
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _by_id(client: MlflowClient, experiment: str, identifier: str) -> Any:  # noqa: ANN401 - MLflow's run
    runs = client.search_runs([experiment], f"tags.`{ID}` = '{identifier}'", max_results=1)
    return runs[0] if runs else None


def _parent(client: MlflowClient, experiment: str, sweep: Path) -> str:
    """Return the parent run of a sweep, created by the first worker; the status of each trial is in its own run."""
    with FileLock(sweep / ".tracking.lock", timeout=LOCK_TIMEOUT):
        identifier = run_id(sweep)
        known = _by_id(client, experiment, identifier)
        if known is None:
            tags = {ID: identifier, "mlsys.job_type": "sweep", "mlsys.path": str(sweep)}
            known = client.create_run(experiment, tags=tags, run_name=sweep.name)
            client.set_terminated(known.info.run_id)
    return str(known.info.run_id)


def _parent_tag(parent: str | None) -> dict[str, str]:
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    return {} if parent is None else {MLFLOW_PARENT_RUN_ID: parent}


def _tags(data: RunData) -> dict[str, str]:
    known = {
        "mlsys.job_type": data.job_type,
        "mlsys.trial": data.trial,
        "mlsys.group": data.group,
        "mlsys.path": data.folder,
        "mlflow.source.git.commit": data.commit,
        "mlflow.source.name": "mlsys.train",
        "mlsys.tags": ",".join(data.tags) or None,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _name(name: str) -> str:
    """Return a name that MLflow accepts.

    Examples
    --------
    >>> _name("precision@10")
    'precision_at_10'
    """
    return re.sub(r"[^\w\-. /]", "_", name.replace("@", "_at_"))


def _milliseconds(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
