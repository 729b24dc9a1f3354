"""`mlsys registry`: version models and choose the one that is served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlsys.cli.output import AsJson, print_json, print_rows
from mlsys.errors import ConfigError, Problem, RegistryError
from mlsys.terminal import Terminal
from mlsys.text import counted

if TYPE_CHECKING:
    from mlsys.registry.commands import Promoted
    from mlsys.registry.gate import GateCheck
    from mlsys.registry.history import Entry, State
    from mlsys.registry.names import Reference
    from mlsys.registry.store import RegistryStore

app = typer.Typer(no_args_is_help=True, help="Version models; choose the one that is served.", rich_markup_mode=None)
Registry = Annotated[
    str,
    typer.Option(
        "--registry",
        envvar="MLSYS_REGISTRY",
        metavar="LOCATION",
        help="The registry: a folder, or mlflow:URI such as mlflow:http://HOST:5000; `mlflow` is short for mlflow:sqlite:///mlflow.db.",
    ),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, recorded in the history.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")]
Versioned = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="A version; NAME alone is the latest one.")
]
DEFAULT_LOCATION = "registry"


@app.command()
def add(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or `latest`.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The model to add a version of; created if it is new.")],
    bump: Annotated[
        str | None, typer.Option(metavar="major|minor|patch", help="The smallest version bump to make.")
    ] = None,
    reason: Reason = None,
    registry: Registry = DEFAULT_LOCATION,
    as_json: AsJson = False,
) -> None:
    """Add a copy of a run as the next version of a model.

    The version gets a major bump when the model's inputs change, a minor one when the config does, and a patch
    otherwise. A run is added only once.

    Example: mlsys registry add latest --name conversion
    """
    from mlsys.registry import commands
    from mlsys.registry.names import PARTS
    from mlsys.runs import Run, find_run

    part = next((part for part in PARTS if part == bump), None)
    if bump is not None and part is None:
        raise ConfigError("The command", [Problem("--bump", bump, "major, minor, patch")], "Nothing was added.")
    opened = Run.open(find_run(run))
    added = commands.add(_store(registry), opened, name, bump=part, reason=reason)
    if as_json:
        bumped = None if added.bump is None else asdict(added.bump)
        print_json({"name": name, "version": added.version, "run": str(opened.path), "bump": bumped})
        return
    if added.bump is None:
        _print(f"{name} {added.version} is already this run; nothing was added.")
        return
    _print(f"Added {name} {added.version} ({added.bump.part}: {_shortened(added.bump.reasons)}).")
    _print(f"Next: mlsys registry promote {name}@{added.version}")


@app.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A registered model; by default all of them.")
    ] = None,
    registry: Registry = DEFAULT_LOCATION,
    as_json: AsJson = False,
) -> None:
    """List versions, latest first, with their aliases.

    Example: mlsys registry list
    """
    store = _store(registry)
    states, problems = [], []
    for each in store.names() if name is None else [_model_name(name)]:
        try:
            states.append(store.state(each))
        except RegistryError as error:  # one damaged model must not hide the others
            problems.append(str(error))
    rows = [row for state in states for row in _version_rows(state)]
    if as_json:
        print_json(rows)
    elif rows or not problems:
        empty = f"No models in {store.where}. Add one with `mlsys registry add latest --name NAME`."
        print_rows([row | {"added": _seconds(row["added"])} for row in rows], as_json=False, empty=empty)
    if problems:
        raise RegistryError("\n".join(problems))


@app.command()
def show(reference: Versioned, registry: Registry = DEFAULT_LOCATION, as_json: AsJson = False) -> None:
    """Show a version: its run, metrics, audit and history.

    Example: mlsys registry show conversion@champion
    """
    store, parsed = _store(registry), _reference(reference)
    state = store.state(parsed.name)
    version = state.version_of(parsed, state.latest)
    with store.opened(state, version) as run:
        details = {
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
        print_json(details)
        return
    _print_details(details)
    print_rows([_entry_row(entry) for entry in state.entries if version in (entry.before, entry.after)], **TABLE)


@app.command()
def promote(
    reference: Versioned,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="The metric that must not be worse than the champion's.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(min=0, help="How much worse the metric may be, in its own unit.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote even if the gate fails; requires --reason.")] = False,
    reason: Reason = None,
    registry: Registry = DEFAULT_LOCATION,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion if it passes the gate.

    Exit code 1 if it does not. The gate requires that the golden rows are reproduced, the audit is clean, task and
    label are the champion's, and the metric is not worse on the test rows that both scored, by a paired interval.
    conf/gate.yaml has the settings; a copy of it in the registry's folder takes precedence.

    Example: mlsys registry promote conversion@1.1.0 --margin 0.01
    """
    from mlsys.registry import commands
    from mlsys.registry.settings import read_settings

    if force and not (reason or "").strip():
        problem = Problem("--force", "no --reason", '--reason "TEXT", which is recorded in the history')
        raise ConfigError("The command", [problem], "Nothing was promoted.")
    folder = None if _is_mlflow(registry) else Path(registry)
    settings = read_settings(folder, {"metric": metric, "margin": margin})
    parsed = _reference(reference)
    done = commands.promote(_store(registry), parsed, settings, reason=reason, force=force)
    if as_json:
        gate = None if done.gate is None else done.gate.to_dict()
        print_json({"name": parsed.name, "version": done.version, "gate": gate, "entry": _entry(done.entry)})
    else:
        _print_result(parsed.name, done)
    if not done.is_champion:
        raise typer.Exit(1)


