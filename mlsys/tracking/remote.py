"""Get runs from a tracker to compare them: the run directory if it was uploaded, otherwise only the numbers."""

from __future__ import annotations

import ast
import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from mlsys.data.cache import default_folder
from mlsys.errors import ConfigError, Problem, RunError, closest
from mlsys.evaluation.comparison.candidates import MAX_RUNS, Candidate, Gathered, LeftOut, candidate
from mlsys.evaluation.metric_table import FALLBACK_OBJECTIVE, PREDICT_MS, greater_is_better, is_metric
from mlsys.runs import Run
from mlsys.runs.files import MANIFEST

logger = logging.getLogger(__name__)

ENDED = ("complete", "trial")


@dataclass(frozen=True)
class RemoteRun:
    """One run in a tracker.

    Attributes
    ----------
    id, name : str
        Id and display name in the tracker.
    status : str
        Status from the run's manifest, or else the tracker's own.
    config : mapping
        Nested config.
    numbers : mapping of str to float
        Numbers by name; bounds of intervals are ``NAME/low`` and ``NAME/high``, times are ``seconds``,
        ``seconds/STAGE`` and ``predict_ms``.
    fingerprint : str or None
        Fingerprint of the raw data.
    """

    id: str
    name: str
    status: str
    config: Mapping[str, Any]
    numbers: Mapping[str, float]
    fingerprint: str | None = None

    def metrics(self) -> dict[str, Any]:
        """Return the numbers that are metrics, in the format of metrics.json.

        Examples
        --------
        >>> numbers = {"roc_auc": 0.9, "roc_auc/low": 0.8, "roc_auc/high": 0.95, "seconds": 3.0}
        >>> RemoteRun("1", "a", "complete", {}, numbers).metrics()
        {'overall': {'roc_auc': {'value': 0.9, 'low': 0.8, 'high': 0.95}}}
        """
        known = {name for name in self.numbers if is_metric(name)}
        bounds = ("low", "high")
        return {
            "overall": {
                name: {"value": self.numbers[name]} | {end: self.numbers.get(f"{name}/{end}") for end in bounds}
                for name in self.numbers
                if name in known
            }
        }


class Remote(Protocol):
    """Read access to a tracker."""

    @property
    def address(self) -> str:
        """Unique address, without a password."""
        ...

    def runs(self) -> Sequence[RemoteRun]:
        """Return the runs, newest first."""
        ...

    def download(self, run: RemoteRun, folder: Path) -> bool:
        """Download a run directory into a folder; return False if it was never uploaded."""
        ...


def gather_remote(
    remote: Remote, names: Sequence[str], *, to: str | None = None, top: int = 10, cache: Path | None = None
) -> Gathered:
    """Get runs from a tracker.

    Parameters
    ----------
    remote : Remote
    names : sequence of str
        Ids or names of runs; if empty, the best runs are used.
    to : str, optional
        Run to compare the others with.
    top : int
        Number of runs to use if none is named.
    cache : Path, optional
        Folder for downloaded run directories; by default in the user's cache.

    Raises
    ------
    ConfigError
        If too many runs are named.
    RunError
        If a run is not found, or fewer than two can be compared.
    """
    available = list(remote.runs())
    selection = _Selection(available, remote.address)
    for name in ([] if to is None else [to]) + list(names):
        selection.add(name)
    if not names:
        selection.add_best(top)
    if len(selection.runs) > MAX_RUNS:
        problem = Problem("RUN…", f"{len(selection.runs)} runs", f"2 to {MAX_RUNS}")
        raise ConfigError("The command", [problem], "Name fewer runs, or lower --top.")
    if len(selection.runs) < 2:
        listing = ", ".join(run.name for run in available[:10]) or "none"
        raise RunError(
            f"Fewer than two runs in {remote.address} can be compared ({len(selection.runs)} of {len(available)}). "
            f"Available runs: {listing}. Track more runs there, or name others."
        )
    store = cache or default_folder() / "remote"
    candidates = [_candidate(remote, run, store) for run in selection.runs]
    return Gathered(candidates, selection.left_out, selection.sorted_by, selection.selected_from)


