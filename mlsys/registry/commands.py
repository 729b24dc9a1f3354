"""What can be done to a registered model, wherever it is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mlsys.errors import ConfigError, Problem, RegistryError
from mlsys.registry.bump import Rise, needed, raised
from mlsys.registry.gate import GateResult, evaluate_gate
from mlsys.registry.history import Entry, State
from mlsys.registry.names import CHAMPION, Part, Reference, Version, check_alias, check_name
from mlsys.registry.settings import GateSettings
from mlsys.registry.store import Draft, Plan, RegistryStore
from mlsys.runs import Run

FIRST = Version(1, 0, 0)
TRIES = 5  # times that another command may change the champion while the gate is at work


@dataclass(frozen=True)
class Added:
    """What became of a run that was to be added.

    Attributes
    ----------
    version : str
    rise : Rise or None
        Which part of the version rose, and why; None where the run is that version already.
    """

    version: str
    rise: Rise | None


@dataclass(frozen=True)
class Promoted:
    """What became of a version that was to be champion.

    Attributes
    ----------
    version : str
    verdict : GateResult or None
        The gate's; None where it is the champion already.
    entry : Entry or None
        What was done; None where nothing was.
    """

    version: str
    verdict: GateResult | None
    entry: Entry | None

    @property
    def is_champion(self) -> bool:
        """Whether the version is the champion now."""
        return self.verdict is None or self.entry is not None


def add(store: RegistryStore, run: Run, name: str, *, bump: Part | None = None, reason: str | None = None) -> Added:
    """Keep a run as the next version of a model.

    Parameters
    ----------
    store : RegistryStore
    run : Run
        Complete, every file compared with its digest.
    name : str
        Of the model, new or not.
    bump : {"major", "minor", "patch"}, optional
        Which part of the version rises at least.
    why : str, optional
        For the history.

    Raises
    ------
    RegistryError, RunError
        If it cannot be a version.
    ConfigError
        If `bump` is less than what changed asks for.
    """
    check_name(name)
    if run.manifest.status != "complete":
        raise RegistryError(
            f"{run.path} is a {run.manifest.status} run, which has no model to be served. Add a complete one: of a "
            "sweep its `best`."
        )
    digest = hashlib.sha256(run.manifest.to_text().encode()).hexdigest()
    done: list[Added] = []

    def plan(state: State) -> Draft | None:
        known = [version for version, entry in state.added.items() if entry.details.get("manifest") == digest]
        if known:
            done.append(Added(known[-1], None))
            return None
        version, rise = _next(store, state, run, bump)
        done.append(Added(version, rise))
        details = {"run": str(run.path), "manifest": digest, "part": rise.part, "changes": list(rise.reasons)}
        return Draft("add", None, state.latest, version, reason, details)

    store.add(name, run, plan)
    return done[-1]


def _next(store: RegistryStore, state: State, run: Run, bump: Part | None) -> tuple[str, Rise]:
    if state.latest is None:
        return str(FIRST), Rise("major", ("the first version",))
    if bump == "major":  # nothing that changed could ask for more
        rise = Rise("major", ("--bump",))
    else:
        with store.opened(state, state.latest) as before:
            rise = raised(needed(before, run), bump)
    return str(Version.parse(state.latest).raised(rise.part)), rise


def promote(
    store: RegistryStore,
    reference: Reference,
    settings: GateSettings,
    *,
    reason: str | None = None,
    force: bool = False,
) -> Promoted:
    """Make a version the champion if it passes the gate.

    Parameters
    ----------
    store : RegistryStore
    reference : Reference
        A bare name is the latest version.
    settings : GateSettings
    why : str, optional
        For the history.
    force : bool
        Make it the champion whatever the gate finds.

    Raises
    ------
    RegistryError
        If there is no such version, or other commands never let the gate finish.
    """
    for _ in range(TRIES):
        state = store.state(reference.name)
        version = state.version_of(reference, state.latest)
        if version == state.champion:
            return Promoted(version, None, None)
        verdict = evaluate_gate(store, state, version, settings)
        if not verdict.passed and not force:
            return Promoted(version, verdict, None)
        draft = Draft("promote", CHAMPION, state.champion, version, reason, _findings(verdict, settings))
        entry = store.move(reference.name, _unless_moved(draft))
        if entry is not None:
            return Promoted(version, verdict, entry)
    raise RegistryError(
        f"Other commands changed the champion of {reference.name} {TRIES} times while the gate was at work. Nothing "
        "was changed; try again."
    )


def _unless_moved(draft: Draft) -> Plan:
    """Do as drafted if the champion is still the one that the gate saw."""
    return lambda state: draft if state.champion == draft.before else None


def _findings(verdict: GateResult, settings: GateSettings) -> dict[str, object]:
    return {"forced": not verdict.passed, "gate": verdict.to_dict(), "settings": settings.model_dump()}


def rollback(store: RegistryStore, name: str, *, reason: str | None = None) -> Entry:
    """Return to the champion before this one; no gate is asked, since it was champion before.

    Raises
    ------
    RegistryError
        If there was none before.
    RunError
        If it is damaged.
    """

    def plan(state: State) -> Draft:
        if len(state.champions) < 2:
            held = f"{state.champion} is the only champion that it had" if state.champion else "it never had one"
            raise RegistryError(f"{name} has no previous champion: {held}. Nothing was changed.")
        current, before = state.champions[-1], state.champions[-2]
        with store.opened(state, before):
            return Draft("rollback", CHAMPION, current, before, reason)

    entry = store.move(check_name(name), plan)
    assert entry is not None
    return entry


def set_alias(store: RegistryStore, reference: Reference, alias: str, *, reason: str | None = None) -> Entry | None:
    """Let an alias stand for a version; None where it does already.

    Raises
    ------
    RegistryError
        If there is no such version.
    ConfigError
        For champion, which only `promote` and `rollback` move.
    """
    _check_free(alias)

    def plan(state: State) -> Draft | None:
        version = state.version_of(reference, state.latest)
        before = state.aliases.get(alias)
        if version == before:
            return None
        with store.opened(state, version):
            return Draft("alias", alias, before, version, reason)

    return store.move(reference.name, plan)


def remove_alias(store: RegistryStore, name: str, alias: str, *, reason: str | None = None) -> Entry:
    """Let an alias stand for nothing.

    Raises
    ------
    RegistryError
        If it does not stand for anything.
    ConfigError
        For champion.
    """
    _check_free(alias)

    def plan(state: State) -> Draft:
        return Draft("unalias", alias, state.version_of(Reference(name, alias=alias), None), None, reason)

    entry = store.move(check_name(name), plan)
    assert entry is not None
    return entry


def _check_free(alias: str) -> None:
    if check_alias(alias) == CHAMPION:
        problem = Problem("ALIAS", CHAMPION, "any other: `mlsys registry promote` and `rollback` move this one")
        raise ConfigError("The command", [problem], "Nothing was changed.")
