"""Many processes at work on one registry, many of them killed at any moment.

    python -m tests.registry.kills FOLDER [--kills 200] [--workers 4] [--seed 0] [--everywhere STRIDE]

Each command runs in a process of its own, forked from this one so that it does not spend its life on imports. With
``--everywhere`` one command after another is killed before its first change of the registry's files, before its
second, and so on until it survives. The last line printed is what was found, as JSON; exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import json
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from mlsys.errors import MlsysError
from mlsys.registry import commands
from mlsys.registry.folder import resolve
from mlsys.registry.folder_store import FolderStore
from mlsys.registry.names import Reference
from mlsys.registry.settings import read_settings
from mlsys.runs import Run
from mlsys.runs.files import MANIFEST
from tests.registry.small import write_run
from tests.waiting import HANG

NAME = "leads"
FIRST = ("first", "second")
KINDS = ("add", "promote", "rollback")
SHARES = (5, 4, 3)
PATIENCE = HANG  # seconds that a command may take before it shows where it hangs, and ends
KILLED = 0.75  # share of the commands that are to be killed, at a moment somewhere in 1.2 times the usual duration


@dataclass
class Child:
    """One command under way."""

    kind: str
    token: str
    answer: int
    start: float
    deadline: float | None


@dataclass
class Storm:
    """The commands, what those that finished said, and what became of the others."""

    folder: Path
    kills: int
    workers: int
    random: random.Random
    children: dict[int, Child] = field(default_factory=dict)
    finished: list[dict[str, Any]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    killed: list[Child] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    usual: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.15))
    started: int = 0

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "registry")

    def run(self) -> None:
        """Start commands, and kill some, until enough were killed; then let the rest end."""
        while len(self.killed) < self.kills:
            while len(self.children) < self.workers:
                self._start()
            self._wait()
        while self.children:
            self._wait()

    def _start(self) -> None:
        self.started += 1
        kind = self.random.choices(KINDS, SHARES)[0]
        token, seed = f"{kind}-{self.started}", self.random.random()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            command(self.folder, kind, token, seed, writing)
        os.close(writing)
        now = time.monotonic()
        doomed = self.random.random() < KILLED
        deadline = now + self.random.uniform(0, 1.2 * self.usual[kind]) if doomed else None
        self.children[pid] = Child(kind, token, reading, now, deadline)

    def _wait(self) -> None:
        """Wait until a command answers or its time has come."""
        deadlines = [child.deadline for child in self.children.values() if child.deadline is not None]
        patience = max(0.0, min(deadlines, default=time.monotonic() + 30) - time.monotonic())
        answers = [child.answer for child in self.children.values()]
        ready, _, _ = select.select(answers, [], [], patience)
        for pid, child in list(self.children.items()):
            if child.answer in ready:
                self._end(pid, child)
            elif child.deadline is not None and child.deadline <= time.monotonic():
                os.kill(pid, signal.SIGKILL)
                self._end(pid, child)

    def _end(self, pid: int, child: Child) -> None:
        with os.fdopen(child.answer) as file:
            text = file.read()
        os.waitpid(pid, 0)
        del self.children[pid]
        if not text:
            if child.deadline is None or child.deadline > time.monotonic():
                self.problems.append(f"{child.token} ended by itself and without a word")
            self.killed.append(child)
            return
        said = json.loads(text)
        if "crash" in said:
            self.problems.append(f"{child.token} crashed: {said['crash']}")
        elif "refused" in said:
            self.refused[child.kind] += 1
        else:
            self.finished.append(said)
            self.usual[child.kind] += 0.2 * (time.monotonic() - child.start - self.usual[child.kind])

    def check(self) -> None:
        """Compare the registry with what the commands said."""
        commands.set_alias(
            self.store, Reference(NAME), "last", reason="end"
        )  # cleans up after the last that was killed
        self.problems += [str(finding) for finding in self.store.findings(NAME)]
        state = self.store.state(NAME)
        written = {entry.reason: entry for entry in state.entries}
        if len(written) != len(state.entries):
            self.problems.append("a command is in the history twice")
        for said in self.finished:
            entry = written.get(said["token"])
            if entry is None or (entry.number, entry.after) != (said["number"], said["after"]):
                self.problems.append(f"{said} was done, but the history has {entry}")
        known = (
            {said["token"] for said in self.finished}
            | {child.token for child in self.killed}
            | {"first", "second", "end"}
        )
        self.problems += [f"{reason} is nobody's" for reason in written if reason not in known]
        self.problems += _unlike_a_replay(state)
        for version in state.added:
            with self.store.opened(state, version):
                continue


def _unlike_a_replay(state: Any) -> list[str]:
    """Follow the champion by hand."""
    found, champions = [], []
    for entry in state.entries:
        if entry.alias != "champion":
            continue
        if entry.before != (champions[-1] if champions else None):
            found.append(f"{entry} does not start from the champion {champions[-1:]}")
        if entry.action == "rollback":
            champions.pop()
            if champions[-1] != entry.after:
                found.append(f"{entry} does not return to {champions[-1]}")
        else:
            champions.append(entry.after)
    return found if state.champion == champions[-1] else [*found, f"the champion is {state.champion}"]


def command(folder: Path, kind: str, token: str, seed: float, answer: int) -> None:
    """Do one command, say what became of it, and end this process."""
    try:
        said = {"token": token} | _do(folder, kind, token, random.Random(seed))
    except MlsysError as error:
        said = {"refused": str(error)}
    except BaseException:  # noqa: BLE001 - reported by the parent
        said = {"crash": traceback.format_exc()}
    os.write(answer, json.dumps(said).encode())
    os._exit(0)


def _do(folder: Path, kind: str, token: str, chance: random.Random) -> dict[str, Any]:
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    store = FolderStore(folder / "registry")
    if kind == "add":
        commands.add(store, _another(folder / "runs", token), NAME, reason=token)
        entry = next(entry for entry in store.state(NAME).entries if entry.reason == token)
    elif kind == "rollback":
        entry = commands.rollback(store, NAME, reason=token)
    else:
        state = store.state(NAME)
        version = chance.choice([version for version in state.added if version != state.champion] or ["1.0.0"])
        settings = read_settings(None, {"bootstrap_resamples": 100})
        done = commands.promote(store, Reference(NAME, version), settings, reason=token).entry
        if done is None:
            return {"refused": "it is champion already"}
        entry = done
    return {"number": entry.number, "after": entry.after}


def _another(folder: Path, token: str) -> Run:
    """Make a run that is no version yet: the first one's files, and another manifest."""
    shutil.copytree(folder / "0", folder / token, copy_function=os.link)
    manifest = folder / token / MANIFEST
    manifest.unlink()
    number = int(token.rpartition("-")[2])
    manifest.write_text(replace(Run.open(folder / "0", verify=False).manifest, seed=1000 + number).to_text())
    return Run.open(folder / token)


