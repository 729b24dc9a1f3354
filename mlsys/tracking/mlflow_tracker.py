"""Runs in MLflow: a database file beside the runs, or any tracking server."""

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
ID, SENT = "mlsys.id", "mlsys.sent"  # tags: which run this is, and how it ended, once all of it is there
PARAMS, METRICS, TEXT = 100, 1000, 6000  # at most in one request; characters of a parameter
LOCK_SECONDS = 30
# MLflow tries a server seven times, a minute each. What is not sent now is sent later.
PATIENCE = {
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
        Of the tracking server, or of a database.
    experiment : str
        Made if it is not there.
    register_model : str, optional
        Name under which each complete run's model becomes a version in the model registry.
    log_model : bool
        Whether complete runs log their model, to be served by MLflow.
    log_artifacts : bool
        Whether the files of the run directory are logged.
    start_timeout, finish_timeout : float
        Seconds that MLflow is given to begin, beside the run, and to take what it found, after it.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "mlsys"
    register_model: str | None = None
    log_model: bool = True
    log_artifacts: bool = True
    start_timeout: Seconds = 30.0
    finish_timeout: Seconds = 20.0

    def __post_init__(self) -> None:
        """Refuse to wait until the first run ends."""
        if find_spec("mlflow") is None:
            raise ValueError("MLflow is not installed: pip install 'mlsys[mlflow]', or take tracking=wandb")

    @property
    def name(self) -> str:
        """Return ``mlflow``."""
        return "mlflow"

    def start(self, facts: RunData) -> MlflowRun:
        """Begin with a run, or go on with what was sent of it before."""
        for variable, value in PATIENCE.items():
            os.environ.setdefault(variable, value)
        with self._one_at_a_time():
            from mlflow import MlflowClient, set_tracking_uri

            set_tracking_uri(self.uri)
            client = MlflowClient(self.uri)
            experiment = _experiment(client, self.experiment)
        parent = None if facts.sweep is None else _parent(client, experiment, facts.sweep)
        known = _by_id(client, experiment, facts.id)
        if known is None:
            tags = {ID: facts.id, "mlsys.status": "running", **_tags(facts), **_parent_tag(parent)}
            known = client.create_run(experiment, tags=tags, run_name=facts.name)
        return MlflowRun(client, known.info.run_id, known.info.start_time, SENT in known.data.tags, self)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Keep the processes of this machine from making a new database's tables, or the experiment, all at once."""
        digest = hashlib.sha256(f"{Path.cwd()} {self.uri} {os.getuid()}".encode()).hexdigest()[:16]
        with FileLock(Path(tempfile.gettempdir()) / f"mlsys-mlflow-{digest}.lock", timeout=LOCK_SECONDS):
            yield


@dataclasses.dataclass
class MlflowRun:
    """One run in MLflow; one that is there already is left as it is."""

    client: MlflowClient
    id: str
    started: int
    sent: bool
    tracker: MlflowTracker

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Take the config as parameters, by dotted keys."""
        from mlflow.entities import Param

        params = [Param(_name(key), str(value)[:TEXT]) for key, value in flat(config).items()]
        for some in _chunks([] if self.sent else params, PARAMS):
            self.client.log_batch(self.id, params=some)

    def log_labels(self, labels: Mapping[str, str]) -> None:
        """Take words as tags."""
        for name, word in {} if self.sent else labels.items():
            self.client.set_tag(self.id, f"mlsys.{name}", word)

    def log_metrics(self, overall: Mapping[str, float], folds: Sequence[Mapping[str, Any]]) -> None:
        """Take numbers; those of a fold at its number as step and its as-of as time."""
        from mlflow.entities import Metric

        metrics = [Metric(_name(name), value, self.started, 0) for name, value in overall.items()]
        for fold in folds:
            moment = self.started if fold["as_of"] is None else _milliseconds(fold["as_of"])
            numbers = {name: value for name, value in fold.items() if name not in ("fold", "as_of")}
            metrics += [Metric(_name(f"folds/{name}"), value, moment, fold["fold"]) for name, value in numbers.items()]
        for some in _chunks([] if self.sent else metrics, METRICS):
            self.client.log_batch(self.id, metrics=some)

    def log_figures(self, figures: Mapping[str, Path]) -> None:
        """Take PNG files, unless they come with the run directory."""
        if not self.sent and not self.tracker.log_artifacts:
            for path in figures.values():
                self.client.log_artifact(self.id, str(path), "plots")

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Take tables as MLflow shows and compares them."""
        for name, frame in {} if self.sent else tables.items():
            self.client.log_table(self.id, frame, f"tables/{name}.json")

    def log_curves(self, curves: Mapping[str, pd.DataFrame]) -> None:
        """Leave them out: MLflow has no plots of x and y, and the PNG files show them."""

    def log_files(self, folder: Path, names: Sequence[str]) -> None:
        """Take the run directory, and its model as one that MLflow can serve."""
        if self.sent:
            return
        if self.tracker.log_artifacts:
            for name in names:
                self.client.log_artifact(self.id, str(folder / name), str(Path("run", name).parent))
        if self.tracker.log_model and MODEL_FILE in names and not self._has_model():
            from mlsys.tracking.mlflow_model import log_model  # MLflow's models take a second to import

            log_model(self.id, folder, self.tracker.register_model)

    def finish(self, status: Ending) -> Receipt:
        """End with the state that is nearest; the tag mlsys.status tells which it was."""
        if not self.sent:
            if status != "killed":
                self.client.set_tag(self.id, SENT, status)
            self.client.set_terminated(self.id, STATES[status])
        return Receipt("online", f"{self._place()} run {self.id}")

    def _has_model(self) -> bool:
        outputs = self.client.get_run(self.id).outputs
        return bool(outputs and outputs.model_outputs)

    def _place(self) -> str:
        return without_password(self.tracker.uri)


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another machine was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _by_id(client: MlflowClient, experiment: str, identity: str) -> Any:  # noqa: ANN401 - MLflow's run
    found = client.search_runs([experiment], f"tags.`{ID}` = '{identity}'", max_results=1)
    return found[0] if found else None


def _parent(client: MlflowClient, experiment: str, sweep: Path) -> str:
    """Return the run that stands for a sweep, made by whichever worker comes first; its trials tell how they ended."""
    with FileLock(sweep / ".tracking.lock", timeout=LOCK_SECONDS):
        identity = run_id(sweep)
        known = _by_id(client, experiment, identity)
        if known is None:
            tags = {ID: identity, "mlsys.job_type": "sweep", "mlsys.path": str(sweep)}
            known = client.create_run(experiment, tags=tags, run_name=sweep.name)
            client.set_terminated(known.info.run_id)
    return str(known.info.run_id)


def _parent_tag(parent: str | None) -> dict[str, str]:
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    return {} if parent is None else {MLFLOW_PARENT_RUN_ID: parent}


def _tags(facts: RunData) -> dict[str, str]:
    known = {
        "mlsys.job_type": facts.job_type,
        "mlsys.trial": facts.trial,
        "mlsys.group": facts.group,
        "mlsys.path": facts.folder,
        "mlflow.source.git.commit": facts.commit,
        "mlflow.source.name": "mlsys.train",
        "mlsys.tags": ",".join(facts.tags) or None,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _name(name: str) -> str:
    """Return a name that MLflow takes.

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
