"""Registry in MLflow: the same commands on MLflow's registered models, so that ``models:/NAME@champion`` works.

Each version is an MLflow version tagged with ours, and aliases are MLflow's own. The history is stored as tags of the
registered model, one per line.

MLflow has no transactions, so each command writes in a fixed order: a version is created with its history line as a
tag; an alias moves after its line is written, and the tag ``mlsys.settled`` is set after the alias. The next command
can therefore complete what a killed one left undone. An alias that was moved on MLflow's own page is detected and gets
a line of its own.
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
from mlsys.registry.folder import manifest_digest, model_not_found
from mlsys.registry.history import Entry, State, state_of
from mlsys.registry.mlflow_runs import FILES, MlflowConnection, send
from mlsys.registry.names import check_name
from mlsys.registry.store import Draft, Plan, VerifyFinding
from mlsys.runs import Run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

LINE = "mlsys.history."  # tag of a registered model: a line of the history
SETTLED = "mlsys.settled"  # tag of a registered model: number of the last line whose alias was moved
VERSION, ENTRY = "mlsys.version", "mlsys.entry"  # tags of a version: our version, and the history line that added it
MAX_TAG_CHARACTERS = 4900  # MLflow's databases allow 5,000 characters in a tag
MAX_TEXT = 160  # characters kept of each text in a history line that is too long
PAGE = 200


@dataclass(frozen=True)
class StoredModel:
    """A registered model as MLflow stores it.

    Attributes
    ----------
    name : str
    entries : list of Entry
        History.
    unrecorded : list of Entry
        Entries of versions that exist but are not in the history yet.
    settled : int
        Number of the last entry whose alias was moved.
    versions : mapping of str to ModelVersion
        MLflow's version for each of ours.
    aliases : mapping of str to str
        Our version that each of MLflow's aliases points to; versions that mlsys did not add are left out.
    """

    name: str
    entries: list[Entry]
    unrecorded: list[Entry]
    settled: int
    versions: Mapping[str, ModelVersion]
    aliases: Mapping[str, str]

    @property
    def pending(self) -> dict[str, Entry]:
        """Last entry of each alias that a killed command may not have moved."""
        return {entry.alias: entry for entry in self.entries if entry.alias and entry.number > self.settled}

    def all_entries(self) -> list[Entry]:
        """Return the history with unrecorded entries and an entry for each alias moved by another program."""
        known = sorted([*self.entries, *self.unrecorded], key=lambda entry: (entry.number, entry.time))
        recorded = state_of(self.name, known).aliases
        for alias in sorted({*recorded, *self.aliases} - self.pending.keys()):
            before, after = recorded.get(alias), self.aliases.get(alias)
            if before != after:
                draft = Draft("outside", alias, before, after, "moved in MLflow, not by mlsys")
                known.append(replace(draft.entry(_next_number(known)), who="unknown"))
        return known


@dataclass(frozen=True)
class MlflowStore:
    """A registry in MLflow.

    Parameters
    ----------
    uri : str
        URI of a tracking server or database.
    """

    uri: str

    @property
    def where(self) -> str:
        """The address, without a password."""
        return f"MLflow at {self._connection.address}"

    @property
    def _connection(self) -> MlflowConnection:
        return MlflowConnection(self.uri)

    def names(self) -> list[str]:
        """Return the names of all models that have a history."""
        with self._connection.client() as client:
            names, token = [], None
            while True:
                page = client.search_registered_models(max_results=PAGE, page_token=token)
                names += [model.name for model in page if any(key.startswith(LINE) for key in model.tags)]
                token = page.token
                if not token:
                    return sorted(names)

    def state(self, name: str) -> State:
        """Return the versions and aliases of a model."""
        stored = self._read(check_name(name))
        if stored is None or not stored.all_entries():
            raise RegistryError(model_not_found(name, self.names(), self.where))
        return state_of(name, stored.all_entries())

    def add(self, name: str, run: Run, plan: Plan) -> Entry | None:
        """Upload a run to MLflow, unless it is there already, and register its model as a version."""
        check_name(name)
        with self._connection.locked(name), self._connection.client(create=True) as client:
            stored = self._recover(name)
            entries = [] if stored is None else stored.entries
            draft = plan(state_of(name, entries))
            if draft is None or draft.after is None:
                return None
            entry = _fit_to_tag(draft.entry(_next_number(entries)))
            run_id, model_id = send(client, self.uri, run)
            if stored is None:
                _create_model(client, name)
            tags = {VERSION: draft.after, ENTRY: _text(entry)}
            client.create_model_version(name, f"models:/{model_id}", run_id, tags, model_id=model_id)
            client.set_registered_model_tag(name, _key(entry), _text(entry))
            return entry

    def move(self, name: str, plan: Plan) -> Entry | None:
        """Point an alias at another version."""
        self.state(name)
        with self._connection.locked(name), self._connection.client():
            stored = self._recover(name)
            assert stored is not None
            draft = plan(state_of(name, stored.entries))
            if draft is None:
                return None
            entry = _fit_to_tag(draft.entry(_next_number(stored.entries)))
            self._write(stored, entry)
            return entry

    @contextmanager
    def opened(self, state: State, version: str) -> Iterator[Run]:
        """Download the run directory of a version and open its run."""
        stored = self._model_version(state, version)
        with tempfile.TemporaryDirectory(prefix="mlsys-registry-") as scratch, self._connection.client() as client:
            folder = Path(client.download_artifacts(str(stored.run_id), FILES, scratch))
            if manifest_digest(folder) != state.added[version].details.get("manifest"):
                raise RegistryError(
                    f"The files of {state.name} {version} in {self.where} differ from those registered: restore them, "
                    "or add the run again."
                )
            yield Run.open(folder)

    def address(self, state: State, version: str) -> str:
        """Return the URI that MLflow loads a version from."""
        return f"models:/{state.name}/{self._model_version(state, version).version}"

    def findings(self, name: str) -> list[VerifyFinding]:
        """Return all problems of a model; downloads every file."""
        stored = self._read(name)
        state = self.state(name)
        assert stored is not None
        findings = list(_history_findings(stored, state))
        for version in state.added:
            try:
                with self.opened(state, version):
                    continue
            except (MlsysError, OSError) as error:
                findings.append(VerifyFinding(name, version, "damage", str(error)))
        damaged = {finding.where for finding in findings}
        for alias, version in state.aliases.items():
            if version in damaged:
                findings.append(
                    VerifyFinding(name, alias, "damage", f"dangling: points to {version}, which is damaged")
                )
        return findings

    def _model_version(self, state: State, version: str) -> ModelVersion:
        stored = self._read(state.name)
        if stored is None or version not in stored.versions:
            raise RegistryError(
                f"{state.name} {version} not found in {self.where}: it was deleted there. Add its run again."
            )
        return stored.versions[version]

    def _read(self, name: str) -> StoredModel | None:
        from mlflow.exceptions import MlflowException

        with self._connection.client() as client:
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
                    return _stored_model(model, listed)

    def _recover(self, name: str) -> StoredModel | None:
        """Complete what killed commands left undone, and record aliases moved by other programs."""
        stored = self._read(name)
        if stored is None:
            return None
        with self._connection.client() as client:
            for entry in stored.unrecorded:
                client.set_registered_model_tag(name, _key(entry), _text(entry))
            for entry in stored.pending.values():
                self._apply(stored, entry)
            entries = stored.all_entries()
            for entry in entries:
                if entry.action == "outside" and entry not in stored.entries:
                    client.set_registered_model_tag(name, _key(entry), _text(entry))
            if entries and _next_number(entries) - 1 > stored.settled:
                client.set_registered_model_tag(name, SETTLED, str(_next_number(entries) - 1))
        return replace(stored, entries=entries, unrecorded=[])

    def _write(self, stored: StoredModel, entry: Entry) -> None:
        with self._connection.client() as client:
            client.set_registered_model_tag(stored.name, _key(entry), _text(entry))
            self._apply(stored, entry)
            client.set_registered_model_tag(stored.name, SETTLED, str(entry.number))

    def _apply(self, stored: StoredModel, entry: Entry) -> None:
        assert entry.alias is not None
        with self._connection.client() as client:
            if entry.after is None:
                client.delete_registered_model_alias(stored.name, entry.alias)
            elif entry.after in stored.versions:
                number = str(stored.versions[entry.after].version)
                client.set_registered_model_alias(stored.name, entry.alias, number)


def _stored_model(model: RegisteredModel, versions: list[ModelVersion]) -> StoredModel:
    lines = [_entry(value, model.name) for key, value in model.tags.items() if key.startswith(LINE)]
    ours = {each.tags[VERSION]: each for each in versions if VERSION in each.tags}
    numbers = {str(each.version): version for version, each in ours.items()}
    written = {entry.after for entry in lines if entry.action == "add"}
    unrecorded = [_entry(each.tags[ENTRY], model.name) for version, each in ours.items() if version not in written]
    aliases = {alias: numbers[str(number)] for alias, number in model.aliases.items() if str(number) in numbers}
    ordered = sorted(lines, key=lambda entry: (entry.number, entry.time))
    return StoredModel(model.name, ordered, unrecorded, int(model.tags.get(SETTLED, 0)), ours, aliases)


def _history_findings(stored: StoredModel, state: State) -> Iterator[VerifyFinding]:
    numbers = [entry.number for entry in state.entries]
    for number in sorted(set(range(1, max(numbers) + 1)) - set(numbers)):
        yield VerifyFinding(stored.name, "history", "damage", f"line {number} is missing")
    for number in sorted({number for number in numbers if numbers.count(number) > 1}):
        problem = f"line {number} is duplicated: two machines changed the model at the same time"
        yield VerifyFinding(stored.name, "history", "damage", problem)
    for entry in stored.unrecorded:
        yield VerifyFinding(stored.name, str(entry.after), "unfinished", "complete, but not yet in the history")
    for alias, entry in stored.pending.items():
        if stored.aliases.get(alias) != entry.after:
            yield VerifyFinding(stored.name, alias, "unfinished", f"not yet moved to {entry.after or 'nothing'}")


def _create_model(client: Any, name: str) -> None:  # noqa: ANN401 - MLflow's client
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another machine created it first
            raise


def _entry(text: str, name: str) -> Entry:
    try:
        return Entry.from_dict(json.loads(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise RegistryError(
            f"The history of {name} in MLflow is damaged: {text[:80]!r} is not a history line ({error}). Restore the "
            f"tags {LINE}* of the registered model. Nothing was changed."
        ) from error


def _next_number(entries: list[Entry]) -> int:
    return 1 + max((entry.number for entry in entries), default=0)


def _key(entry: Entry) -> str:
    """Return the tag of an entry; two machines that write the same number do not overwrite each other."""
    return f"{LINE}{entry.number:06d}.{hashlib.sha256(_text(entry).encode()).hexdigest()[:8]}"


def _text(entry: Entry) -> str:
    return json.dumps(entry.to_dict(), ensure_ascii=False)


def _fit_to_tag(entry: Entry) -> Entry:
    """Return the entry, shortened if it does not fit in an MLflow tag."""
    if len(_text(entry)) <= MAX_TAG_CHARACTERS:
        return entry
    shortened = replace(entry, reason=entry.reason and entry.reason[:1000], details=_truncated(entry.details))
    if len(_text(shortened)) > MAX_TAG_CHARACTERS:
        raise RegistryError(f"The history line is too long for MLflow: {len(_text(shortened))} characters.")
    return shortened


def _truncated(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {key: _truncated(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_truncated(entry) for entry in value[:8]]
    return f"{value[:MAX_TEXT]}…" if isinstance(value, str) and len(value) > MAX_TEXT else value
