"""Runs to register, and registries to register them in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlsys.registry.folder_store import FolderStore
from mlsys.registry.settings import GateSettings, read_settings
from mlsys.registry.store import RegistryStore
from mlsys.runs import Run
from tests.evaluation.comparison.conftest import predictions
from tests.registry.small import SCHEMA, write_run
from tests.tracking.test_mlflow import tracking_server


@dataclass(frozen=True)
class Runs:
    """Runs shared by all tests; read-only.

    Attributes
    ----------
    first, again : Run
        The same config and skill.
    tuned : Run
        A different config with the same skill.
    poor : Run
        No skill, and one more input.
    """

    first: Run
    again: Run
    tuned: Run
    poor: Run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("registered") / "outputs"
    more = [*SCHEMA["inputs"], {"name": "seats", "dtype": "float64", "nullable": False}]
    return Runs(
        first=write_run(folder / "first"),
        again=write_run(folder / "again", seed=4),
        tuned=write_run(folder / "tuned", model__max_depth=4),
        poor=write_run(folder / "poor", predictions(0.2, seed=1), inputs=more),
    )


@pytest.fixture
def gate() -> GateSettings:
    return read_settings(None, {"bootstrap_resamples": 200})


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "registry")


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on SQLite."""
    folder = tmp_path_factory.mktemp("mlflow-registry")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        with tracking_server(f"sqlite:///{folder}/mlflow.db", folder) as url:
            yield url


@pytest.fixture(params=["folder", pytest.param("mlflow", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> RegistryStore:
    """Every kind of registry."""
    create: Callable[[], RegistryStore] = {
        "folder": lambda: request.getfixturevalue("folder_store"),
        "mlflow": lambda: request.getfixturevalue("mlflow_store"),
    }[request.param]
    return create()


@pytest.fixture
def mlflow_store(mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistryStore:
    from mlsys.registry.mlflow_store import MlflowStore

    monkeypatch.chdir(tmp_path)
    return MlflowStore(mlflow_uri)
