"""Log a run to a tracker: its start, and the contents of its run directory when it ends."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mlsys.runs import Run
from mlsys.runs.files import MANIFEST
from mlsys.tracking.base import Receipt, TrackedRun, Tracker
from mlsys.tracking.run_data import config_of, folds, labels, overall, run_data, shown_files


def start_run(tracker: Tracker, folder: Path) -> TrackedRun:
    """Start a run in a tracker.

    Parameters
    ----------
    tracker : Tracker
    folder : Path
        Run directory, which must hold the config.
    """
    config = config_of(folder)
    data = run_data(folder, config)
    tracked = tracker.start(data)
    tracked.log_config(config)
    if data.job_type != "trial":
        import_module("mlsys.tracking.tables")  # takes half a second, so import it while the run is training
    return tracked


def finish_run(tracked: TrackedRun, folder: Path) -> Receipt:
    """Log the contents of a run directory and finish the run; a run without a manifest was killed.

    Each file is compared with its digest when it is read, so that later changes are not logged.
    """
    if not (folder / MANIFEST).is_file():
        return finish_killed(tracked)
    run = Run.open(folder, verify=False)
    tracked.log_labels(labels(run))
    tracked.log_metrics(overall(run), folds(run))
    if run.manifest.status == "complete":
        _log_figures_and_tables(tracked, run)
    tracked.log_files(run.path, shown_files(run))
    return tracked.finish(run.manifest.status)


def finish_killed(tracked: TrackedRun) -> Receipt:
    """Finish a run that was killed."""
    tracked.log_labels({"status": "killed"})
    return tracked.finish("killed")


def _log_figures_and_tables(tracked: TrackedRun, run: Run) -> None:
    from mlsys.tracking.tables import curves, tables  # imported late, as above

    plots = [name for name in run.manifest.files if name.startswith("plots/") and name.endswith(".png")]
    tracked.log_figures({Path(name).stem: run.path / name for name in plots})
    tracked.log_tables(tables(run))
    tracked.log_curves(curves(run))
