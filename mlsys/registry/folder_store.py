"""A registry in a folder, as it is written: one command at a time for each model, each done wholly or not at all.

A version is copied to ``.adding-VERSION`` first. The new history then takes the place of the old one by a rename, and
with that the command is done; last, the copy gets its place by another rename. A process that is killed leaves at most
a copy without a line, which the next command removes, or a line whose copy is complete, which it puts in place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mlsys.errors import MlsysError, RegistryError
from mlsys.registry.folder import (
    HISTORY,
    VERSIONS,
    check_manifest,
    manifest_digest,
    model_names,
    read_entries,
    read_state,
    version_folder,
)
from mlsys.registry.history import Entry, State, state_of, to_lines
from mlsys.registry.names import check_name
from mlsys.registry.snapshot import copy_run
from mlsys.registry.store import Finding, Plan
from mlsys.runs import Run
from mlsys.runs.files import sync_folder, write_atomic
from mlsys.runs.verify import changes

LOCK, ADDING = ".lock", ".adding-"
PATIENCE = 120.0  # seconds to wait for other commands


@dataclass(frozen=True)
class FolderStore:
    """A registry in a folder.

    Parameters
    ----------
    root : Path
    """

    root: Path

    @property
    def where(self) -> str:
        """The folder, as it was given."""
        return str(self.root)

    def names(self) -> list[str]:
        """Return the names of all models."""
        return model_names(self.root)

    def state(self, name: str) -> State:
        """Return what there is of a model."""
        return read_state(name, self.root)

    def add(self, name: str, run: Run, plan: Plan) -> Entry | None:
        """Keep a copy of a run directory as a version."""
        with self._transaction(name) as entries:
            draft = plan(state_of(name, entries))
            if draft is None or draft.after is None:
                return None
            entry = draft.entry(len(entries) + 1)
            self._stage(name, draft.after, run)
            self._commit(name, [*entries, entry])
            self._settle(name, draft.after)
            return entry

    def move(self, name: str, plan: Plan) -> Entry | None:
        """Let an alias stand for another version."""
        self.state(name)  # before anything is made
        with self._transaction(name) as entries:
            draft = plan(state_of(name, entries))
            if draft is None:
                return None
            entry = draft.entry(len(entries) + 1)
            self._commit(name, [*entries, entry])
            return entry

    @contextmanager
    def opened(self, state: State, version: str) -> Iterator[Run]:
        """Give the run of a version."""
        yield Run.open(check_manifest(state, version, self.root))

    def address(self, state: State, version: str) -> str:
        """Return the run directory of a version."""
        return str(version_folder(state.name, version, self.root))

    def findings(self, name: str) -> list[Finding]:
        """Return all that is wrong with a model; waits for a command under way, where the folder can be written."""
        try:
            with self._locked(name):
                return self._findings(name)
        except PermissionError:
            return self._findings(name)

    @contextmanager
    def _transaction(self, name: str) -> Iterator[list[Entry]]:
        """Keep other commands away, clean up after killed ones, and give the history."""
        check_name(name)
        try:
            with self._locked(name):
                entries = read_entries(name, self.root)
                self._recover(name, state_of(name, entries))
                yield entries
        except OSError as error:
            raise RegistryError(
                f"{self.root / name} cannot be written: {error.strerror or error}. Mend the cause; "
                f"`mlsys registry history {name}` shows whether the command was done."
            ) from error

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / LOCK, timeout=PATIENCE, poll_interval=0.01):
                yield
        except Timeout as error:
            raise RegistryError(
                f"Other commands have kept {folder} locked for {PATIENCE:g} seconds. Nothing was changed; try again."
            ) from error

    def _recover(self, name: str, state: State) -> None:
        """Complete or remove what killed commands left."""
        folder = self.root / name
        for path in sorted(folder.glob(f".{HISTORY}.*.tmp")):
            path.unlink()
        for path in sorted(folder.glob(f"{ADDING}*")):
            version = path.name.removeprefix(ADDING)
            if self._is_due(state, version):
                self._settle(name, version)
            elif version not in state.added or version_folder(name, version, self.root).exists():
                shutil.rmtree(path)

    def _is_due(self, state: State, version: str) -> bool:
        """Return whether a version is in the history, and its copy complete but not in its place."""
        staged = self.root / state.name / f"{ADDING}{version}"
        if version not in state.added or version_folder(state.name, version, self.root).exists():
            return False
        try:
            return manifest_digest(staged) == state.added[version].details.get("manifest")
        except FileNotFoundError:
            return False

    def _stage(self, name: str, version: str, run: Run) -> None:
        place = version_folder(name, version, self.root)
        if place.exists():
            raise RegistryError(
                f"{place} is in the way: it is not in the history. `mlsys registry verify {name}` tells more; move it "
                "elsewhere. Nothing was added."
            )
        place.parent.mkdir(exist_ok=True)
        staged = self.root / name / f"{ADDING}{version}"
        try:
            copy_run(run, staged)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)  # the next command removes what cannot be removed now
            raise
        for folder in (self.root / name, self.root):
            sync_folder(folder)

    def _commit(self, name: str, entries: Sequence[Entry]) -> None:
        write_atomic(self.root / name / HISTORY, to_lines(entries))
        sync_folder(self.root / name)

    def _settle(self, name: str, version: str) -> None:
        place = version_folder(name, version, self.root)
        (self.root / name / f"{ADDING}{version}").rename(place)
        sync_folder(place.parent)
        sync_folder(self.root / name)

    def _findings(self, name: str) -> list[Finding]:
        try:
            entries = read_entries(name, self.root)
        except RegistryError as error:
            return [Finding(name, "history", "damage", str(error))]
        state = state_of(name, entries)
        found = [finding for version in state.added for finding in self._of_version(state, version)]
        broken = {finding.where for finding in found if finding.level == "damage"}
        for alias, version in state.aliases.items():
            if version not in state.added or version in broken:
                what = "is damaged" if version in state.added else "was never added"
                found.append(Finding(name, alias, "damage", f"dangling: it stands for {version}, which {what}"))
        return found + list(self._unknown(state))

    def _of_version(self, state: State, version: str) -> Iterator[Finding]:
        if self._is_due(state, version):
            yield Finding(state.name, version, "unfinished", "complete, but not yet in its place")
            return
        try:
            folder = check_manifest(state, version, self.root)
            problems = changes(folder, Run.open(folder, verify=False).manifest)
        except (MlsysError, OSError) as error:
            problems = [str(error)]
        for problem in problems:
            yield Finding(state.name, version, "damage", problem)

    def _unknown(self, state: State) -> Iterator[Finding]:
        folder = self.root / state.name
        for path in sorted((folder / VERSIONS).glob("*")):
            if path.name not in state.added:
                yield Finding(state.name, path.name, "damage", f"{path} is not in the history: a line or more is lost")
        for path in sorted([*folder.glob(f"{ADDING}*"), *folder.glob(f".{HISTORY}.*.tmp")]):
            if not self._is_due(state, path.name.removeprefix(ADDING)):
                yield Finding(state.name, path.name, "unfinished", "left by a command that was killed")
