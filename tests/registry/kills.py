"""Run commands on one registry in parallel processes and kill many of them at random moments.

    python -m tests.registry.kills FOLDER [--kills 200] [--workers 4] [--seed 0] [--everywhere STRIDE]

Each command runs in its own process, forked from this one so that it need not import anything. With ``--everywhere``
each command is killed before its first change to the registry's files, then before its second, and so on until it
survives. The last line printed is the result as JSON; the exit code is 1 if anything is wrong.
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
WEIGHTS = (5, 4, 3)
COMMAND_TIMEOUT = HANG  # seconds until a command that hangs prints its traceback and exits
KILL_PROBABILITY = 0.75  # each kill comes at a random moment within 1.2 times the typical duration


@dataclass
class Child:
    """A running command."""

    kind: str
    token: str
    pipe: int
    start: float
    deadline: float | None


@dataclass
class KillTest:
    """Commands that run in parallel, and their results."""

    folder: Path
    kills: int
    workers: int
    random: random.Random
    children: dict[int, Child] = field(default_factory=dict)
    finished: list[dict[str, Any]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    killed: list[Child] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    typical_seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.15))
    started: int = 0

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "registry")

    def run(self) -> None:
        """Start commands and kill some until enough were killed; then wait for the rest."""
        while len(self.killed) < self.kills:
            while len(self.children) < self.workers:
                self._start()
            self._wait()
        while self.children:
            self._wait()

    def _start(self) -> None:
        self.started += 1
        kind = self.random.choices(KINDS, WEIGHTS)[0]
        token, seed = f"{kind}-{self.started}", self.random.random()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            command(self.folder, kind, token, seed, writing)
        os.close(writing)
        now = time.monotonic()
        to_kill = self.random.random() < KILL_PROBABILITY
        deadline = now + self.random.uniform(0, 1.2 * self.typical_seconds[kind]) if to_kill else None
        self.children[pid] = Child(kind, token, reading, now, deadline)

    def _wait(self) -> None:
        """Wait until a command finishes or is due to be killed."""
        deadlines = [child.deadline for child in self.children.values() if child.deadline is not None]
        patience = max(0.0, min(deadlines, default=time.monotonic() + 30) - time.monotonic())
        pipes = [child.pipe for child in self.children.values()]
        ready, _, _ = select.select(pipes, [], [], patience)
        for pid, child in list(self.children.items()):
            if child.pipe in ready:
                self._end(pid, child)
            elif child.deadline is not None and child.deadline <= time.monotonic():
                os.kill(pid, signal.SIGKILL)
                self._end(pid, child)

    def _end(self, pid: int, child: Child) -> None:
        with os.fdopen(child.pipe) as file:
            text = file.read()
        os.waitpid(pid, 0)
        del self.children[pid]
        if not text:
            if child.deadline is None or child.deadline > time.monotonic():
                self.problems.append(f"{child.token} exited without a result")
            self.killed.append(child)
            return
        result = json.loads(text)
        if "crash" in result:
            self.problems.append(f"{child.token} crashed: {result['crash']}")
        elif "refused" in result:
            self.refused[child.kind] += 1
        else:
            self.finished.append(result)
            seconds = time.monotonic() - child.start
            self.typical_seconds[child.kind] += 0.2 * (seconds - self.typical_seconds[child.kind])

    def check(self) -> None:
        """Compare the registry with the results of the commands."""
        commands.set_alias(self.store, Reference(NAME), "last", reason="end")  # cleans up after the last killed command
        self.problems += [str(finding) for finding in self.store.findings(NAME)]
        state = self.store.state(NAME)
        written = {entry.reason: entry for entry in state.entries}
        if len(written) != len(state.entries):
            self.problems.append("a command is in the history twice")
        for result in self.finished:
            entry = written.get(result["token"])
            if entry is None or (entry.number, entry.after) != (result["number"], result["after"]):
                self.problems.append(f"{result} was reported, but the history has {entry}")
        known = (
            {result["token"] for result in self.finished}
            | {child.token for child in self.killed}
            | {"first", "second", "end"}
        )
        self.problems += [f"{reason} belongs to no command" for reason in written if reason not in known]
        self.problems += _replay_problems(state)
        for version in state.added:
            with self.store.opened(state, version):
                continue


def _replay_problems(state: Any) -> list[str]:
    """Replay the history of the champion and return what does not add up."""
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


def command(folder: Path, kind: str, token: str, seed: float, pipe: int) -> None:
    """Run one command, write its result to the pipe and exit."""
    try:
        result = {"token": token} | _do(folder, kind, token, random.Random(seed))
    except MlsysError as error:
        result = {"refused": str(error)}
    except BaseException:  # noqa: BLE001 - reported by the parent
        result = {"crash": traceback.format_exc()}
    os.write(pipe, json.dumps(result).encode())
    os._exit(0)


def _do(folder: Path, kind: str, token: str, rng: random.Random) -> dict[str, Any]:
    faulthandler.dump_traceback_later(COMMAND_TIMEOUT, exit=True)
    store = FolderStore(folder / "registry")
    if kind == "add":
        commands.add(store, _new_run(folder / "runs", token), NAME, reason=token)
        entry = next(entry for entry in store.state(NAME).entries if entry.reason == token)
    elif kind == "rollback":
        entry = commands.rollback(store, NAME, reason=token)
    else:
        state = store.state(NAME)
        version = rng.choice([version for version in state.added if version != state.champion] or ["1.0.0"])
        settings = read_settings(None, {"bootstrap_resamples": 100})
        done = commands.promote(store, Reference(NAME, version), settings, reason=token).entry
        if done is None:
            return {"refused": "already the champion"}
        entry = done
    return {"number": entry.number, "after": entry.after}


def _new_run(folder: Path, token: str) -> Run:
    """Create a run that is not registered yet: the first run's files with a different manifest."""
    shutil.copytree(folder / "0", folder / token, copy_function=os.link)
    manifest = folder / token / MANIFEST
    manifest.unlink()
    number = int(token.rpartition("-")[2])
    manifest.write_text(replace(Run.open(folder / "0", verify=False).manifest, seed=1000 + number).to_text())
    return Run.open(folder / token)


