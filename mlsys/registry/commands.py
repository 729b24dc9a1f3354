"""Commands on registered models, for any kind of registry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mlsys.errors import ConfigError, Problem, RegistryError
from mlsys.registry.bump import Bump, required_bump, resolve_bump
from mlsys.registry.gate import GateResult, evaluate_gate
from mlsys.registry.history import Entry, State
from mlsys.registry.names import CHAMPION, Part, Reference, Version, check_alias, check_name
from mlsys.registry.settings import GateSettings
from mlsys.registry.store import Draft, Plan, RegistryStore
from mlsys.runs import Run

FIRST = Version(1, 0, 0)
MAX_ATTEMPTS = 5  # times to run the gate again after another command changed the champion meanwhile


@dataclass(frozen=True)
class Added:
    """Result of adding a run.

    Attributes
    ----------
    version : str
    bump : Bump or None
        Part of the version that was bumped, and why; None if the run was added before.
    """

    version: str
    bump: Bump | None


@dataclass(frozen=True)
class Promoted:
    """Result of promoting a version.

    Attributes
    ----------
    version : str
    gate : GateResult or None
        Result of the gate; None if the version is the champion already.
    entry : Entry or None
        Entry added to the history; None if nothing changed.
    """

    version: str
    gate: GateResult | None
    entry: Entry | None

    @property
    def is_champion(self) -> bool:
        """Whether the version is the champion now."""
        return self.gate is None or self.entry is not None


def add(store: RegistryStore, run: Run, name: str, *, bump: Part | None = None, reason: str | None = None) -> Added:
    """Add a run as the next version of a model.

    Parameters
    ----------
    store : RegistryStore
    run : Run
        A complete run whose files were compared with their digests.
    name : str
        Name of a new or existing model.
    bump : {"major", "minor", "patch"}, optional
        Part of the version to bump; the smallest one that the changes allow by default.
    reason : str, optional
        Recorded in the history.

    Raises
    ------
    RegistryError, RunError
        If the run cannot become a version.
    ConfigError
        If the changes require a larger part than `bump`.
    """
    check_name(name)
    if run.manifest.status != "complete":
        raise RegistryError(
            f"{run.path} is a {run.manifest.status} run, which has no model to serve. Add a complete run, such as the "
            "`best` run of a sweep."
        )
    digest = hashlib.sha256(run.manifest.to_text().encode()).hexdigest()
    done: list[Added] = []

    def plan(state: State) -> Draft | None:
        known = [version for version, entry in state.added.items() if entry.details.get("manifest") == digest]
        if known:
            done.append(Added(known[-1], None))
            return None
        version, resolved = _next_version(store, state, run, bump)
        done.append(Added(version, resolved))
        details = {"run": str(run.path), "manifest": digest, "part": resolved.part, "changes": list(resolved.reasons)}
        return Draft("add", None, state.latest, version, reason, details)

    store.add(name, run, plan)
    return done[-1]


def _next_version(store: RegistryStore, state: State, run: Run, requested: Part | None) -> tuple[str, Bump]:
    if state.latest is None:
        return str(FIRST), Bump("major", ("the first version",))
    if requested == "major":  # no change can require more
        bump = Bump("major", ("--bump",))
    else:
        with store.opened(state, state.latest) as before:
            bump = resolve_bump(required_bump(before, run), requested)
    return str(Version.parse(state.latest).bumped(bump.part)), bump


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
        A name alone means the latest version.
    settings : GateSettings
    reason : str, optional
        Recorded in the history.
    force : bool
        Promote the version even if the gate fails.

    Raises
    ------
    RegistryError
        If the version is not found, or other commands changed the champion during every attempt.
    """
    for _ in range(MAX_ATTEMPTS):
        state = store.state(reference.name)
        version = state.version_of(reference, state.latest)
        if version == state.champion:
            return Promoted(version, None, None)
        gate = evaluate_gate(store, state, version, settings)
        if not gate.passed and not force:
            return Promoted(version, gate, None)
        draft = Draft("promote", CHAMPION, state.champion, version, reason, _gate_details(gate, settings))
        entry = store.move(reference.name, _unless_moved(draft))
        if entry is not None:
            return Promoted(version, gate, entry)
    raise RegistryError(
        f"Other commands changed the champion of {reference.name} {MAX_ATTEMPTS} times while the gate was running. "
        "Nothing was changed; try again."
    )


def _unless_moved(draft: Draft) -> Plan:
    """Return a plan that does nothing if the champion changed since the gate ran."""
    return lambda state: draft if state.champion == draft.before else None


def _gate_details(gate: GateResult, settings: GateSettings) -> dict[str, object]:
    return {"forced": not gate.passed, "gate": gate.to_dict(), "settings": settings.model_dump()}


def rollback(store: RegistryStore, name: str, *, reason: str | None = None) -> Entry:
    """Make the previous champion the champion again, without the gate, which it passed before.

    Raises
    ------
    RegistryError
        If there is no previous champion.
    RunError
        If the previous champion is damaged.
    """

    def plan(state: State) -> Draft:
        if len(state.champions) < 2:
            past = f"{state.champion} is its first one" if state.champion else "it never had one"
            raise RegistryError(f"{name} has no previous champion: {past}. Nothing was changed.")
        current, before = state.champions[-1], state.champions[-2]
        with store.opened(state, before):
            return Draft("rollback", CHAMPION, current, before, reason)

    entry = store.move(check_name(name), plan)
    assert entry is not None
    return entry


def set_alias(store: RegistryStore, reference: Reference, alias: str, *, reason: str | None = None) -> Entry | None:
    """Point an alias at a version; return None if it points there already.

    Raises
    ------
    RegistryError
        If the version is not found.
    ConfigError
        If the alias is champion, which only `promote` and `rollback` move.
    """
    _check_movable(alias)

    def plan(state: State) -> Draft | None:
        version = state.version_of(reference, state.latest)
        before = state.aliases.get(alias)
        if version == before:
            return None
        with store.opened(state, version):
            return Draft("alias", alias, before, version, reason)

    return store.move(reference.name, plan)


def remove_alias(store: RegistryStore, name: str, alias: str, *, reason: str | None = None) -> Entry:
    """Remove an alias.

    Raises
    ------
    RegistryError
        If the alias is not found.
    ConfigError
        If the alias is champion.
    """
    _check_movable(alias)

    def plan(state: State) -> Draft:
        return Draft("unalias", alias, state.version_of(Reference(name, alias=alias), None), None, reason)

    entry = store.move(check_name(name), plan)
    assert entry is not None
    return entry


def _check_movable(alias: str) -> None:
    if check_alias(alias) == CHAMPION:
        problem = Problem("ALIAS", CHAMPION, "another alias; only `mlsys registry promote` and `rollback` move it")
        raise ConfigError("The command", [problem], "Nothing was changed.")
