"""The runs to compare: those that the user named, opened and checked, and those left out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mlsys.errors import ConfigError, Problem, RunError
from mlsys.evaluation.metric_table import FALLBACK_OBJECTIVE, PREDICT_MS, greater_is_better, is_metric
from mlsys.runs import Run, RunRow, find_run
from mlsys.runs.catalog.index import RunIndex
from mlsys.runs.discover import EARLY_FILES
from mlsys.runs.files import MANIFEST

logger = logging.getLogger(__name__)

MAX_RUNS = 20
REFIT = "refit"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Candidate:
    """One run to compare.

    Attributes
    ----------
    name : str
        Path relative to the common parent of the runs.
    path : str
        Run directory, or address in W&B or MLflow.
    status : str
    config, metrics : mapping
        The resolved config and the content of metrics.json.
    predictions : DataFrame or None
        Out-of-fold predictions; None if only the metrics are known.
    fingerprint : str or None
        Fingerprint of the raw data.
    fit_seconds, total_seconds : float or None
        Duration of all fits together, and of the whole run.
    predict_ms : float or None
        Milliseconds to score 1,000 rows.
    model_bytes : int or None
        Size of the saved model; None for a trial, which saves no model.
    """

    name: str
    path: str
    status: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    predictions: pd.DataFrame | None
    fingerprint: str | None = None
    fit_seconds: float | None = None
    total_seconds: float | None = None
    predict_ms: float | None = None
    model_bytes: int | None = None

    @property
    def sample_seed(self) -> object:
        """Seed of the sample of negatives; None if the run is older than such samples."""
        return (self.config.get("data") or {}).get("negatives_seed")


@dataclass(frozen=True)
class LeftOut:
    """A run that is not compared.

    Attributes
    ----------
    path, reason : str
    named : bool
        Whether the user named it, rather than a folder that contains it.
    """

    path: str
    reason: str
    named: bool


@dataclass(frozen=True)
class Gathered:
    """The runs to compare.

    Attributes
    ----------
    candidates : list of Candidate
        The reference comes first.
    left_out : list of LeftOut
    sorted_by : str or None
        The metric by which the reference is the best of a folder; None if the reference was named.
    selected_from : int
        Number of runs that the reference is the best of; 0 if it was named.
    """

    candidates: list[Candidate]
    left_out: list[LeftOut] = field(default_factory=list)
    sorted_by: str | None = None
    selected_from: int = 0


def gather(
    names: Sequence[str], *, to: str | None = None, top: int = 10, root: Path = Path(), index: RunIndex | None = None
) -> Gathered:
    """Open the runs that a user named.

    Parameters
    ----------
    names : sequence of str
        Run directories, ``latest``, and folders of runs such as a sweep.
    to : str, optional
        The reference; by default the first run.
    top : int
        Number of runs to take from a folder, best first.
    root : Path
        The working folder.
    index : RunIndex, optional
        Index of the runs below folders.

    Raises
    ------
    ConfigError
        If too few or too many runs are named.
    RunError
        If a run is not found, or fewer than two can be compared.
    """
    collector = _Collector(root, index or RunIndex(), top)
    for name in names if to is None else [to, *names]:
        collector.add(name)
    _check_number(collector, names)
    short = short_names([run.path for run in collector.runs])
    candidates = [candidate(run, name, root) for run, name in zip(collector.runs, short, strict=True)]
    return Gathered(candidates, collector.left_out, collector.sorted_by, collector.selected_from)


class _Collector:
    """Collects runs by name, without duplicates."""

    def __init__(self, root: Path, index: RunIndex, top: int) -> None:
        self.runs: list[Run] = []
        self.left_out: list[LeftOut] = []
        self.sorted_by: str | None = None
        self.selected_from = 0
        self._root, self._index, self._top = root, index, top

    def add(self, name: str) -> None:
        folder = next((base / name for base in self._bases() if (base / name).is_dir()), None)
        if folder is None or (folder / MANIFEST).is_file():
            self._open(find_run(name, self._root), named=True)
            return
        rows = self._index.rows(folder)
        if [row.path for row in rows] == [folder.resolve()] or (not rows and _has_traces(folder)):
            self._leave_out(folder, f"incomplete: no {MANIFEST} (killed or still running)", named=True)
        elif rows:
            self._add_folder(folder.resolve(), rows)
        else:
            find_run(name, self._root)  # raises, naming the closest match

    def _bases(self) -> tuple[Path, ...]:
        return (self._root, self._root / "outputs", self._root / "multirun")

    def _add_folder(self, folder: Path, rows: Sequence[RunRow]) -> None:
        """Take the best runs below a sweep, a grid or any folder, and record why others are left out."""
        refits = [row for row in rows if row.path.relative_to(folder).parts[0] == REFIT]
        usable = [row for row in rows if row.status in ("complete", "trial") and row not in refits]
        for row in rows:
            if row in refits:
                self._leave_out(row.path, "the refitted winner, evaluated on later folds than the search", named=False)
            elif row not in usable:
                self._leave_out(row.path, _reason(row), named=False)
        metric = _objective(usable)
        if not self.runs:
            self.sorted_by, self.selected_from = metric, len(usable)
        taken = 0
        for row in _best_first(usable, metric):
            if taken == self._top:
                break
            taken += self._open(row.path, named=False)

    def _open(self, path: Path, *, named: bool) -> bool:
        if any(run.path == path for run in self.runs):
            return False
        try:
            run = Run.open(path)
        except RunError as error:
            self._leave_out(path, str(error), named=named)
            return False
        if "metrics.json" not in run.manifest.files or PREDICTIONS not in run.manifest.files:
            self._leave_out(path, f"{run.manifest.status}: no metrics", named=named)
            return False
        self.runs.append(run)
        return True

    def _leave_out(self, path: Path, reason: str, *, named: bool) -> None:
        self.left_out.append(LeftOut(shown(path, self._root), reason, named))


def candidate(run: Run, name: str, root: Path) -> Candidate:
    """Return the candidate for a run directory."""
    timing = run.manifest.timing
    model = [entry.bytes for file, entry in run.manifest.files.items() if file.startswith("model/")]
    return Candidate(
        name=name,
        path=shown(run.path, root),
        status=run.manifest.status,
        config=run.config,
        metrics=_known_metrics(run, name),
        predictions=run.predictions,
        fingerprint=run.manifest.data_fingerprint,
        fit_seconds=timing.get("fit"),
        total_seconds=run.manifest.seconds,
        predict_ms=timing.get(PREDICT_MS),
        model_bytes=sum(model) if model else None,
    )


def _known_metrics(run: Run, name: str) -> dict[str, Any]:
    """Return a run's metrics without those that the metric table does not have: another version recorded them."""
    overall = run.metrics.get("overall", {})
    unknown = [metric for metric in overall if not is_metric(metric)]
    if unknown:
        logger.warning("%s has metrics that are not in the metric table, left out: %s", name, ", ".join(unknown))
    return {**run.metrics, "overall": {metric: value for metric, value in overall.items() if is_metric(metric)}}


