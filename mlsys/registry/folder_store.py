"""Write a registry in a folder: one command at a time per model, each of them atomic.

A version is first copied to ``.adding-VERSION``. Renaming the new history over the old one commits the command; last,
the copy is renamed to its final place. A killed process leaves at most a copy without a line in the history, which the
next command removes, or a line whose copy is complete, which the next command renames.
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
from mlsys.registry.store import Plan, VerifyFinding
from mlsys.runs import Run
from mlsys.runs.files import sync_folder, write_atomic
from mlsys.runs.verify import changes

LOCK, ADDING = ".lock", ".adding-"
LOCK_TIMEOUT = 120.0  # seconds


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
        """The folder, as the user gave it."""
        return str(self.root)

    def names(self) -> list[str]:
        """Return the names of all models."""
        return model_names(self.root)

    def state(self, name: str) -> State:
        """Return the versions and aliases of a model."""
        return read_state(name, self.root)

    def add(self, name: str, run: Run, plan: Plan) -> Entry | None:
        """Add a copy of a run directory as a version."""
        with self._transaction(name) as entries:
            draft = plan(state_of(name, entries))
            if draft is None or draft.after is None:
                return None
            entry = draft.entry(len(entries) + 1)
            self._stage(name, draft.after, run)
            self._commit(name, [*entries, entry])
            self._publish(name, draft.after)
            return entry

    def move(self, name: str, plan: Plan) -> Entry | None:
        """Point an alias at another version."""
        self.state(name)  # raises before a folder is created for an unknown model
        with self._transaction(name) as entries:
            draft = plan(state_of(name, entries))
            if draft is None:
                return None
            entry = draft.entry(len(entries) + 1)
            self._commit(name, [*entries, entry])
            return entry

    @contextmanager
    def opened(self, state: State, version: str) -> Iterator[Run]:
        """Open the run of a version."""
        yield Run.open(check_manifest(state, version, self.root))

    def address(self, state: State, version: str) -> str:
        """Return the run directory of a version."""
        return str(version_folder(state.name, version, self.root))

    def findings(self, name: str) -> list[VerifyFinding]:
        """Return all problems of a model; waits for a running command if the folder is writable."""
        try:
            with self._locked(name):
                return self._findings(name)
        except PermissionError:
            return self._findings(name)

    @contextmanager
    def _transaction(self, name: str) -> Iterator[list[Entry]]:
        """Lock the model, clean up after killed commands and yield the history."""
        check_name(name)
        try:
            with self._locked(name):
                entries = read_entries(name, self.root)
                self._recover(name, state_of(name, entries))
                yield entries
        except OSError as error:
            raise RegistryError(
                f"{self.root / name} cannot be written: {error.strerror or error}. Fix the cause, then check with "
                f"`mlsys registry history {name}` whether the command took effect."
            ) from error

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT, poll_interval=0.01):
                yield
        except Timeout as error:
            raise RegistryError(
                f"{folder} was locked by other commands for {LOCK_TIMEOUT:g} seconds. Nothing was changed; try again."
            ) from error

    def _recover(self, name: str, state: State) -> None:
        """Complete or remove what killed commands left behind."""
        folder = self.root / name
        for path in sorted(folder.glob(f".{HISTORY}.*.tmp")):
            path.unlink()
        for path in sorted(folder.glob(f"{ADDING}*")):
            version = path.name.removeprefix(ADDING)
            if self._is_staged(state, version):
                self._publish(name, version)
            elif version not in state.added or version_folder(name, version, self.root).exists():
                shutil.rmtree(path)

    def _is_staged(self, state: State, version: str) -> bool:
        """Return whether a version is in the history and its copy is complete but not yet in its final place."""
        staged = self.root / state.name / f"{ADDING}{version}"
        if version not in state.added or version_folder(state.name, version, self.root).exists():
            return False
        try:
            return manifest_digest(staged) == state.added[version].details.get("manifest")
        except FileNotFoundError:
            return False

    def _stage(self, name: str, version: str, run: Run) -> None:
        target = version_folder(name, version, self.root)
        if target.exists():
            raise RegistryError(
                f"{target} exists but is not in the history. Nothing was added. Move it elsewhere; for details run "
                f"`mlsys registry verify {name}`."
            )
        target.parent.mkdir(exist_ok=True)
        staged = self.root / name / f"{ADDING}{version}"
        try:
            copy_run(run, staged)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)  # the next command removes what is left
            raise
        for folder in (self.root / name, self.root):
            sync_folder(folder)

    def _commit(self, name: str, entries: Sequence[Entry]) -> None:
        write_atomic(self.root / name / HISTORY, to_lines(entries))
        sync_folder(self.root / name)

    def _publish(self, name: str, version: str) -> None:
        target = version_folder(name, version, self.root)
        (self.root / name / f"{ADDING}{version}").rename(target)
        sync_folder(target.parent)
        sync_folder(self.root / name)

    def _findings(self, name: str) -> list[VerifyFinding]:
        try:
            entries = read_entries(name, self.root)
        except RegistryError as error:
            return [VerifyFinding(name, "history", "damage", str(error))]
        state = state_of(name, entries)
        findings = [finding for version in state.added for finding in self._version_findings(state, version)]
        damaged = {finding.where for finding in findings if finding.level == "damage"}
        for alias, version in state.aliases.items():
            if version not in state.added or version in damaged:
                problem = "is damaged" if version in state.added else "was never added"
                findings.append(VerifyFinding(name, alias, "damage", f"dangling: points to {version}, which {problem}"))
        return findings + list(self._leftover_findings(state))

    def _version_findings(self, state: State, version: str) -> Iterator[VerifyFinding]:
        if self._is_staged(state, version):
            yield VerifyFinding(state.name, version, "unfinished", "complete, but not yet in its final place")
            return
        try:
            folder = check_manifest(state, version, self.root)
            problems = changes(folder, Run.open(folder, verify=False).manifest)
        except (MlsysError, OSError) as error:
            problems = [str(error)]
        for problem in problems:
            yield VerifyFinding(state.name, version, "damage", problem)

    def _leftover_findings(self, state: State) -> Iterator[VerifyFinding]:
        folder = self.root / state.name
        for path in sorted((folder / VERSIONS).glob("*")):
            if path.name not in state.added:
                yield VerifyFinding(
                    state.name, path.name, "damage", f"{path} is not in the history, which has lost lines"
                )
        for path in sorted([*folder.glob(f"{ADDING}*"), *folder.glob(f".{HISTORY}.*.tmp")]):
            if not self._is_staged(state, path.name.removeprefix(ADDING)):
                yield VerifyFinding(state.name, path.name, "unfinished", "left behind by a killed command")
