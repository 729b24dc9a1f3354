"""The one place that feeds trackers: a run's start, and all that its run directory holds once it is over."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mlsys.runs import Run
from mlsys.runs.files import MANIFEST
from mlsys.tracking.base import Receipt, TrackedRun, Tracker
from mlsys.tracking.run_data import config_of, folds, labels, overall, run_data, shown_files


def begin(tracker: Tracker, folder: Path) -> TrackedRun:
    """Show that a run is under way.

    Parameters
    ----------
    tracker : Tracker
    folder : Path
        The run directory, which holds the config at least.
    """
    config = config_of(folder)
    facts = run_data(folder, config)
    tracked = tracker.start(facts)
    tracked.log_config(config)
    if facts.job_type != "trial":
        import_module("mlsys.tracking.tables")  # half a second, better spent while the run is under way
    return tracked


def complete(tracked: TrackedRun, folder: Path) -> Receipt:
    """Show everything that a run left, and end it there with the status that it has; without a manifest it was killed.

    Every file is compared with its digest when it is read: what was changed since is not shown.
    """
    if not (folder / MANIFEST).is_file():
        return killed(tracked)
    run = Run.open(folder, verify=False)
    tracked.log_labels(labels(run))
    tracked.log_metrics(overall(run), folds(run))
    if run.manifest.status == "complete":
        _log_pictures(tracked, run)
    tracked.log_files(run.path, shown_files(run))
    return tracked.finish(run.manifest.status)


def killed(tracked: TrackedRun) -> Receipt:
    """End a run that left nothing."""
    tracked.log_labels({"status": "killed"})
    return tracked.finish("killed")


def _log_pictures(tracked: TrackedRun, run: Run) -> None:
    from mlsys.tracking.tables import curves, tables  # as above

    plots = [name for name in run.manifest.files if name.startswith("plots/") and name.endswith(".png")]
    tracked.log_figures({Path(name).stem: run.path / name for name in plots})
    tracked.log_tables(tables(run))
    tracked.log_curves(curves(run))