def shown(path: Path, root: Path) -> str:
    """Return a path as users type it: relative to the working folder if it is below it."""
    base = root.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) and path != base else str(path)


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the paths relative to their common parent.

    Examples
    --------
    >>> short_names([Path("/runs/sweep/3"), Path("/runs/sweep/12")]), short_names([Path("/a/x"), Path("/b/x")])
    (['3', '12'], ['a/x', 'b/x'])
    """
    if len(paths) < 2:
        return [path.name for path in paths]
    common = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(common)) for path in paths]


def _has_traces(folder: Path) -> bool:
    return any((folder / name).exists() for name in EARLY_FILES)


def _reason(row: RunRow) -> str:
    return row.status if row.problem is None else f"{row.status}: {row.problem}"


def _objective(rows: Sequence[RunRow]) -> str | None:
    """Return the first objective of the runs that is in metrics.json, which excludes timings."""
    for row in rows:
        names = [row.objective] if isinstance(row.objective, str) else row.objective or []
        for name in (*names, FALLBACK_OBJECTIVE):
            if name in row.metrics and is_metric(name):
                return name
    return None


def _best_first(rows: Sequence[RunRow], metric: str | None) -> Iterator[RunRow]:
    def value(row: RunRow) -> float | None:
        return None if metric is None else row.metrics.get(metric)

    known = [row for row in rows if value(row) is not None]
    yield from sorted(known, key=lambda row: value(row) or 0.0, reverse=bool(metric) and greater_is_better(str(metric)))
    yield from (row for row in rows if value(row) is None)


def _check_number(collector: _Collector, names: Sequence[str]) -> None:
    number = len(collector.runs)
    if number > MAX_RUNS:
        problem = Problem("RUN…", f"{number} runs", f"2 to {MAX_RUNS}")
        raise ConfigError("The command", [problem], "Name fewer runs, or take fewer from a folder with --top.")
    if number < 2 and not collector.left_out:
        problem = Problem("RUN…", " ".join(names) or "nothing", f"2 to {MAX_RUNS} different runs, or a folder of runs")
        raise ConfigError("The command", [problem], "`mlsys runs` lists the runs.")
    if number < 2:
        reasons = "\n".join(f"  {left.path}: {left.reason}" for left in collector.left_out)
        raise RunError(f"Fewer than two runs can be compared. Left out:\n{reasons}\n`mlsys runs` lists the runs.")