def follow(folder: Path, pipe: int, stop: int) -> None:
    """Open the champion repeatedly, as a service does, until stopped; it must always be intact."""
    reads, problems = 0, []
    while not select.select([stop], [], [], 0.002)[0]:
        try:
            Run.open(resolve(f"registry:{NAME}@champion", folder / "registry").run)
        except BaseException as error:  # noqa: BLE001 - reported by the parent
            problems.append(repr(error))
        reads += 1
    os.write(pipe, json.dumps({"reads": reads, "problems": problems[:5]}).encode())
    os._exit(0)


def create_registry(folder: Path) -> FolderStore:
    """Create a registry that has a champion."""
    store = FolderStore(folder / "registry")
    commands.add(store, write_run(folder / "runs" / "0"), NAME, reason=FIRST[0])
    commands.promote(store, Reference(NAME), read_settings(None, {"bootstrap_resamples": 100}), reason=FIRST[1])
    return store


def preload() -> None:
    """Import what commands need, without using it here, because threads do not survive a fork."""
    for name in ("pyarrow.parquet", "skops.io", "sklearn.impute", "sklearn.linear_model", "sklearn.pipeline"):
        import_module(name)
    for name in ("runs.golden", "runs.model_io", "evaluation.metrics"):
        import_module(f"mlsys.{name}")


def in_subprocess(function: Callable[[], object]) -> None:
    """Call a function in a process of its own."""
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(COMMAND_TIMEOUT, exit=True)
        try:
            function()
        except BaseException:  # noqa: BLE001 - reported by the exit code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the command failed; see its traceback above")