@dataclass
class _Selection:
    """Runs selected from those in a tracker, without duplicates."""

    available: Sequence[RemoteRun]
    address: str
    runs: list[RemoteRun] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    sorted_by: str | None = None
    selected_from: int = 0

    def add(self, name: str) -> None:
        matches = [run for run in self.available if name in (run.id, run.name)] or [
            run for run in self.available if run.name.endswith(f"/{name}")
        ]
        if not matches:
            near = closest(name, [run.name for run in self.available])
            hint = f" (closest: {near})" if near else ""
            raise RunError(f"Run {name!r} not found in {self.address}{hint}. Use an id or name as shown there.")
        self._add(matches[0], named=True)  # the newest, if several have the name

    def add_best(self, top: int) -> None:
        usable = [run for run in self.available if run.status in ENDED and run not in self.runs]
        metric = next((name for run in usable if (name := _objective(run))), None)
        for run in self.available:
            if run.status not in ENDED:
                self.left_out.append(LeftOut(f"{self.address} {run.name}", run.status, named=False))
        if not self.runs:
            self.sorted_by, self.selected_from = metric, len(usable)
        ranked = [run for run in usable if metric in run.numbers]
        ranked.sort(key=lambda run: run.numbers[str(metric)], reverse=metric is not None and greater_is_better(metric))
        for run in ranked[:top]:
            self._add(run, named=False)

    def _add(self, run: RemoteRun, *, named: bool) -> None:
        if run in self.runs:
            return
        if not run.metrics()["overall"]:
            self.left_out.append(LeftOut(f"{self.address} {run.name}", f"{run.status}: no metrics", named))
        else:
            self.runs.append(run)


def _candidate(remote: Remote, run: RemoteRun, cache: Path) -> Candidate:
    where = f"{remote.address} {run.name}"
    folder = _cached_download(remote, run, cache)
    if folder is not None:
        try:
            one = candidate(Run.open(folder), run.name, Path())
        except RunError as error:
            logger.warning("%s: the uploaded run directory is unusable, so only its numbers are used: %s", where, error)
        else:
            return Candidate(**{**vars(one), "path": where})
    return Candidate(
        name=run.name,
        path=where,
        status=run.status,
        config=run.config,
        metrics=run.metrics(),
        predictions=None,
        fingerprint=run.fingerprint,
        fit_seconds=run.numbers.get("seconds/fit"),
        total_seconds=run.numbers.get("seconds"),
        predict_ms=run.numbers.get(PREDICT_MS),
    )


def _cached_download(remote: Remote, run: RemoteRun, cache: Path) -> Path | None:
    """Return the cached run directory, downloading it if needed; None if it was never uploaded."""
    key = hashlib.sha256(f"{remote.address} {run.id}".encode()).hexdigest()[:24]
    folder, scratch = cache / key, cache / f".{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{key}.lock"):
        if not (folder / MANIFEST).is_file():
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            if remote.download(run, scratch) and (scratch / MANIFEST).is_file():
                scratch.rename(folder)
            shutil.rmtree(scratch, ignore_errors=True)
    return folder if (folder / MANIFEST).is_file() else None


def nested(params: Mapping[str, str]) -> dict[str, Any]:
    """Return the nested config that dotted parameters came from; values are Python literals or text.

    Examples
    --------
    >>> nested({"model.depth": "3", "model.name": "a b", "tags": "['x']", "search": "None"})
    {'model': {'depth': 3, 'name': 'a b'}, 'tags': ['x'], 'search': None}
    """
    config: dict[str, Any] = {}
    for key, text in params.items():
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = _literal(text)
    return config


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _objective(run: RemoteRun) -> str | None:
    objective = run.config.get("objective")
    names = [objective] if isinstance(objective, str) else list(objective or [])
    return next((name for name in (*names, FALLBACK_OBJECTIVE) if name in run.numbers and is_metric(name)), None)