def watch(folder: Path, answer: int, stop: int) -> None:
    """Follow the champion as a service does, until told to stop; what it stands for must always be whole."""
    looks, problems = 0, []
    while not select.select([stop], [], [], 0.002)[0]:
        try:
            Run.open(resolve(f"registry:{NAME}@champion", folder / "registry").run)
        except BaseException as error:  # noqa: BLE001 - reported by the parent
            problems.append(repr(error))
        looks += 1
    os.write(answer, json.dumps({"looks": looks, "problems": problems[:5]}).encode())
    os._exit(0)


def begin(folder: Path) -> FolderStore:
    """Make a registry that has a champion."""
    store = FolderStore(folder / "registry")
    commands.add(store, write_run(folder / "runs" / "0"), NAME, reason=FIRST[0])
    commands.promote(store, Reference(NAME), read_settings(None, {"bootstrap_resamples": 100}), reason=FIRST[1])
    return store


def preload() -> None:
    """Import what commands need; this process itself uses none of it, since threads would be lost in a fork."""
    for name in ("pyarrow.parquet", "skops.io", "sklearn.impute", "sklearn.linear_model", "sklearn.pipeline"):
        import_module(name)
    for name in ("runs.golden", "runs.model_io", "evaluation.metrics"):
        import_module(f"mlsys.{name}")


