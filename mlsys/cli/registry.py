"""`mlsys registry`: versions of models, and which of them is served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mlsys.cli.output import AsJson, print_json, print_rows
from mlsys.errors import ConfigError, Problem, RegistryError

if TYPE_CHECKING:
    from mlsys.registry.commands import Promoted
    from mlsys.registry.gate import GateCheck
    from mlsys.registry.history import Entry, State
    from mlsys.registry.names import Reference
    from mlsys.registry.store import RegistryStore

app = typer.Typer(
    no_args_is_help=True, help="Keep versions of models, and say which of them is served.", rich_markup_mode=None
)
Where = Annotated[
    str,
    typer.Option(
        "--registry",
        envvar="MLSYS_REGISTRY",
        metavar="PLACE",
        help="A folder, or mlflow:URI, such as mlflow:http://HOST:5000; `mlflow` is mlflow:sqlite:///mlflow.db.",
    ),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, for the history.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")]
Versioned = Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="A version; NAME is the latest one.")]
FOLDER = "registry"


@app.command()
def add(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or `latest`.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The model that it is a version of; made if it is new.")],
    bump: Annotated[
        str | None, typer.Option(metavar="major|minor|patch", help="Raise the version by this at least.")
    ] = None,
    reason: Reason = None,
    registry: Where = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Keep a copy of a run as the next version of a model.

    major rises when the inputs change, minor when the config does, patch otherwise. A run that is a version already is
    not added again.

    Example: mlsys registry add latest --name conversion
    """
    from mlsys.registry import commands
    from mlsys.registry.names import PARTS
    from mlsys.runs import Run, find_run

    part = next((each for each in PARTS if each == bump), None)
    if bump is not None and part is None:
        raise ConfigError("The command", [Problem("--bump", bump, "major, minor, patch")], "Nothing was added.")
    opened = Run.open(find_run(run))
    added = commands.add(_store(registry), opened, name, bump=part, reason=reason)
    if as_json:
        bumped = None if added.bump is None else asdict(added.bump)
        print_json({"name": name, "version": added.version, "run": str(opened.path), "bump": bumped})
        return
    if added.bump is None:
        _say(f"{name} {added.version} is this run already: nothing was added.")
        return
    _say(f"Added {name} {added.version} ({added.bump.part}: {_shortened(added.bump.reasons)}).")
    _say(f"Next: mlsys registry promote {name}@{added.version}")


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One model; without, all of them.")] = None,
    registry: Where = FOLDER,
    as_json: AsJson = False,
) -> None:
    """List versions, the latest first, with their aliases.

    Example: mlsys registry list
    """
    store = _store(registry)
    states, problems = [], []
    for each in store.names() if name is None else [_bare(name)]:
        try:
            states.append(store.state(each))
        except RegistryError as error:  # one damaged model must not hide all others
            problems.append(str(error))
    rows = [row for state in states for row in _versions(state)]
    if as_json:
        print_json(rows)
    elif rows or not problems:
        empty = f"No models in {store.where}: `mlsys registry add latest --name NAME` adds one."
        print_rows([row | {"added": _moment(row["added"])} for row in rows], as_json=False, empty=empty)
    if problems:
        raise RegistryError("\n".join(problems))


@app.command()
def show(reference: Versioned, registry: Where = FOLDER, as_json: AsJson = False) -> None:
    """Show one version: where it is from, what was measured, what was done to it.

    Example: mlsys registry show conversion@champion
    """
    store, wanted = _store(registry), _reference(reference)
    state = store.state(wanted.name)
    version = state.version_of(wanted, state.latest)
    with store.opened(state, version) as run:
        found = {
            "name": state.name,
            "version": version,
            "aliases": state.aliases_of(version),
            "path": store.address(state, version),
            "added": state.added[version].to_dict(),
            "metrics": run.metrics.get("overall", {}),
            "audit": run.audit.get("status"),
            "inputs": len(run.schema["inputs"]),
            "history": [entry.to_dict() for entry in state.entries if version in (entry.before, entry.after)],
        }
    if as_json:
        print_json(found)
        return
    _facts(found)
    print_rows([_line(entry) for entry in state.entries if version in (entry.before, entry.after)], **TABLE)


