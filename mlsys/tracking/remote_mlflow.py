"""Runs in an MLflow server or database, as `MlflowTracker` writes them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys.errors import RunError
from mlsys.redaction import without_password
from mlsys.tracking.remote import RemoteRun, nested

if TYPE_CHECKING:
    from mlflow import MlflowClient

ID = "mlsys.id"  # tag that identifies runs sent by mlsys
FILES = "run"  # artifact folder with the run directory
SQLITE = "sqlite:///"
# By default MLflow tries to reach a server for minutes, and shows a progress bar per folder.
CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
MAX_RUNS = 5_000  # the newest
STATES = {"FINISHED": "complete", "FAILED": "failed", "KILLED": "killed", "RUNNING": "running"}


@dataclass(frozen=True)
class MlflowRemote:
    """All experiments of one MLflow.

    Parameters
    ----------
    uri : str
        URI of a server (``http://…``) or a database (``sqlite:///mlflow.db``).
    """

    uri: str

    @property
    def address(self) -> str:
        """The address, without a password."""
        return without_password(self.uri)

    def runs(self) -> Sequence[RemoteRun]:
        """Return the runs that mlsys sent, newest first, without the parent runs of sweeps."""
        from mlflow.exceptions import MlflowException

        client = self._client()
        runs: list[RemoteRun] = []
        try:
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            token: str | None = None
            while experiments and len(runs) < MAX_RUNS:
                page = client.search_runs(experiments, f"tags.`{ID}` != ''", page_token=token)
                runs += [_run(each) for each in page if each.data.tags.get("mlsys.job_type") != "sweep"]
                token = page.token
                if not token:
                    break
        except MlflowException as error:
            raise RunError(f"MLflow: {self.address} cannot be read: {error}. Check --mlflow URI.") from error
        return runs

    def download(self, run: RemoteRun, folder: Path) -> bool:
        """Download a run directory into a folder; return False if it was never uploaded."""
        from mlflow.exceptions import MlflowException

        client = self._client()
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not client.list_artifacts(run.id, FILES):
                return False
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                Path(client.download_artifacts(run.id, FILES, scratch)).rename(folder)
        except (MlflowException, OSError) as error:
            raise RunError(f"MLflow: the files of {run.name} cannot be downloaded: {error}.") from error
        return True

    def _client(self) -> MlflowClient:
        if find_spec("mlflow") is None:
            raise RunError("MLflow is not installed: pip install 'mlsys[mlflow]'.")
        file = Path(self.uri.removeprefix(SQLITE))
        if self.uri.startswith(SQLITE) and not file.is_file():  # MLflow would create an empty one
            raise RunError(f"MLflow: database not found: {file.resolve()}. Check --mlflow URI.")
        for variable, value in CLIENT_ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient

        return MlflowClient(self.uri)


def _run(run: Any) -> RemoteRun:  # noqa: ANN401 - MLflow's run
    tags = run.data.tags
    return RemoteRun(
        id=run.info.run_id,
        name=run.info.run_name,
        status=tags.get("mlsys.status") or STATES.get(run.info.status, str(run.info.status).lower()),
        config=nested(run.data.params),
        numbers={_name(name): value for name, value in run.data.metrics.items()},
        fingerprint=tags.get("mlsys.data_fingerprint"),
    )


def _name(name: str) -> str:
    """Return mlsys' name of a metric.

    Examples
    --------
    >>> _name("precision_at_10/low")
    'precision@10/low'
    """
    return re.sub(r"_at_(?=\d)", "@", name)
