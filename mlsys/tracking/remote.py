"""Runs to compare that a tracker knows: whole ones where their run directory was uploaded, else their numbers."""

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
    """One run as a tracker knows it.

    Attributes
    ----------
    id, name : str
        The tracker's own id; what people call it there.
    status : str
        How it ended: that of its manifest where the tracker knows it.
    config : mapping
        Nested.
    numbers : mapping of str to float
        By name; bounds of intervals are ``NAME/low`` and ``NAME/high``, times ``seconds``, ``seconds/STAGE`` and
        ``predict_ms``.
    fingerprint : str or None
        Of the raw data.
    """

    id: str
    name: str
    status: str
    config: Mapping[str, Any]
    numbers: Mapping[str, float]
    fingerprint: str | None = None

    def metrics(self) -> dict[str, Any]:
        """Return the numbers in the shape of metrics.json, as far as they are known.

        Examples
        --------
        >>> numbers = {"roc_auc": 0.9, "roc_auc/low": 0.8, "roc_auc/high": 0.95, "seconds": 3.0}
        >>> RemoteRun("1", "a", "complete", {}, numbers).metrics()
        {'overall': {'roc_auc': {'value': 0.9, 'low': 0.8, 'high': 0.95}}}
        """
        known = {name for name in self.numbers if is_metric(name)}
        ends = ("low", "high")
        return {
            "overall": {
                name: {"value": self.numbers[name]} | {end: self.numbers.get(f"{name}/{end}") for end in ends}
                for name in self.numbers
                if name in known
            }
        }


class Remote(Protocol):
    """A place that knows runs."""

    @property
    def address(self) -> str:
        """What tells it from others, without a password."""
        ...

    def runs(self) -> Sequence[RemoteRun]:
        """Return what it knows, the newest first."""
        ...

    def download(self, run: RemoteRun, folder: Path) -> bool:
        """Put a run's directory into a folder, if it was uploaded; return whether it was."""
        ...


def gather_remote(
    remote: Remote, names: Sequence[str], *, to: str | None = None, top: int = 10, cache: Path | None = None
) -> Gathered:
    """Take runs from a tracker.

    Parameters
    ----------
    remote : Remote
    names : sequence of str
        Ids or names of runs; without any, the best of all.
    to : str, optional
        The run to compare with.
    top : int
        How many to take where none is named.
    cache : Path, optional
        Where run directories are kept; by default in the user's cache.

    Raises
    ------
    ConfigError
        Where too few or too many are named.
    RunError
        Where there is no such run, or there are fewer than two.
    """
    known = list(remote.runs())
    chosen = _Chosen(known, remote.address)
    for name in ([] if to is None else [to]) + list(names):
        chosen.add(name)
    if not names:
        chosen.add_best(top)
    if len(chosen.runs) > MAX_RUNS:
        problem = Problem("RUN…", f"{len(chosen.runs)} runs", f"2 to {MAX_RUNS}")
        raise ConfigError("The command", [problem], "Name fewer, or take fewer with --top.")
    if len(chosen.runs) < 2:
        named = ", ".join(run.name for run in known[:10]) or "none"
        raise RunError(
            f"Fewer than two runs of {remote.address} can be compared ({len(chosen.runs)} of {len(known)}). "
            f"It has: {named}. Track more runs there, or name others."
        )
    store = cache or default_folder() / "remote"
    candidates = [_candidate(remote, run, store) for run in chosen.runs]
    return Gathered(candidates, chosen.left_out, chosen.sorted_by, chosen.selected_from)


@dataclass
class _Chosen:
    """Runs picked from those that a tracker knows, each once."""

    known: Sequence[RemoteRun]
    address: str
    runs: list[RemoteRun] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    sorted_by: str | None = None
    selected_from: int = 0

    def add(self, name: str) -> None:
        found = [run for run in self.known if name in (run.id, run.name)] or [
            run for run in self.known if run.name.endswith(f"/{name}")
        ]
        if not found:
            near = closest(name, [run.name for run in self.known])
            hint = f"The nearest is {near}. " if near else ""
            raise RunError(f"There is no run {name!r} in {self.address}. {hint}Give an id or a name as shown there.")
        self._take(found[0], named=True)  # of one name, the newest

    def add_best(self, top: int) -> None:
        usable = [run for run in self.known if run.status in ENDED and run not in self.runs]
        metric = next((name for run in usable if (name := _objective(run))), None)
        for run in self.known:
            if run.status not in ENDED:
                self.left_out.append(LeftOut(f"{self.address} {run.name}", run.status, named=False))
        if not self.runs:
            self.sorted_by, self.selected_from = metric, len(usable)
        ranked = [run for run in usable if metric in run.numbers]
        ranked.sort(key=lambda run: run.numbers[str(metric)], reverse=metric is not None and greater_is_better(metric))
        for run in ranked[:top]:
            self._take(run, named=False)

    def _take(self, run: RemoteRun, *, named: bool) -> None:
        if run in self.runs:
            return
        if not run.metrics()["overall"]:
            self.left_out.append(LeftOut(f"{self.address} {run.name}", f"{run.status}: it has no metrics", named))
        else:
            self.runs.append(run)


def _candidate(remote: Remote, run: RemoteRun, cache: Path) -> Candidate:
    where = f"{remote.address} {run.name}"
    folder = _fetched(remote, run, cache)
    if folder is not None:
        try:
            one = candidate(Run.open(folder), run.name, Path())
        except RunError as error:
            logger.warning("%s: the uploaded run directory cannot be used, its numbers are: %s", where, error)
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


def _fetched(remote: Remote, run: RemoteRun, cache: Path) -> Path | None:
    """Return a run's directory in the cache, downloaded unless it is there; None if it was never uploaded."""
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
    """Return dotted parameters as the config that they came from; their values are Python literals or text.

    Examples
    --------
    >>> nested({"model.depth": "3", "model.name": "a b", "tags": "['x']", "search": "None"})
    {'model': {'depth': 3, 'name': 'a b'}, 'tags': ['x'], 'search': None}
    """
    made: dict[str, Any] = {}
    for key, text in params.items():
        *parents, last = key.split(".")
        node = made
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = _literal(text)
    return made


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _objective(run: RemoteRun) -> str | None:
    objective = run.config.get("objective")
    names = [objective] if isinstance(objective, str) else list(objective or [])
    return next((name for name in (*names, FALLBACK_OBJECTIVE) if name in run.numbers and is_metric(name)), None)
