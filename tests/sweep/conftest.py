"""The toy program, and fixtures that several tests share."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest

from mlsys.sweep.settings import SweepSettings
from mlsys.sweep.study import SharedStudy, retried_numbers
from tests.waiting import Program

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy.py"
FINISHED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Toy:
    """The toy program in a folder.

    Attributes
    ----------
    folder : Path
        The sweep directory.
    """

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a sweep."""
        return [sys.executable, str(TOY), "-m", f"hydra.sweep.dir={self.folder}", *arguments]

    def start(self, *arguments: str, **environment: str) -> Program:
        """Start a sweep as the leader of a process group, as a shell does."""
        variables = os.environ | {"MLSYS_CONF": str(ROOT / "conf")} | environment
        return Program(self.command(*arguments), env=variables, start_new_session=True)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a sweep to its end."""
        return self.start(*arguments, **environment).end()

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Return the study's trials."""
        return trials_of(f"sqlite:///{self.folder / 'study.db'}", self.folder.name)

    @property
    def gate(self) -> Path:
        """A file that jobs with ``gate`` wait for; they run until it exists."""
        return self.folder.parent / "gate"

    @property
    def held(self) -> list[str]:
        """Arguments of jobs that wait at the gate."""
        return [f"gate={self.gate}", "hydra.sweeper.pruner=null"]

    def starts(self) -> list[str]:
        """Return the names of the run directories in the order in which their jobs started."""
        log = self.folder / "starts.log"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def trials_of(url: str, name: str) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of a study in a storage."""
    storage = optuna.storages.RDBStorage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage).get_trials()
    finally:
        storage.engine.dispose()


def finished(trials: Sequence[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Return the finished trials, without those that were retried."""
    retried = retried_numbers(trials)
    return [trial for trial in trials if trial.state.name in FINISHED and trial.number not in retried]


def states(trials: Sequence[optuna.trial.FrozenTrial]) -> list[str]:
    """Return the names of the trials' states, sorted."""
    return sorted(trial.state.name for trial in trials)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """The toy program with its own sweep directory."""
    return Toy(tmp_path / "sweep")


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, subprocess.CompletedProcess[str]]:
    """A finished sweep of ten trials by two workers, and its process. Do not resume it."""
    toy = Toy(tmp_path_factory.mktemp("swept") / "sweep")
    return toy, toy.run("seconds=0", "hydra.sweeper.n_jobs=2")


@pytest.fixture
def settings() -> SweepSettings:
    """Settings of a small sweep."""
    return SweepSettings(
        sampler={"_target_": "optuna.samplers.RandomSampler", "seed": 0}, n_trials=6, n_jobs=1, refit=False
    )


@pytest.fixture
def open_study(settings: SweepSettings, tmp_path: Path) -> Iterator[Callable[..., SharedStudy]]:
    """Return a function that opens the study of a sweep directory; each call acts as another worker."""
    opened: list[SharedStudy] = []

    def open_one(folder: Path | None = None, sampler: Any = None, pruner: Any = None, **changes: Any) -> SharedStudy:
        study_folder = folder or tmp_path / "study"
        study_folder.mkdir(parents=True, exist_ok=True)
        shared = SharedStudy(replace_settings(settings, **changes), study_folder, sampler, pruner)
        shared.create(["minimize"])
        opened.append(shared)
        return shared

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield open_one
    for shared in opened:
        shared.close()


def replace_settings(settings: SweepSettings, **changes: Any) -> SweepSettings:
    """Return validated settings with some values replaced."""
    return SweepSettings.model_validate(settings.model_dump() | changes)
