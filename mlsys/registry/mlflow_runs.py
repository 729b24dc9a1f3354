"""Runs in MLflow that registered versions are made of, and the MLflow that has them."""

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
from mlsys.tracking.log_run import begin, complete
from mlsys.tracking.mlflow_model import log_model
from mlsys.tracking.mlflow_tracker import MlflowRun
from mlsys.tracking.remote_mlflow import FILES, PATIENCE, SQLITE
from mlsys.tracking.run_data import shown_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["FILES", "MlflowPlace", "send"]
LOCK_SECONDS = 120.0


@dataclass(frozen=True)
class MlflowPlace:
    """One MLflow, whose errors are said in words.

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
        """Give a client; what MLflow prints goes to standard error."""
        self._check(create=create)
        for variable, value in {**PATIENCE, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # each new table is news to them
        try:
            with self._one_at_a_time(), redirect_stdout(sys.stderr):
                client = MlflowClient(self.uri, self.uri)
            yield client
        except MlflowException as error:
            raise RegistryError(f"MLflow at {self.address}: {without_password(str(error))}") from error

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Keep the other commands of this machine away from a model; MLflow itself cannot lock."""
        with self._locked(f"{self.uri} {name}"):
            yield

    def _one_at_a_time(self) -> AbstractContextManager[None]:
        """Keep processes from making a new database's tables at the same time."""
        return self._locked(self.uri)

    @contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        digest = hashlib.sha256(f"{Path.cwd()} {what} {os.getuid()}".encode()).hexdigest()[:16]
        try:
            with FileLock(Path(tempfile.gettempdir()) / f"mlsys-registry-{digest}.lock", timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise RegistryError(
                f"Other commands have kept {self.address} for {LOCK_SECONDS:g} seconds. Nothing was changed; try again."
            ) from error

    def _check(self, *, create: bool) -> None:
        if find_spec("mlflow") is None:
            raise RegistryError("MLflow is not installed: pip install 'mlsys[mlflow]', or keep models in a folder.")
        file = Path(self.uri.removeprefix(SQLITE))
        if self.uri.startswith(SQLITE) and not create and not file.is_file():  # MLflow would make an empty one
            raise RegistryError(f"There is no database {file.resolve()}. Check --registry mlflow:URI.")


def send(client: MlflowClient, uri: str, run: Run) -> tuple[str, str]:
    """Send a run with all its files and its model, as far as they are not there yet.

    Returns
    -------
    run_id, model_id : str
        MLflow's.
    """
    tracker = MlflowTracker(uri=uri)
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about MLflow's own type hints, and an example that a signature does without
        tracked = begin(tracker, run.path)
        assert isinstance(tracked, MlflowRun)
        complete(tracked, run.path)
        if not client.list_artifacts(tracked.id, FILES):  # it was tracked without its files
            for name in shown_files(run):
                client.log_artifact(tracked.id, str(run.path / name), str(Path(FILES, name).parent))
        if _model(client, tracked.id) is None:
            log_model(tracked.id, run.path, None)
    model = _model(client, tracked.id)
    if model is None:
        raise RegistryError(f"MLflow did not keep the model of {run.path}. Nothing was added.")
    return tracked.id, model


def _model(client: MlflowClient, run_id: str) -> str | None:
    outputs = client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return str(models[0].model_id) if models else None
