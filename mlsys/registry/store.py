"""Interface of a registry; the commands are the same for every kind of registry."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from mlsys.registry.history import Action, Entry, State
from mlsys.runs import Run


@dataclass(frozen=True)
class Draft:
    """An entry before it is written; see `Entry` for the attributes."""

    action: Action
    alias: str | None
    before: str | None
    after: str | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, number: int) -> Entry:
        """Return the history entry, by this user and with the current time."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Entry(number, time, who(), self.action, self.alias, self.before, self.after, self.reason, self.details)


# Called with the locked model's state; returns the change to make, or None for no change.
Plan = Callable[[State], Draft | None]


@dataclass(frozen=True)
class VerifyFinding:
    """Problem that `mlsys registry verify` found.

    Attributes
    ----------
    model : str
    where : str
        Version, alias or file, or "history".
    level : {"damage", "unfinished"}
        "unfinished" for what a killed command left behind; the next command that writes completes or removes it.
    problem : str
    """

    model: str
    where: str
    level: Literal["damage", "unfinished"]
    problem: str


class RegistryStore(Protocol):
    """A registry, in a folder or in MLflow."""

    @property
    def where(self) -> str:
        """Address shown to users, without a password."""
        ...

    def names(self) -> list[str]:
        """Return the names of all models."""
        ...

    def state(self, name: str) -> State:
        """Return the versions and aliases of a model; raises a `RegistryError` if the model is not found."""
        ...

    def add(self, name: str, run: Run, plan: Plan) -> Entry | None:
        """Add a run as a version of a model, atomically."""
        ...

    def move(self, name: str, plan: Plan) -> Entry | None:
        """Point an alias at another version."""
        ...

    def opened(self, state: State, version: str) -> AbstractContextManager[Run]:
        """Open the run of a version after comparing every file with its digest."""
        ...

    def address(self, state: State, version: str) -> str:
        """Return the path or URI to load a version from."""
        ...

    def findings(self, name: str) -> list[VerifyFinding]:
        """Return all problems of a model."""
        ...


def who() -> str:
    """Return ``USER@MACHINE``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # users of a container may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
