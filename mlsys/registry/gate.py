"""Promotion gate: the checks that a version must pass to become the champion."""

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
from mlsys.text import counted, joined

# Keys of schema.json that must be those of the champion.
TASK_KEYS = {"id": "entity", "as_of": "as-of", "target": "target", "positive": "positive value"}


@dataclass(frozen=True)
class GateCheck:
    """Result of one check.

    Attributes
    ----------
    check : str
        Name of the check.
    passed : bool
    message : str
        Finding, as a sentence.
    """

    check: str
    passed: bool
    message: str


@dataclass(frozen=True)
class GateResult:
    """Result of the gate for a version.

    Attributes
    ----------
    version : str
    champion : str or None
        Version that it was compared with.
    checks : tuple of GateCheck
    """

    version: str
    champion: str | None
    checks: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as it is kept in the history."""
        return {"champion": self.champion, "passed": self.passed, "checks": [asdict(check) for check in self.checks]}


def evaluate_gate(store: RegistryStore, state: State, version: str, settings: GateSettings) -> GateResult:
    """Check a version and compare it with the champion, if there is one.

    Parameters
    ----------
    store : RegistryStore
    state : State
        Versions and aliases of the model.
    version : str
    settings : GateSettings

    Returns
    -------
    GateResult

    Raises
    ------
    MlsysError
        If the version is damaged.
    """
    with ExitStack() as stack:
        run = stack.enter_context(store.opened(state, version))
        checks = [_golden_check(run, settings), _audit_check(run, settings)]
        if state.champion is None:
            checks.append(GateCheck("champion", True, "No champion yet to compare with."))
        else:
            try:
                champion = stack.enter_context(store.opened(state, state.champion))
            except MlsysError as error:
                checks.append(GateCheck("champion", False, f"The champion {state.champion} cannot be read: {error}"))
            else:
                checks += _champion_checks(champion, run, settings)
    return GateResult(version, state.champion, tuple(checks))


def _golden_check(run: Run, settings: GateSettings) -> GateCheck:
    try:
        check_golden(run, tolerance=settings.golden)
    except (MlsysError, KeyError, ValueError) as error:  # KeyError, ValueError: incomplete files
        return GateCheck("golden rows", False, str(error))
    return GateCheck("golden rows", True, f"Reproduced {counted(len(run.golden), 'golden row')}.")


def _audit_check(run: Run, settings: GateSettings) -> GateCheck:
    status = run.audit.get("status")
    not_passed = [f"{check['name']}: {check['status']}" for check in run.audit["checks"] if check["status"] != "pass"]
    message = f"Status: {status}{f' ({joined(not_passed)})' if not_passed else ''}."
    passed = status == "pass" or (status == "warn" and settings.audit == "warn")
    return GateCheck("audit", passed, message if passed else f"{message} See the run's card for what to do.")


def _champion_checks(champion: Run, run: Run, settings: GateSettings) -> Iterator[GateCheck]:
    current, challenger = (candidate(each, each.name, Path()) for each in (champion, run))
    differences = [*_task_differences(champion, run), *_label_differences(current, challenger)]
    if differences:
        yield GateCheck("task and label", False, f"Differs from the champion's: {'; '.join(differences)}.")
        return
    challenge = compare_with_champion(current, challenger, settings)
    yield GateCheck("task and label", challenge.same_label, challenge.label_message)
    if challenge.same_label:
        yield GateCheck(settings.metric, challenge.passed, challenge.message)


def _task_differences(champion: Run, run: Run) -> Iterator[str]:
    for key, name in TASK_KEYS.items():
        if champion.schema.get(key) != run.schema.get(key):
            yield f"the {name} is {run.schema.get(key)!r}, not {champion.schema.get(key)!r}"


def _label_differences(champion: Candidate, challenger: Candidate) -> Iterator[str]:
    if kind_of_data(champion) != kind_of_data(challenger):
        yield f"the data are {kind_of_data(challenger)}, not {kind_of_data(champion)}"
        return
    yield from other_label(champion, challenger)
    data = champion.config.get("data") or {}
    if data.get("kind") == "table" and data.get("id") is None and champion.fingerprint != challenger.fingerprint:
        yield "the table differs and data.id is not set, so the rows cannot be matched"