@app.command()
def promote(
    reference: Versioned,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="What must not be worse than the champion's.")
    ] = None,
    margin: Annotated[float | None, typer.Option(min=0, help="By how much it may be worse, in its own unit.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote whatever the gate finds; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the history.")] = None,
    registry: Where = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion if it passes the gate; exit code 1 if it does not.

    The gate: golden rows reproduced, audit clean, the champion's task and label, and on the test rows that both scored
    a metric that is not worse, by a paired interval. conf/gate.yaml says what is asked for; a copy of it in the
    registry's folder is read instead.

    Example: mlsys registry promote conversion@1.1.0 --margin 0.01
    """
    from mlsys.registry import commands
    from mlsys.registry.settings import read_settings

    if force and not (reason or "").strip():
        problem = Problem("--force", "no --reason", '--reason "TEXT", which the history keeps')
        raise ConfigError("The command", [problem], "Nothing was promoted.")
    folder = None if _is_mlflow(registry) else Path(registry)
    settings = read_settings(folder, {"metric": metric, "margin": margin})
    wanted = _reference(reference)
    done = commands.promote(_store(registry), wanted, settings, reason=reason, force=force)
    if as_json:
        gate = None if done.gate is None else done.gate.to_dict()
        print_json({"name": wanted.name, "version": done.version, "gate": gate, "entry": _entry(done.entry)})
    else:
        _show_verdict(wanted, done)
    if not done.is_champion:
        raise typer.Exit(1)


@app.command()
def rollback(name: Name, reason: Reason = None, registry: Where = FOLDER, as_json: AsJson = False) -> None:
    """Return to the previous champion, in one step and without a gate; exit code 1 if there was none.

    Example: mlsys registry rollback conversion --reason "complaints from sales"
    """
    from mlsys.registry import commands

    entry = commands.rollback(_store(registry), _bare(name), reason=reason)
    _done(entry, f"The champion of {_bare(name)} is {entry.after} again, no longer {entry.before}.", as_json=as_json)


@app.command()
def alias(
    reference: Versioned,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="challenger, or any other; champion has its gate.")],
    remove: Annotated[bool, typer.Option("--remove", help="Let it stand for nothing.")] = False,
    reason: Reason = None,
    registry: Where = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Let an alias stand for a version.

    Example: mlsys registry alias conversion@1.1.0 challenger
    """
    from mlsys.registry import commands

    store, wanted = _store(registry), _reference(reference)
    if remove:
        entry = commands.remove_alias(store, wanted.name, alias, reason=reason)
        _done(entry, f"{wanted.name}@{alias} is gone; it was {entry.before}.", as_json=as_json)
        return
    found = commands.set_alias(store, wanted, alias, reason=reason)
    what = "already: nothing was changed" if found is None else f"now, before {found.before or 'nothing'}"
    version = store.state(wanted.name).aliases[alias] if found is None else found.after
    _done(found, f"{wanted.name}@{alias} is {version} {what}.", as_json=as_json)


