"""What was done to one registered model: the lines of its history, and what they add up to.

The history is the truth: versions and aliases are what its lines say. Each line ends with a digest of itself and of all
lines before it, so that none can be changed, dropped or put in between unnoticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from mlsys.errors import RegistryError, closest
from mlsys.registry.names import CHAMPION, Reference, Version

Action = Literal["add", "promote", "rollback", "alias", "unalias", "outside"]
KEYS = ("number", "time", "who", "action", "alias", "from", "to", "reason", "details")


@dataclass(frozen=True)
class Entry:
    """One thing that was done.

    Attributes
    ----------
    number : int
        Counts from 1.
    time : str
        ISO 8601, UTC.
    who : str
        ``USER@MACHINE``.
    action : {"add", "promote", "rollback", "alias", "unalias", "outside"}
        "outside": an alias was found moved by another program, as MLflow's own page can do.
    alias : str or None
        The alias that moved; None where a version was added.
    before, after : str or None
        The version that it moved from and to (``from`` and ``to`` in the file); for an added version the latest one
        before it, and itself.
    why : str or None
        The reason that was given.
    details : mapping
        Of an added version: the run that it is a copy of, and the digest of its manifest. Of a promotion: what the
        gate found, and whether it was forced.
    """

    number: int
    time: str
    who: str
    action: Action
    alias: str | None
    before: str | None
    after: str | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it with the names that the file has."""
        return dict(zip(KEYS, asdict(self).values(), strict=True))

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Entry:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            If it has other keys or types.
        """
        entry = cls(*(given.get(key) for key in KEYS))  # type: ignore[arg-type]
        texts = (entry.time, entry.who)
        optional = (entry.alias, entry.before, entry.after, entry.reason)
        if (
            set(given) != set(KEYS)
            or type(entry.number) is not int
            or entry.action not in get_args(Action)
            or not all(isinstance(text, str) for text in texts)
            or not all(text is None or isinstance(text, str) for text in optional)
            or not isinstance(entry.details, dict)
        ):
            raise ValueError("it lacks what a line of the history must have")
        return entry


@dataclass(frozen=True)
class State:
    """What a history adds up to.

    Attributes
    ----------
    name : str
        Of the registered model.
    entries : sequence of Entry
        In the order in which they were done.
    added : mapping of str to Entry
        For each version, how it came; in the order of time.
    aliases : mapping of str to str
        The version that each alias stands for.
    champions : sequence of str
        The champion last, before it those that a rollback returns to, the next one last.
    """

    name: str
    entries: Sequence[Entry] = ()
    added: Mapping[str, Entry] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    champions: Sequence[str] = ()

    @property
    def champion(self) -> str | None:
        """The version that is served."""
        return self.aliases.get(CHAMPION)

    @property
    def latest(self) -> str | None:
        """The highest version."""
        return max(self.added, key=Version.parse, default=None)

    def aliases_of(self, version: str) -> list[str]:
        """Return the aliases that stand for a version."""
        return [alias for alias, each in self.aliases.items() if each == version]

    def version_of(self, reference: Reference, default: str | None) -> str:
        """Return the version that a user means.

        Parameters
        ----------
        reference : Reference
        default : str or None
            What a bare name stands for.

        Raises
        ------
        RegistryError
            If there is none; says what there is.
        """
        found = default
        if reference.alias is not None:
            found = self.aliases.get(reference.alias)
        elif reference.version is not None:
            found = reference.version if reference.version in self.added else None
        if found is None:
            raise RegistryError(self._nothing(reference))
        return found

    def _nothing(self, reference: Reference) -> str:
        held = [*self.aliases, *self.added]
        wanted = reference.alias or reference.version or CHAMPION
        near = closest(wanted, held)
        hint = f" (closest: {near})" if near else ""
        have = f"It has {', '.join(held)}{hint}." if held else "It has no versions yet."
        todo = f"`mlsys registry promote {self.name}` makes the latest version its champion."
        return f"{self.name} has no {wanted}. {have} {todo if wanted == CHAMPION else ''}".rstrip()


def state_of(name: str, entries: Iterable[Entry]) -> State:
    """Return what a history adds up to."""
    listed = list(entries)
    added: dict[str, Entry] = {}
    aliases: dict[str, str] = {}
    champions: list[str] = []
    for entry in listed:
        if entry.action == "add" and entry.after is not None:
            added[entry.after] = entry
        elif entry.alias is not None and entry.after is None:
            aliases.pop(entry.alias, None)
        elif entry.alias is not None and entry.after is not None:
            aliases[entry.alias] = entry.after
        if entry.alias == CHAMPION:
            champions = _champions(champions, entry)
    return State(name, listed, added, aliases, champions)


def _champions(before: Sequence[str], entry: Entry) -> list[str]:
    if entry.action == "rollback":
        return list(before[:-1])
    return [*before, entry.after] if entry.after is not None else list(before)


def to_lines(entries: Sequence[Entry]) -> bytes:
    """Return the content of a history file."""
    lines, seal = [], ""
    for entry in entries:
        seal = _seal(entry, seal)
        lines.append(json.dumps({**entry.to_dict(), "sha256": seal}, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode()


def from_lines(data: bytes, where: str) -> list[Entry]:
    """Read the content of a history file.

    Parameters
    ----------
    data : bytes
    where : str
        Its path, for errors.

    Raises
    ------
    RegistryError
        If any line is torn, was changed, or is missing; names the first.
    """
    entries: list[Entry] = []
    seal = ""
    *lines, rest = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            given = json.loads(line)
            said = given.pop("sha256")
            entry = Entry.from_dict(given)
            seal = _seal(entry, seal)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise _damaged(where, number, f"it cannot be read ({error})") from error
        if said != seal or entry.number != number:
            raise _damaged(where, number, "it, or a line before it, was changed, dropped or added")
        entries.append(entry)
    if rest:
        raise _damaged(where, len(lines) + 1, "it ends before its end")
    return entries


def _seal(entry: Entry, before: str) -> str:
    text = json.dumps([before, entry.to_dict()], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(where: str, number: int, reason: str) -> RegistryError:
    return RegistryError(
        f"{where} is damaged: line {number}: {reason}. Nothing in it can be trusted from there on: restore it from a "
        "copy. Nothing was changed."
    )