def apart(function: Callable[[], object]) -> None:
    """Do something in a process of its own."""
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            function()
        except BaseException:  # noqa: BLE001 - told by the exit code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the registry cannot be begun")


def everywhere(folder: Path, stride: int) -> dict[str, Any]:
    """Kill each kind of command at each of its steps; return what was found.

    While a version is copied, which is many steps alike, only at every ``stride``-th.
    """
    apart(lambda: begin(folder))
    store = FolderStore(folder / "registry")
    steps: Counter[str] = Counter()
    problems: list[str] = []
    for kind in KINDS:
        for step in _steps(kind, stride):
            token = f"{kind}-{1000 * KINDS.index(kind) + step}"
            if kind == "rollback" and len(store.state(NAME).champions) < 2:
                apart(partial(_do, folder, "promote", f"ready-{step}", random.Random(step)))
            before = len(store.state(NAME).entries)
            survived = _survives(folder, kind, token, step)
            found = _after(store, before, token, survived=survived)
            problems += [f"{kind} at step {step}: {problem}" for problem in found]
            if survived:
                break
            steps[kind] += 1
    return {"kills": steps, "problems": problems}


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether something in the file system is about to change."""
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in {"os.rename", "os.mkdir", "os.chmod", "os.remove", "os.rmdir"}


def _steps(kind: str, stride: int) -> Iterator[int]:
    copying = 38 if kind == "add" else 1
    yield from range(1, copying, stride)
    yield from itertools.count(copying)


def _survives(folder: Path, kind: str, token: str, step: int) -> bool:
    """Do a command that is killed before its n-th change of the registry's files; return whether it had fewer."""
    pid = os.fork()
    if pid == 0:
        left, place = step, str(folder / "registry")

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if _changes(event, arguments) and place in str(arguments):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            _do(folder, kind, token, random.Random(step))
        except BaseException:  # noqa: BLE001 - the parent reports it as a command that did not survive or was not done
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _after(store: FolderStore, before: int, token: str, *, survived: bool) -> list[str]:
    """Look before and after another command."""
    resolve(f"registry:{NAME}@champion", store.root)
    found = [str(finding) for finding in store.findings(NAME) if finding.level == "damage"]
    commands.set_alias(store, Reference(NAME), f"after-{token}", reason="end")
    found += [str(finding) for finding in store.findings(NAME)]
    entries = [entry.reason for entry in store.state(NAME).entries[before:]]
    if entries not in ([["end"]] if not survived else []) + [[token, "end"]]:
        found.append(f"the history has {entries}")
    return found


def storm(folder: Path, kills: int, workers: int, seed: int) -> dict[str, Any]:
    """Let it storm; return what was found."""
    first = Storm(folder, kills, workers, random.Random(seed))
    apart(lambda: begin(folder))
    reading, writing = os.pipe()
    stopping, stop = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        watch(folder, writing, stopping)
    start = time.monotonic()
    first.run()
    seconds = time.monotonic() - start
    os.write(stop, b"x")
    seen = json.loads(os.read(reading, 100_000))
    os.waitpid(watcher, 0)
    first.check()
    return {
        "kills": Counter(child.kind for child in first.killed),
        "finished": Counter(said["token"].partition("-")[0] for said in first.finished),
        "refused": first.refused,
        "in the history though killed": len(
            {child.token for child in first.killed} & {entry.reason for entry in first.store.state(NAME).entries}
        ),
        "looks": seen["looks"],
        "seconds": round(seconds, 1),
        "problems": [*first.problems, *seen["problems"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--everywhere", type=int, metavar="STRIDE")
    given = parser.parse_args()
    preload()
    found = {}
    if given.kills:
        found["random"] = storm(given.folder / "random", given.kills, given.workers, given.seed)
    if given.everywhere:
        found["everywhere"] = everywhere(given.folder / "everywhere", given.everywhere)
    sys.stdout.write(json.dumps(found) + "\n")
    sys.exit(any(each["problems"] for each in found.values()))


if __name__ == "__main__":
    main()