@app.command()
def rollback(name: Name, reason: Reason = None, registry: Registry = DEFAULT_LOCATION, as_json: AsJson = False) -> None:
    """Make the previous champion the champion again.

    No gate applies. Exit code 1 if there is no previous champion.

    Example: mlsys registry rollback conversion --reason "complaints from sales"
    """
    from mlsys.registry import commands

    model = _model_name(name)
    entry = commands.rollback(_store(registry), model, reason=reason)
    _print_entry(
        entry, f"Rolled back: {model} {entry.after} is the champion again, not {entry.before}.", as_json=as_json
    )


@app.command()
def alias(
    reference: Versioned,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as challenger; use `promote` for champion.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
    reason: Reason = None,
    registry: Registry = DEFAULT_LOCATION,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version.

    Example: mlsys registry alias conversion@1.1.0 challenger
    """
    from mlsys.registry import commands

    store, parsed = _store(registry), _reference(reference)
    full_alias = f"{parsed.name}@{alias}"
    if remove:
        entry = commands.remove_alias(store, parsed.name, alias, reason=reason)
        _print_entry(entry, f"Removed {full_alias}; it pointed at {entry.before}.", as_json=as_json)
        return
    changed = commands.set_alias(store, parsed, alias, reason=reason)
    if changed is None:
        text = f"{full_alias} already points at {store.state(parsed.name).aliases[alias]}; nothing was changed."
    else:
        previous = f" (previously {changed.before})" if changed.before else ""
        text = f"{full_alias} now points at {changed.after}{previous}."
    _print_entry(changed, text, as_json=as_json)


@app.command()
def history(name: Name, registry: Registry = DEFAULT_LOCATION, as_json: AsJson = False) -> None:
    """Print the change history of a model.

    Example: mlsys registry history conversion
    """
    state = _store(registry).state(_model_name(name))
    if as_json:
        print_json([entry.to_dict() for entry in state.entries])
    else:
        print_rows([_entry_row(entry) for entry in state.entries], as_json=False, empty="No changes yet.")


@app.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A registered model; by default all of them.")
    ] = None,
    registry: Registry = DEFAULT_LOCATION,
    as_json: AsJson = False,
) -> None:
    """Check models for damage.

    Looks for changed files, a truncated history, dangling aliases and partially added versions. Exit code 1 if
    anything is damaged. Leftovers of a killed command are listed too, but are not damage: the next command that
    writes cleans them up.

    Example: mlsys registry verify
    """
    store = _store(registry)
    names = store.names() if name is None else [_existing(store, _model_name(name))]
    found = [finding for each in names for finding in store.findings(each)]
    empty = f"No damage found in {counted(len(names), 'model')} in {store.where}."
    print_rows([asdict(finding) for finding in found], as_json=as_json, empty=empty)
    if any(finding.level == "damage" for finding in found):
        raise typer.Exit(1)


TABLE: dict[str, Any] = {"as_json": False, "empty": ""}
MAX_REASONS = 3  # in one line


def _store(location: str) -> RegistryStore:
    if _is_mlflow(location):
        from mlsys.registry.mlflow_store import MlflowStore

        return MlflowStore(location.removeprefix("mlflow").removeprefix(":") or "sqlite:///mlflow.db")
    from mlsys.registry.folder_store import FolderStore

    return FolderStore(Path(location))


def _is_mlflow(location: str) -> bool:
    return location == "mlflow" or location.startswith("mlflow:")


def _reference(text: str) -> Reference:
    from mlsys.registry.names import Reference

    return Reference.parse(text)


def _model_name(text: str) -> str:
    """Return a model's name; raise if a version comes with it, since the command would ignore it."""
    reference = _reference(text)
    if str(reference) != reference.name:
        raise ConfigError("The command", [Problem("NAME", text, reference.name)], "Nothing was changed.")
    return reference.name


def _existing(store: RegistryStore, name: str) -> str:
    if name not in store.names():
        store.state(name)  # raises, naming the closest match
    return name


def _print(text: str) -> None:
    Terminal().print_line(text)


def _print_entry(entry: Entry | None, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_entry(entry))
    else:
        _print(text)


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else entry.to_dict()


def _seconds(time: str) -> str:
    return time[:19].replace("T", " ")


def _entry_row(entry: Entry) -> dict[str, Any]:
    forced = "forced: " if entry.details.get("forced") else ""
    return {
        "number": entry.number,
        "time": _seconds(entry.time),
        "who": entry.who,
        "action": entry.action,
        "alias": entry.alias,
        "from": entry.before,
        "to": entry.after,
        "reason": f"{forced}{entry.reason or ''}",
    }


def _version_rows(state: State) -> Iterator[dict[str, Any]]:
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
    more = [f"and {len(reasons) - MAX_REASONS} more"] if len(reasons) > MAX_REASONS else []
    return "; ".join([*reasons[:MAX_REASONS], *more]) or "inputs and config are the same"


def _print_details(details: dict[str, Any]) -> None:
    _print(f"{details['name']} {details['version']}{''.join(f' @{alias}' for alias in details['aliases'])}")
    numbers = {key: entry.get("value") for key, entry in details["metrics"].items() if "@" not in key}
    metrics = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items() if value is not None)
    for title in ("path", "inputs", "audit"):
        _print(f"  {title}: {details[title]}")
    _print(f"  run: {details['added']['details'].get('run')}")
    _print(f"  metrics: {metrics}")


def _print_result(name: str, done: Promoted) -> None:
    if done.gate is None:
        _print(f"{name} {done.version} is already the champion; nothing was changed.")
        return
    rows = [_check_row(check) for check in done.gate.checks]
    print_rows(rows, **TABLE)
    if done.entry is None:
        _print(f"Not promoted: {name} {done.version} failed the gate. To override it, use --force --reason TEXT.")
    else:
        replaced = f", replacing {done.entry.before}" if done.entry.before else ""
        forced = "" if done.gate.passed else " (forced)"
        _print(f"{name} {done.version} is now the champion{replaced}{forced}.")


def _check_row(check: GateCheck) -> dict[str, str]:
    return {"check": check.check, "": "passed" if check.passed else "FAILED", "found": check.message}
