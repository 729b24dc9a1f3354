"""The winner as a complete run: refitted on everything, reported on folds that the search never saw."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from optuna.trial import FixedTrial

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.sweep.results import SweepResults, link
from mlsys.sweep.study import count

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

REFIT = "refit"


def refit_winner(results: SweepResults) -> None:
    """Train the best trial's configuration as a run of its own, and let ``best`` point at it.

    The run directory is ``refit/TRIALS/NUMBER``: whoever goes on with more trials gets a new one, and loses none.
    """
    best = results.best
    assert best is not None
    tried = count(results.trials).finished
    folder = _free(results.sweep.folder / REFIT / str(tried), str(best.number))
    if not _is_complete(folder):
        sys.stderr.write(f"Refitting the best of {tried} trials, number {best.number}{_measured_on(results)} …\n")
        # Not those that the study holds, where passwords are hidden.
        overrides = results.sweep.space.overrides(FixedTrial(best.params, best.number), results.sweep.config)  # type: ignore[arg-type]
        if results.sweep.config.get("search") is not None:
            overrides = [*overrides, f"++search.selected_from={tried}"]
        _run(results, overrides, str(folder.relative_to(results.sweep.folder)))
    link(results.sweep.folder, folder)


def _measured_on(results: SweepResults) -> str:
    by = f" (by {results.objectives[0]})" if len(results.objectives) > 1 else ""
    search = results.sweep.config.get("search") or {}
    held_out = search.get("holdout_folds")
    return f"{by}, and measuring it on the {held_out} latest folds, which no trial saw" if held_out else by


def _run(results: SweepResults, overrides: list[str], subdir: str) -> None:
    from mlsys.sweep.executors import run_in_subprocess
    from mlsys.sweep.worker import run_hydra_job

    best, sweep = results.best, results.sweep
    assert best is not None
    if sweep.workers == 1 and sweep.settings.executor == "local":  # what training needs is loaded here already
        run_hydra_job(sweep, best.number, overrides, subdir)
    else:
        run_in_subprocess(sweep, best.number, overrides, subdir)


def _free(parent: Path, name: str) -> Path:
    """Return a folder of this name that holds a complete run, or nothing: a killed refit leaves another kind."""
    folder, attempt = parent / name, 1
    while folder.exists() and not _is_complete(folder):
        attempt += 1
        folder = parent.with_name(f"{parent.name}-{attempt}") / name
    return folder


def _is_complete(folder: Path) -> bool:
    try:
        return Run.open(folder, verify=False).manifest.status == "complete"
    except RunError:
        return False
