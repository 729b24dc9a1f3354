"""What a place that keeps registered models can do; the commands are the same for each of them."""

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
    """What is to be done; see `Entry` for the attributes."""

    action: Action
    alias: str | None
    before: str | None
    after: str | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, number: int) -> Entry:
        """Return the line of the history, done by this user at this moment."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Entry(number, time, who(), self.action, self.alias, self.before, self.after, self.reason, self.details)


# Given what there is once nobody else can change it, says what is to be done; None is nothing.
Plan = Callable[[State], Draft | None]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes
    ----------
    model : str
    where : str
        A version, an alias, or the history.
    level : {"damage", "unfinished"}
        "unfinished": what a killed command left behind; the next command that writes completes or removes it.
    problem : str
    """

    model: str
    where: str
    level: Literal["damage", "unfinished"]
    problem: str


class RegistryStore(Protocol):
    """A place that keeps registered models."""

    @property
    def where(self) -> str:
        """What people call it, without a password."""
        ...

    def names(self) -> list[str]:
        """Return the names of all models."""
        ...

    def state(self, name: str) -> State:
        """Return what there is of a model; raises a RegistryError if there is nothing."""
        ...

    def add(self, name: str, run: Run, plan: Plan) -> Entry | None:
        """Keep a run as a version of a model, all of it or nothing."""
        ...

    def move(self, name: str, plan: Plan) -> Entry | None:
        """Let an alias stand for another version."""
        ...

    def opened(self, state: State, version: str) -> AbstractContextManager[Run]:
        """Give the run of a version, every file compared with its digest."""
        ...

    def address(self, state: State, version: str) -> str:
        """Return where a version is, for people and for what loads it."""
        ...

    def findings(self, name: str) -> list[Finding]:
        """Return all that is wrong with a model."""
        ...


def who() -> str:
    """Return ``USER@MACHINE``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