def kill_at_every_step(folder: Path, stride: int) -> dict[str, Any]:
    """Kill each kind of command at each of its steps; return kills and problems.

    While a version is copied, which takes many similar steps, kill only at every ``stride``-th step.
    """
    in_subprocess(lambda: create_registry(folder))
    store = FolderStore(folder / "registry")
    steps: Counter[str] = Counter()
    problems: list[str] = []
    for kind in KINDS:
        for step in _steps(kind, stride):
            token = f"{kind}-{1000 * KINDS.index(kind) + step}"
            if kind == "rollback" and len(store.state(NAME).champions) < 2:
                in_subprocess(partial(_do, folder, "promote", f"ready-{step}", random.Random(step)))
            before = len(store.state(NAME).entries)
            survived = _survives(folder, kind, token, step)
            found = _check_after(store, before, token, survived=survived)
            problems += [f"{kind} at step {step}: {problem}" for problem in found]
            if survived:
                break
            steps[kind] += 1
    return {"kills": steps, "problems": problems}


def _is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether an audit event announces a change to the file system."""
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in {"os.rename", "os.mkdir", "os.chmod", "os.remove", "os.rmdir"}


def _steps(kind: str, stride: int) -> Iterator[int]:
    copying = 38 if kind == "add" else 1
    yield from range(1, copying, stride)
    yield from itertools.count(copying)


def _survives(folder: Path, kind: str, token: str, step: int) -> bool:
    """Run a command and kill it before its n-th change to the registry's files; return whether it finished first."""
    pid = os.fork()
    if pid == 0:
        left, registry = step, str(folder / "registry")

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if _is_change(event, arguments) and registry in str(arguments):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            _do(folder, kind, token, random.Random(step))
        except BaseException:  # noqa: BLE001 - the parent reports a command that did not survive
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _check_after(store: FolderStore, before: int, token: str, *, survived: bool) -> list[str]:
    """Return problems of the registry right after a kill and after one more command."""
    resolve(f"registry:{NAME}@champion", store.root)
    found = [str(finding) for finding in store.findings(NAME) if finding.level == "damage"]
    commands.set_alias(store, Reference(NAME), f"after-{token}", reason="end")
    found += [str(finding) for finding in store.findings(NAME)]
    entries = [entry.reason for entry in store.state(NAME).entries[before:]]
    if entries not in ([["end"]] if not survived else []) + [[token, "end"]]:
        found.append(f"the history has {entries}")
    return found


def run_random_kills(folder: Path, kills: int, workers: int, seed: int) -> dict[str, Any]:
    """Run and kill commands at random while a follower reads the champion; return counts and problems."""
    test = KillTest(folder, kills, workers, random.Random(seed))
    in_subprocess(lambda: create_registry(folder))
    reading, writing = os.pipe()
    stopping, stop = os.pipe()
    follower = os.fork()
    if follower == 0:
        follow(folder, writing, stopping)
    start = time.monotonic()
    test.run()
    seconds = time.monotonic() - start
    os.write(stop, b"x")
    seen = json.loads(os.read(reading, 100_000))
    os.waitpid(follower, 0)
    test.check()
    return {
        "kills": Counter(child.kind for child in test.killed),
        "finished": Counter(result["token"].partition("-")[0] for result in test.finished),
        "refused": test.refused,
        "in the history though killed": len(
            {child.token for child in test.killed} & {entry.reason for entry in test.store.state(NAME).entries}
        ),
        "reads": seen["reads"],
        "seconds": round(seconds, 1),
        "problems": [*test.problems, *seen["problems"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--everywhere", type=int, metavar="STRIDE")
    arguments = parser.parse_args()
    preload()
    found = {}
    if arguments.kills:
        found["random"] = run_random_kills(
            arguments.folder / "random", arguments.kills, arguments.workers, arguments.seed
        )
    if arguments.everywhere:
        found["everywhere"] = kill_at_every_step(arguments.folder / "everywhere", arguments.everywhere)
    sys.stdout.write(json.dumps(found) + "\n")
    sys.exit(any(each["problems"] for each in found.values()))


if __name__ == "__main__":
    main()