@app.command()
def history(name: Name, registry: Where = FOLDER, as_json: AsJson = False) -> None:
    """Print all that was done to a model: who, when, why, from, to.

    Example: mlsys registry history conversion
    """
    state = _store(registry).state(_bare(name))
    if as_json:
        print_json([entry.to_dict() for entry in state.entries])
    else:
        print_rows([_line(entry) for entry in state.entries], as_json=False, empty="Nothing was done yet.")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One model; without, all of them.")] = None,
    registry: Where = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Look for changed files, a torn history, dangling aliases, half-added versions; exit code 1 if there is damage.

    What a killed command left behind is shown, and is no damage: the next command that writes cleans it up.

    Example: mlsys registry verify
    """
    store = _store(registry)
    names = store.names() if name is None else [_known(store, _bare(name))]
    found = [finding for each in names for finding in store.findings(each)]
    models = f"{len(names)} model{'s' if len(names) != 1 else ''}"
    print_rows([asdict(finding) for finding in found], as_json=as_json, empty=f"No damage: {models} in {store.where}.")
    if any(finding.level == "damage" for finding in found):
        raise typer.Exit(1)


TABLE: dict[str, Any] = {"as_json": False, "empty": ""}
FEW = 3  # reasons in a line


def _store(place: str) -> RegistryStore:
    if _is_mlflow(place):
        from mlsys.registry.mlflow_store import MlflowStore

        return MlflowStore(place.removeprefix("mlflow").removeprefix(":") or "sqlite:///mlflow.db")
    from mlsys.registry.folder_store import FolderStore

    return FolderStore(Path(place))


def _is_mlflow(place: str) -> bool:
    return place == "mlflow" or place.startswith("mlflow:")


def _reference(text: str) -> Reference:
    from mlsys.registry.names import Reference

    return Reference.parse(text)


def _bare(text: str) -> str:
    """Return a model's name; a version beside it would be passed over, and that is no command."""
    reference = _reference(text)
    if str(reference) != reference.name:
        raise ConfigError("The command", [Problem("NAME", text, reference.name)], "Nothing was changed.")
    return reference.name


def _known(store: RegistryStore, name: str) -> str:
    if name not in store.names():
        store.state(name)  # which says what there is instead
    return name


def _say(text: str) -> None:
    Console().print(text, highlight=False, markup=False, soft_wrap=True)


def _done(entry: Entry | None, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_entry(entry))
    else:
        _say(text)


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else entry.to_dict()


def _moment(time: str) -> str:
    return time[:19].replace("T", " ")


def _line(entry: Entry) -> dict[str, Any]:
    forced = "forced: " if entry.details.get("forced") else ""
    return {
        "number": entry.number,
        "time": _moment(entry.time),
        "who": entry.who,
        "action": entry.action,
        "alias": entry.alias,
        "from": entry.before,
        "to": entry.after,
        "reason": f"{forced}{entry.reason or ''}",
    }


def _versions(state: State) -> Iterator[dict[str, Any]]:
    from mlsys.registry.names import Version

    for version in sorted(state.added, key=Version.parse, reverse=True):
        entry = state.added[version]
        yield {
            "name": state.name,
            "version": version,
            "aliases": state.aliases_of(version),
            "added": entry.time,
            "who": entry.who,
            "reason": entry.reason,
            "run": entry.details.get("run"),
        }


def _shortened(reasons: tuple[str, ...]) -> str:
    more = [f"and {len(reasons) - FEW} more"] if len(reasons) > FEW else []
    return "; ".join([*reasons[:FEW], *more]) or "inputs and config are the same"


def _facts(found: dict[str, Any]) -> None:
    _say(f"{found['name']} {found['version']}{''.join(f' @{alias}' for alias in found['aliases'])}")
    numbers = {key: entry.get("value") for key, entry in found["metrics"].items() if "@" not in key}
    metrics = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items() if value is not None)
    for title in ("path", "inputs", "audit"):
        _say(f"  {title}: {found[title]}")
    _say(f"  run: {found['added']['details'].get('run')}")
    _say(f"  metrics: {metrics}")


def _show_verdict(wanted: Reference, done: Promoted) -> None:
    if done.gate is None:
        _say(f"{wanted.name} {done.version} is the champion already: nothing was changed.")
        return
    rows = [_check(check) for check in done.gate.checks]
    print_rows(rows, **TABLE)
    if done.entry is None:
        _say(f"Refused: {wanted.name} {done.version} does not pass. Nothing was changed; --force --reason overrules.")
    else:
        before = f", no longer {done.entry.before}" if done.entry.before else ""
        how = "" if done.gate.passed else ", by force"
        _say(f"The champion of {wanted.name} is {done.version}{before}{how}.")


def _check(check: GateCheck) -> dict[str, str]:
    return {"check": check.check, "": "passed" if check.passed else "FAILED", "found": check.message}
