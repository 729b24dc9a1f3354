"""What a version must pass to become the champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlsys.errors import MlsysError
from mlsys.evaluation.comparison.candidates import Candidate, candidate
from mlsys.evaluation.comparison.comparability import kind_of_data, other_label
from mlsys.registry.challenge import compare_with_champion
from mlsys.registry.history import State
from mlsys.registry.settings import GateSettings
from mlsys.registry.store import RegistryStore
from mlsys.runs import Run
from mlsys.runs.golden import check_golden

SAME = {"id": "entity", "as_of": "as-of", "target": "target", "positive": "positive value"}


@dataclass(frozen=True)
class GateCheck:
    """One thing that was asked for.

    Attributes
    ----------
    check : str
        Its name.
    passed : bool
    message : str
        What was found.
    """

    check: str
    passed: bool
    message: str


@dataclass(frozen=True)
class GateResult:
    """What the gate says of a version.

    Attributes
    ----------
    version : str
    champion : str or None
        The version that it was held against.
    checks : tuple of Check
    """

    version: str
    champion: str | None
    checks: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found wanting."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return it for the history."""
        return {"champion": self.champion, "passed": self.passed, "checks": [asdict(check) for check in self.checks]}


def evaluate_gate(store: RegistryStore, state: State, version: str, settings: GateSettings) -> GateResult:
    """Hold a version against what is asked for, and against the champion where there is one.

    Parameters
    ----------
    store : RegistryStore
    state : State
        Of the model.
    version : str
    settings : GateSettings

    Returns
    -------
    Comparability

    Raises
    ------
    MlsysError
        If the version itself is damaged.
    """
    with ExitStack() as stack:
        run = stack.enter_context(store.opened(state, version))
        checks = [_golden(run, settings), _audit(run, settings)]
        if state.champion is None:
            checks.append(GateCheck("champion", True, "There is none yet to be compared with."))
        else:
            try:
                champion = stack.enter_context(store.opened(state, state.champion))
            except MlsysError as error:
                checks.append(GateCheck("champion", False, f"The champion {state.champion} cannot be read: {error}"))
            else:
                checks += _against(champion, run, settings)
    return GateResult(version, state.champion, tuple(checks))


def _golden(run: Run, settings: GateSettings) -> GateCheck:
    try:
        check_golden(run, tolerance=settings.golden)
    except (MlsysError, KeyError, ValueError) as error:  # the latter two: files that lack what golden rows need
        return GateCheck("golden rows", False, str(error))
    return GateCheck("golden rows", True, f"All {len(run.golden)} are reproduced.")


def _audit(run: Run, settings: GateSettings) -> GateCheck:
    status = run.audit.get("status")
    wanting = [f"{check['name']} ({check['status']})" for check in run.audit["checks"] if check["status"] != "pass"]
    found = f"Its verdict is {status}{': ' + ', '.join(wanting) if wanting else ''}."
    passed = status == "pass" or (status == "warn" and settings.audit == "warn")
    return GateCheck("audit", passed, found if passed else f"{found} The run's card says what to do.")


def _against(champion: Run, run: Run, settings: GateSettings) -> Iterator[GateCheck]:
    ours, theirs = (candidate(each, each.name, Path()) for each in (champion, run))
    others = [*_other_task(champion, run), *_other_label(ours, theirs)]
    if others:
        yield GateCheck("task and label", False, f"Other than the champion's: {'; '.join(others)}.")
        return
    found = compare_with_champion(ours, theirs, settings)
    yield GateCheck("task and label", found.same_label, found.label)
    if found.same_label:
        yield GateCheck(settings.metric, found.passed, found.message)


def _other_task(champion: Run, run: Run) -> Iterator[str]:
    for key, word in SAME.items():
        if champion.schema.get(key) != run.schema.get(key):
            yield f"the {word} is {run.schema.get(key)!r}, not {champion.schema.get(key)!r}"


def _other_label(ours: Candidate, theirs: Candidate) -> Iterator[str]:
    if kind_of_data(ours) != kind_of_data(theirs):
        yield f"it is made from {kind_of_data(theirs)}, not from {kind_of_data(ours)}"
        return
    yield from other_label(ours, theirs)
    data = ours.config.get("data") or {}
    if data.get("kind") == "table" and data.get("id") is None and ours.fingerprint != theirs.fingerprint:
        yield "the table is another and names no data.id, so it cannot be told which rows are the same"
