"""Connection to an MLflow that keeps registered models, and the upload of their runs."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from mlsys.errors import RegistryError
from mlsys.redaction import without_password
from mlsys.runs import Run
from mlsys.tracking import MlflowTracker
from mlsys.tracking.log_run import finish_run, start_run
from mlsys.tracking.mlflow_model import log_model
from mlsys.tracking.mlflow_tracker import MlflowRun
from mlsys.tracking.remote_mlflow import CLIENT_ENVIRONMENT, FILES, SQLITE
from mlsys.tracking.run_data import shown_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["FILES", "MlflowConnection", "send"]
LOCK_TIMEOUT = 120.0


@dataclass(frozen=True)
class MlflowConnection:
    """Connection to one MLflow; its errors become a `RegistryError`.

    Parameters
    ----------
    uri : str
    """

    uri: str

    @property
    def address(self) -> str:
        """The address, without a password."""
        return without_password(self.uri)

    @contextmanager
    def client(self, *, create: bool = False) -> Iterator[MlflowClient]:
        """Yield a client; what MLflow prints goes to standard error."""
        self._check_available(create=create)
        for variable, value in {**CLIENT_ENVIRONMENT, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # they log every new table
        try:
            with self._database_lock(), redirect_stdout(sys.stderr):
                client = MlflowClient(self.uri, self.uri)
            yield client
        except MlflowException as error:
            raise RegistryError(f"MLflow at {self.address}: {without_password(str(error))}") from error

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Lock a model against other commands on this machine; MLflow itself cannot lock."""
        with self._file_lock(f"{self.uri} {name}"):
            yield

    def _database_lock(self) -> AbstractContextManager[None]:
        """Keep processes from creating the tables of a new database at the same time."""
        return self._file_lock(self.uri)

    @contextmanager
    def _file_lock(self, what: str) -> Iterator[None]:
        digest = hashlib.sha256(f"{Path.cwd()} {what} {os.getuid()}".encode()).hexdigest()[:16]
        try:
            with FileLock(Path(tempfile.gettempdir()) / f"mlsys-registry-{digest}.lock", timeout=LOCK_TIMEOUT):
                yield
        except Timeout as error:
            raise RegistryError(
                f"{self.address} was locked by other commands for {LOCK_TIMEOUT:g} seconds. Nothing was changed; try "
                "again."
            ) from error

    def _check_available(self, *, create: bool) -> None:
        if find_spec("mlflow") is None:
            raise RegistryError("MLflow is not installed: pip install 'mlsys[mlflow]', or use a registry in a folder.")
        file = Path(self.uri.removeprefix(SQLITE))
        if self.uri.startswith(SQLITE) and not create and not file.is_file():  # MLflow would create an empty one
            raise RegistryError(f"Database not found: {file.resolve()}. Check --registry mlflow:URI.")


def send(client: MlflowClient, uri: str, run: Run) -> tuple[str, str]:
    """Upload a run with its files and its model, skipping what MLflow already has.

    Returns
    -------
    run_id, model_id : str
        Ids in MLflow.
    """
    tracker = MlflowTracker(uri=uri)
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about type hints and a missing input example; the signature is set
        tracked = start_run(tracker, run.path)
        assert isinstance(tracked, MlflowRun)
        finish_run(tracked, run.path)
        if not client.list_artifacts(tracked.id, FILES):  # tracked without its files
            for name in shown_files(run):
                client.log_artifact(tracked.id, str(run.path / name), str(Path(FILES, name).parent))
        if _model(client, tracked.id) is None:
            log_model(tracked.id, run.path, None)
    model = _model(client, tracked.id)
    if model is None:
        raise RegistryError(f"MLflow has no model for {run.path} after the upload. Nothing was added.")
    return tracked.id, model


def _model(client: MlflowClient, run_id: str) -> str | None:
    outputs = client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return str(models[0].model_id) if models else None
