"""Which runs are compared: what a user named, opened and checked, and what had to be left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mlsys.errors import ConfigError, Problem, RunError
from mlsys.evaluation.metric_table import FALLBACK_OBJECTIVE, PREDICT_MS, greater_is_better
from mlsys.runs import Run, RunRow, find_run
from mlsys.runs.catalog.index import RunIndex
from mlsys.runs.discover import EARLY_FILES
from mlsys.runs.files import MANIFEST

MOST = 20
REFIT = "refit"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Candidate:
    """One run to compare.

    Attributes
    ----------
    name : str
        The part of its path that tells it from the others.
    path : str
        Where it is: a run directory, or an address in W&B or MLflow.
    status : str
    config, metrics : mapping
        The resolved config; the shape of metrics.json.
    predictions : DataFrame or None
        Out-of-fold rows; None where only the numbers are known.
    fingerprint : str or None
        Of the raw data.
    fit_seconds, total_seconds : float or None
        What all fits together, and the whole run, took.
    predict_ms : float or None
        Milliseconds that scoring 1,000 rows took.
    model_bytes : int or None
        Size of the saved model; None for a trial, which keeps none.
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


@dataclass(frozen=True)
class LeftOut:
    """A run that is not compared.

    Attributes
    ----------
    path, reason : str
    named : bool
        Whether it was asked for by name, rather than found in a sweep.
    """

    path: str
    reason: str
    named: bool


@dataclass(frozen=True)
class Gathered:
    """What there is to compare.

    Attributes
    ----------
    candidates : list of Candidate
        The one to compare with first.
    left_out : list of LeftOut
    sorted_by : str or None
        The metric by which the first was found to be the best of a sweep; None where it was named.
    tried : int
        How many runs the first is the best of; 0 where it was named.
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
        Run directories, ``latest``, and folders of runs such as a sweep's.
    to : str, optional
        The run to compare with; the first one if not given.
    top : int
        How many runs of a folder to take, the best first.
    root : Path
        The working folder.
    index : RunIndex, optional
        For folders of runs.

    Raises
    ------
    ConfigError
        Where too few or too many are named.
    RunError
        Where there is no such run, or fewer than two can be compared.
    """
    found = _Finder(root, index or RunIndex(), top)
    for name in names if to is None else [to, *names]:
        found.add(name)
    _check_number(found, names)
    short = short_names([run.path for run in found.runs])
    candidates = [candidate(run, name, root) for run, name in zip(found.runs, short, strict=True)]
    return Gathered(candidates, found.left_out, found.sorted_by, found.selected_from)


class _Finder:
    """Collects runs by name, each once."""

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
            self._leave_out(folder, f"incomplete: no {MANIFEST} (it was killed, or still runs)", named=True)
        elif rows:
            self._add_folder(folder.resolve(), rows)
        else:
            find_run(name, self._root)  # which says what there is instead

    def _bases(self) -> tuple[Path, ...]:
        return (self._root, self._root / "outputs", self._root / "multirun")

    def _add_folder(self, folder: Path, rows: Sequence[RunRow]) -> None:
        """Take the best runs of a sweep, a grid or any folder, and say why others cannot be taken."""
        refits = [row for row in rows if row.path.relative_to(folder).parts[0] == REFIT]
        usable = [row for row in rows if row.status in ("complete", "trial") and row not in refits]
        for row in rows:
            if row in refits:
                self._leave_out(row.path, "the winner refitted, measured on later folds than the search's", named=False)
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
            self._leave_out(path, f"{run.manifest.status}: it has no metrics", named=named)
            return False
        self.runs.append(run)
        return True

    def _leave_out(self, path: Path, reason: str, *, named: bool) -> None:
        self.left_out.append(LeftOut(shown(path, self._root), reason, named))


def candidate(run: Run, name: str, root: Path) -> Candidate:
    """Return what is compared of a run directory."""
    timing = run.manifest.timing
    model = [entry.bytes for file, entry in run.manifest.files.items() if file.startswith("model/")]
    return Candidate(
        name=name,
        path=shown(run.path, root),
        status=run.manifest.status,
        config=run.config,
        metrics=run.metrics,
        predictions=run.predictions,
        fingerprint=run.manifest.data_fingerprint,
        fit_seconds=timing.get("fit"),
        total_seconds=run.manifest.seconds,
        predict_ms=timing.get(PREDICT_MS),
        model_bytes=sum(model) if model else None,
    )


def shown(path: Path, root: Path) -> str:
    """Return a path as people type it: relative to the working folder where it lies below it."""
    base = root.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) and path != base else str(path)


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the ends of paths that tell them apart.

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
    """Return the first metric that the runs were judged by; what is measured in seconds is in no metrics.json."""
    for row in rows:
        names = [row.objective] if isinstance(row.objective, str) else row.objective or []
        for name in (*names, FALLBACK_OBJECTIVE):
            if name in row.metrics:
                return name
    return None


def _best_first(rows: Sequence[RunRow], metric: str | None) -> Iterator[RunRow]:
    def value(row: RunRow) -> float | None:
        return None if metric is None else row.metrics.get(metric)

    known = [row for row in rows if value(row) is not None]
    yield from sorted(known, key=lambda row: value(row) or 0.0, reverse=bool(metric) and greater_is_better(str(metric)))
    yield from (row for row in rows if value(row) is None)


def _check_number(found: _Finder, names: Sequence[str]) -> None:
    number = len(found.runs)
    if number > MOST:
        problem = Problem("RUN…", f"{number} runs", f"2 to {MOST}")
        raise ConfigError("The command", [problem], "Name fewer, or take fewer of a folder with --top.")
    if number < 2 and not found.left_out:
        problem = Problem("RUN…", " ".join(names) or "nothing", f"2 to {MOST} different runs, or a folder of runs")
        raise ConfigError("The command", [problem], "`mlsys runs` lists what there is.")
    if number < 2:
        reasons = "\n".join(f"  {left.path}: {left.reason}" for left in found.left_out)
        raise RunError(f"Fewer than two runs can be compared; left out:\n{reasons}\n`mlsys runs` lists what there is.")
