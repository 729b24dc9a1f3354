"""Refit of the best trial as a complete run, measured on folds that the search never saw."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from optuna.trial import FixedTrial

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.sweep.results import SweepResults, link_best
from mlsys.sweep.study import count_trials

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

REFIT_FOLDER = "refit"


def refit_best(results: SweepResults) -> None:
    """Train the best trial's configuration as a complete run and point the ``best`` link at it.

    The run directory is ``refit/N_TRIALS/NUMBER``, so a sweep that is resumed with more trials keeps earlier refits.
    """
    best = results.best
    assert best is not None
    n_finished = count_trials(results.trials).finished
    folder = _unused_folder(results.sweep.folder / REFIT_FOLDER / str(n_finished), str(best.number))
    if not _is_complete(folder):
        of = f"the best of {n_finished} trials" if n_finished > 1 else "the only trial"
        sys.stderr.write(f"Refitting trial {best.number}, {of}{_holdout_note(results)} …\n")
        # Not the overrides in the study, where passwords are hidden.
        overrides = results.sweep.space.overrides(FixedTrial(best.params, best.number), results.sweep.config)  # type: ignore[arg-type]
        if results.sweep.config.get("search") is not None:
            overrides = [*overrides, f"++search.selected_from={n_finished}"]
        _run(results, overrides, str(folder.relative_to(results.sweep.folder)))
    link_best(results.sweep.folder, folder)


def _holdout_note(results: SweepResults) -> str:
    by = f" (by {results.objectives[0]})" if len(results.objectives) > 1 else ""
    search = results.sweep.config.get("search") or {}
    n_folds = search.get("holdout_folds")
    if not n_folds:
        return by
    folds = "latest fold" if n_folds == 1 else f"{n_folds} latest folds"
    return f"{by}, and measuring it on the {folds}, which no trial saw"


def _run(results: SweepResults, overrides: list[str], subdir: str) -> None:
    from mlsys.sweep.executors import run_in_subprocess
    from mlsys.sweep.worker import run_hydra_job

    best, sweep = results.best, results.sweep
    assert best is not None
    if sweep.workers == 1 and sweep.settings.executor == "local":  # training's imports are already loaded here
        run_hydra_job(sweep, best.number, overrides, subdir)
    else:
        run_in_subprocess(sweep, best.number, overrides, subdir)


def _unused_folder(parent: Path, name: str) -> Path:
    """Return a folder of this name that holds a complete run or does not exist; a killed refit is left alone."""
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
