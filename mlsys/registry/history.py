"""History of one registered model, and the versions and aliases that follow from it.

The history is the source of truth for versions and aliases. Each line ends with a digest of itself and of all lines
before it, so that no line can be changed, dropped or inserted unnoticed.
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
    """One change to a registered model.

    Attributes
    ----------
    number : int
        Line number, from 1.
    time : str
        ISO 8601, UTC.
    who : str
        ``USER@MACHINE``.
    action : {"add", "promote", "rollback", "alias", "unalias", "outside"}
        "outside": another program, such as MLflow's own page, moved the alias.
    alias : str or None
        Alias that moved; None if a version was added.
    before, after : str or None
        Versions that the alias moved from and to (``from`` and ``to`` in the file); for an added version, the latest
        version before it and the version itself.
    reason : str or None
        Reason that the user gave.
    details : mapping
        For an added version, the run it was copied from and the digest of its manifest. For a promotion, the result of
        the gate and whether the promotion was forced.
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
        """Return the entry under the keys used in the file."""
        return dict(zip(KEYS, asdict(self).values(), strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Entry:
        """Return the entry that `to_dict` wrote.

        Raises
        ------
        ValueError
            If keys or types differ.
        """
        entry = cls(*(values.get(key) for key in KEYS))  # type: ignore[arg-type]
        texts = (entry.time, entry.who)
        optional = (entry.alias, entry.before, entry.after, entry.reason)
        if (
            set(values) != set(KEYS)
            or type(entry.number) is not int
            or entry.action not in get_args(Action)
            or not all(isinstance(text, str) for text in texts)
            or not all(text is None or isinstance(text, str) for text in optional)
            or not isinstance(entry.details, dict)
        ):
            raise ValueError("unexpected keys or types")
        return entry


@dataclass(frozen=True)
class State:
    """Versions and aliases of a registered model.

    Attributes
    ----------
    name : str
        Name of the registered model.
    entries : sequence of Entry
        History, oldest first.
    added : mapping of str to Entry
        Entry that added each version, oldest first.
    aliases : mapping of str to str
        Version that each alias points to.
    champions : sequence of str
        Stack of champions: the last is the current one, and a rollback returns to the one before.
    """

    name: str
    entries: Sequence[Entry] = ()
    added: Mapping[str, Entry] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    champions: Sequence[str] = ()

    @property
    def champion(self) -> str | None:
        """The champion's version."""
        return self.aliases.get(CHAMPION)

    @property
    def latest(self) -> str | None:
        """The highest version."""
        return max(self.added, key=Version.parse, default=None)

    def aliases_of(self, version: str) -> list[str]:
        """Return the aliases that point to a version."""
        return [alias for alias, each in self.aliases.items() if each == version]

    def version_of(self, reference: Reference, default: str | None) -> str:
        """Return the version that a reference points to.

        Parameters
        ----------
        reference : Reference
        default : str or None
            Version for a reference that is a name alone.

        Raises
        ------
        RegistryError
            If the version or alias is not found; lists those that exist.
        """
        version = default
        if reference.alias is not None:
            version = self.aliases.get(reference.alias)
        elif reference.version is not None:
            version = reference.version if reference.version in self.added else None
        if version is None:
            raise RegistryError(self._not_found(reference))
        return version

    def _not_found(self, reference: Reference) -> str:
        names = [*self.aliases, *self.added]
        requested = reference.alias or reference.version or CHAMPION
        near = closest(requested, names)
        hint = f" (closest: {near})" if near else ""
        available = f"It has {', '.join(names)}{hint}." if names else "It has no versions yet."
        advice = f"To promote the latest version, run `mlsys registry promote {self.name}`."
        return f"{self.name} has no {requested}. {available} {advice if requested == CHAMPION else ''}".rstrip()


def state_of(name: str, entries: Iterable[Entry]) -> State:
    """Return the versions and aliases that follow from a history."""
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
    """Serialize a history, one JSON line per entry."""
    lines, digest = [], ""
    for entry in entries:
        digest = _chained_digest(entry, digest)
        lines.append(json.dumps({**entry.to_dict(), "sha256": digest}, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode()


def from_lines(data: bytes, where: str) -> list[Entry]:
    """Parse the content of a history file.

    Parameters
    ----------
    data : bytes
    where : str
        Path shown in errors.

    Raises
    ------
    RegistryError
        If a line is truncated, changed or missing; names the first one.
    """
    entries: list[Entry] = []
    digest = ""
    *lines, rest = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            recorded = values.pop("sha256")
            entry = Entry.from_dict(values)
            digest = _chained_digest(entry, digest)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise _damaged(where, number, f"it cannot be read ({error})") from error
        if recorded != digest or entry.number != number:
            raise _damaged(where, number, "it or an earlier line was changed, dropped or inserted")
        entries.append(entry)
    if rest:
        raise _damaged(where, len(lines) + 1, "it is truncated")
    return entries


def _chained_digest(entry: Entry, before: str) -> str:
    text = json.dumps([before, entry.to_dict()], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(where: str, number: int, reason: str) -> RegistryError:
    return RegistryError(
        f"{where} is damaged: line {number}: {reason}. Later lines cannot be trusted either: restore the file from a "
        "backup. Nothing was changed."
    )
