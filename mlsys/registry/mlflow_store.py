"""A registry in MLflow: the same commands on its registered models, so that ``models:/NAME@champion`` is what counts.

A version here is a version there, with ours as its tag; aliases are MLflow's own. The history is kept as tags of the
registered model, one for each line.

MLflow changes one thing at a time, so what a command does has an order: an added version carries its line from the
moment that it exists; an alias follows its line, and the tag ``mlsys.settled`` follows the alias. Whatever a killed
command left undone can thus be told and done by the next one, and an alias that somebody moved on MLflow's own page is
noticed and gets a line of its own.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys.errors import MlsysError, RegistryError
from mlsys.registry.folder import manifest_digest, no_model
from mlsys.registry.history import Entry, State, state_of
from mlsys.registry.mlflow_runs import FILES, MlflowPlace, send
from mlsys.registry.names import check_name
from mlsys.registry.store import Draft, Finding, Plan
from mlsys.runs import Run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

LINE = "mlsys.history."  # tag of a registered model: a line of the history
SETTLED = "mlsys.settled"  # tag of a registered model: up to this line all aliases stand where they should
VERSION, ENTRY = "mlsys.version", "mlsys.entry"  # tags of a version: ours, and the line that says how it came
MAX_TAG_CHARACTERS = 4900  # characters of a tag; MLflow's databases take 5,000
SHORT = 160  # characters of a text in a line that is too long otherwise
PAGE = 200


@dataclass(frozen=True)
class Kept:
    """What MLflow has of a model.

    Attributes
    ----------
    name : str
    entries : list of Entry
        The lines of the history.
    late : list of Entry
        Lines of versions that are there already, and not yet in the history.
    settled : int
    versions : mapping of str to ModelVersion
        By our version.
    aliases : mapping of str to str
        Our version that each of MLflow's aliases stands for; versions that are not ours are left out.
    """

    name: str
    entries: list[Entry]
    late: list[Entry]
    settled: int
    versions: Mapping[str, ModelVersion]
    aliases: Mapping[str, str]

    @property
    def due(self) -> dict[str, Entry]:
        """For each alias that a killed command may not have moved, the line that says where to."""
        return {entry.alias: entry for entry in self.entries if entry.alias and entry.number > self.settled}

    def all_entries(self) -> list[Entry]:
        """Return the history as it will be: with late lines, and those of aliases that were moved by others."""
        known = sorted([*self.entries, *self.late], key=lambda entry: (entry.number, entry.time))
        said = state_of(self.name, known).aliases
        for alias in sorted({*said, *self.aliases} - self.due.keys()):
            before, after = said.get(alias), self.aliases.get(alias)
            if before != after:
                draft = Draft("outside", alias, before, after, "moved in MLflow, not by mlsys")
                known.append(replace(draft.entry(_next(known)), who="unknown"))
        return known


@dataclass(frozen=True)
class MlflowStore:
    """A registry in MLflow.

    Parameters
    ----------
    uri : str
        Of a server or a database.
    """

    uri: str

    @property
    def where(self) -> str:
        """The address, without a password."""
        return f"MLflow at {self._place.address}"

    @property
    def _place(self) -> MlflowPlace:
        return MlflowPlace(self.uri)

    def names(self) -> list[str]:
        """Return the names of all models that have a history."""
        with self._place.client() as client:
            found, token = [], None
            while True:
                page = client.search_registered_models(max_results=PAGE, page_token=token)
                found += [model.name for model in page if any(key.startswith(LINE) for key in model.tags)]
                token = page.token
                if not token:
                    return sorted(found)

    def state(self, name: str) -> State:
        """Return what there is of a model."""
        kept = self._read(check_name(name))
        if kept is None or not kept.all_entries():
            raise RegistryError(no_model(name, self.names(), self.where))
        return state_of(name, kept.all_entries())

    def add(self, name: str, run: Run, plan: Plan) -> Entry | None:
        """Send a run to MLflow, where it is not there yet, and make its model a version."""
        check_name(name)
        with self._place.alone(name), self._place.client(create=True) as client:
            kept = self._recovered(name)
            entries = [] if kept is None else kept.entries
            draft = plan(state_of(name, entries))
            if draft is None or draft.after is None:
                return None
            entry = _fitting(draft.entry(_next(entries)))
            run_id, model_id = send(client, self.uri, run)
            if kept is None:
                _make_model(client, name)
            tags = {VERSION: draft.after, ENTRY: _text(entry)}
            client.create_model_version(name, f"models:/{model_id}", run_id, tags, model_id=model_id)
            client.set_registered_model_tag(name, _key(entry), _text(entry))
            return entry

    def move(self, name: str, plan: Plan) -> Entry | None:
        """Let an alias stand for another version."""
        self.state(name)
        with self._place.alone(name), self._place.client():
            kept = self._recovered(name)
            assert kept is not None
            draft = plan(state_of(name, kept.entries))
            if draft is None:
                return None
            entry = _fitting(draft.entry(_next(kept.entries)))
            self._write(kept, entry)
            return entry

    @contextmanager
    def opened(self, state: State, version: str) -> Iterator[Run]:
        """Fetch the run directory of a version, and give its run."""
        kept = self._version(state, version)
        with tempfile.TemporaryDirectory(prefix="mlsys-registry-") as scratch, self._place.client() as client:
            folder = Path(client.download_artifacts(str(kept.run_id), FILES, scratch))
            if manifest_digest(folder) != state.added[version].details.get("manifest"):
                raise RegistryError(
                    f"The files of {state.name} {version} in {self.where} are not those that were registered: restore "
                    "them, or add the run again."
                )
            yield Run.open(folder)

    def address(self, state: State, version: str) -> str:
        """Return the URI by which MLflow loads a version."""
        return f"models:/{state.name}/{self._version(state, version).version}"

    def findings(self, name: str) -> list[Finding]:
        """Return all that is wrong with a model; every file is fetched."""
        kept = self._read(name)
        state = self.state(name)
        assert kept is not None
        found = list(_of_history(kept, state))
        for version in state.added:
            try:
                with self.opened(state, version):
                    continue
            except (MlsysError, OSError) as error:
                found.append(Finding(name, version, "damage", str(error)))
        broken = {finding.where for finding in found}
        for alias, version in state.aliases.items():
            if version in broken:
                found.append(Finding(name, alias, "damage", f"dangling: it stands for {version}, which is damaged"))
        return found

    def _version(self, state: State, version: str) -> ModelVersion:
        kept = self._read(state.name)
        if kept is None or version not in kept.versions:
            raise RegistryError(
                f"{state.name} {version} is not in {self.where} any more: it was deleted there. Add its run again."
            )
        return kept.versions[version]

    def _read(self, name: str) -> Kept | None:
        from mlflow.exceptions import MlflowException

        with self._place.client() as client:
            try:
                model = client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
            listed, token = [], None
            while True:
                page = client.search_model_versions(f"name='{name}'", max_results=PAGE, page_token=token)
                listed += list(page)
                token = page.token
                if not token:
                    return _kept(model, listed)

    def _recovered(self, name: str) -> Kept | None:
        """Do what killed commands left undone, and write down what others did."""
        kept = self._read(name)
        if kept is None:
            return None
        with self._place.client() as client:
            for entry in kept.late:
                client.set_registered_model_tag(name, _key(entry), _text(entry))
            for entry in kept.due.values():
                self._settle(kept, entry)
            entries = kept.all_entries()
            for entry in entries:
                if entry.action == "outside" and entry not in kept.entries:
                    client.set_registered_model_tag(name, _key(entry), _text(entry))
            if entries and _next(entries) - 1 > kept.settled:
                client.set_registered_model_tag(name, SETTLED, str(_next(entries) - 1))
        return replace(kept, entries=entries, late=[])

    def _write(self, kept: Kept, entry: Entry) -> None:
        with self._place.client() as client:
            client.set_registered_model_tag(kept.name, _key(entry), _text(entry))
            self._settle(kept, entry)
            client.set_registered_model_tag(kept.name, SETTLED, str(entry.number))

    def _settle(self, kept: Kept, entry: Entry) -> None:
        assert entry.alias is not None
        with self._place.client() as client:
            if entry.after is None:
                client.delete_registered_model_alias(kept.name, entry.alias)
            elif entry.after in kept.versions:
                number = str(kept.versions[entry.after].version)
                client.set_registered_model_alias(kept.name, entry.alias, number)


def _kept(model: RegisteredModel, versions: list[ModelVersion]) -> Kept:
    lines = [_entry(value, model.name) for key, value in model.tags.items() if key.startswith(LINE)]
    ours = {each.tags[VERSION]: each for each in versions if VERSION in each.tags}
    numbers = {str(each.version): version for version, each in ours.items()}
    written = {entry.after for entry in lines if entry.action == "add"}
    late = [_entry(each.tags[ENTRY], model.name) for version, each in ours.items() if version not in written]
    aliases = {alias: numbers[str(number)] for alias, number in model.aliases.items() if str(number) in numbers}
    ordered = sorted(lines, key=lambda entry: (entry.number, entry.time))
    return Kept(model.name, ordered, late, int(model.tags.get(SETTLED, 0)), ours, aliases)


def _of_history(kept: Kept, state: State) -> Iterator[Finding]:
    numbers = [entry.number for entry in state.entries]
    for number in sorted(set(range(1, max(numbers) + 1)) - set(numbers)):
        yield Finding(kept.name, "history", "damage", f"line {number} is missing")
    for number in sorted({number for number in numbers if numbers.count(number) > 1}):
        what = f"line {number} is there twice: two machines changed the model at the same moment"
        yield Finding(kept.name, "history", "damage", what)
    for entry in kept.late:
        yield Finding(kept.name, str(entry.after), "unfinished", "complete, but not yet in the history")
    for alias, entry in kept.due.items():
        if kept.aliases.get(alias) != entry.after:
            yield Finding(kept.name, alias, "unfinished", f"not yet moved to {entry.after or 'nothing'}")


def _make_model(client: Any, name: str) -> None:  # noqa: ANN401 - MLflow's client
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another machine was faster
            raise


def _entry(text: str, name: str) -> Entry:
    try:
        return Entry.from_dict(json.loads(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise RegistryError(
            f"The history of {name} in MLflow is damaged: {text[:80]!r} is no line of it ({error}). Restore the tags "
            f"{LINE}… of the registered model. Nothing was changed."
        ) from error


def _next(entries: list[Entry]) -> int:
    return 1 + max((entry.number for entry in entries), default=0)


def _key(entry: Entry) -> str:
    """Return the tag of a line; of two machines that write one of the same number, neither overwrites the other's."""
    return f"{LINE}{entry.number:06d}.{hashlib.sha256(_text(entry).encode()).hexdigest()[:8]}"


def _text(entry: Entry) -> str:
    return json.dumps(entry.to_dict(), ensure_ascii=False)


def _fitting(entry: Entry) -> Entry:
    """Return a line that MLflow has room for."""
    if len(_text(entry)) <= MAX_TAG_CHARACTERS:
        return entry
    shortened = replace(entry, reason=entry.reason and entry.reason[:1000], details=_short(entry.details))
    if len(_text(shortened)) > MAX_TAG_CHARACTERS:
        raise RegistryError(f"The line for the history is too long for MLflow: {len(_text(shortened))} characters.")
    return shortened


def _short(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {key: _short(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_short(entry) for entry in value[:8]]
    return f"{value[:SHORT]}…" if isinstance(value, str) and len(value) > SHORT else value
