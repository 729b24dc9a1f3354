"""Runs in a project of Weights & Biases, as `WandbTracker` writes them."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mlsys.errors import ConfigError, Problem, RunError
from mlsys.tracking.remote import RemoteRun

MAX_RUNS = 1_000  # the newest
PAGE = 100
KIND = "run"  # type of the artifact with the run directory
STATES = {"finished": "complete", "crashed": "killed"}


class WandbRemote:
    """One project.

    Parameters
    ----------
    path : str
        ENTITY/PROJECT.

    Raises
    ------
    ConfigError
        If the path has any other form.
    """

    def __init__(self, path: str) -> None:
        if path.count("/") != 1 or not all(path.split("/")):
            problem = Problem("--wandb", path, "ENTITY/PROJECT, as in the project's address")
            raise ConfigError("The command", [problem], "Nothing was compared.")
        self.path = path
        self._runs: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """``wandb:ENTITY/PROJECT``."""
        return f"wandb:{self.path}"

    def runs(self) -> Sequence[RemoteRun]:
        """Return the project's runs, newest first."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # the user did not opt in
        import wandb

        try:
            api = wandb.Api()
            runs = list(islice(api.runs(self.path, order="-created_at", per_page=PAGE, lazy=False), MAX_RUNS))
        except (wandb.errors.Error, ValueError) as error:
            raise RunError(f"W&B: {self.path} cannot be read: {error}. `wandb login` configures a key.") from error
        self._runs = {run.id: run for run in runs}
        return [_run(run) for run in runs]

    def download(self, run: RemoteRun, folder: Path) -> bool:
        """Download a run directory into a folder; return False if it was never uploaded."""
        import wandb

        try:
            uploaded = [artifact for artifact in self._runs[run.id].logged_artifacts() if artifact.type == KIND]
            with contextlib.redirect_stderr(io.StringIO()):  # hides a progress bar per file
                for artifact in uploaded[-1:]:
                    artifact.download(root=str(folder), skip_cache=True)
        except (wandb.errors.Error, ValueError, OSError) as error:
            raise RunError(f"W&B: the files of {run.name} cannot be downloaded: {error}.") from error
        return bool(uploaded)


def _run(run: Any) -> RemoteRun:  # noqa: ANN401 - W&B's run
    summary: Mapping[str, Any] = dict(run.summary_metrics)
    return RemoteRun(
        id=run.id,
        name=run.name,
        status=str(summary.get("status") or STATES.get(run.state, run.state)),
        config={key: value for key, value in run.config.items() if key not in ("run", "_wandb")},
        numbers={name: float(value) for name, value in summary.items() if _is_number(value)},
        fingerprint=summary.get("data_fingerprint"),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
