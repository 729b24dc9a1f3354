"""Which part of a version to bump: whether callers, the model or only the data changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlsys.errors import ConfigError, Problem
from mlsys.registry.names import PARTS, Part
from mlsys.runs import Run
from mlsys.runs.config_diff import ABSENT, flatten

# Config keys that describe where the data live and how the run was launched or tracked, not the model.
IGNORED_KEYS = (
    "tags",
    "threads",
    "tracking",
    "search",
    "choices.tracking",
    "choices.search",
    *(f"data.{key}" for key in ("dir", "path", "url", "engine", "cache", "cache_dir", "cache_gb", "memory_gb")),
)
INPUT_FIELDS = ("dtype", "unit")
ROLE_KEYS = ("id", "as_of", "target", "positive")


@dataclass(frozen=True)
class Bump:
    """Part of the version to bump, and the reasons.

    Attributes
    ----------
    part : {"major", "minor", "patch"}
    reasons : tuple of str
        What changed; empty if only the data did.
    """

    part: Part
    reasons: tuple[str, ...] = ()


def required_bump(before: Run, after: Run) -> Bump:
    """Return the smallest bump allowed from one version to the next.

    Parameters
    ----------
    before, after : Run

    Returns
    -------
    Bump
        "major" if callers must change what they send: an input added, removed or with a new type or unit, one that may
        no longer be missing, or a new id, as-of or target. "minor" if the config differs. Otherwise "patch".
    """
    inputs = tuple(_input_changes(before.schema, after.schema))
    if inputs:
        return Bump("major", inputs)
    settings = tuple(_config_changes(before.config, after.config))
    return Bump("minor", settings) if settings else Bump("patch")


def resolve_bump(required: Bump, requested: Part | None) -> Bump:
    """Return the requested bump, or the required one if none is requested.

    Raises
    ------
    ConfigError
        If the requested part is smaller than the required one.
    """
    if requested is None or requested == required.part:
        return required
    if PARTS.index(requested) < PARTS.index(required.part):
        allowed = " or ".join(PARTS[PARTS.index(required.part) :])
        reasons = "; ".join(required.reasons)
        problem = Problem("--bump", requested, f"{allowed}, because {reasons}")
        raise ConfigError("The command", [problem], "Nothing was added. --bump can only bump a larger part.")
    return Bump(requested, ("--bump",))


def _input_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = ({each["name"]: each for each in schema["inputs"]} for schema in (before, after))
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            yield f"the input {name} was removed"
        elif name not in old:
            yield f"the input {name} was added"
        else:
            yield from _field_changes(name, old[name], new[name])
    for key in ROLE_KEYS:
        if before.get(key) != after.get(key):
            yield f"{key} is {after.get(key)!r}, was {before.get(key)!r}"


def _field_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in INPUT_FIELDS:
        if old.get(key) != new.get(key):
            yield f"the {key} of the input {name} is {new.get(key)}, was {old.get(key)}"
    if old.get("nullable") and not new.get("nullable"):
        yield f"the input {name} may no longer be missing"


def _config_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = flatten(before), flatten(after)
    for key in [*old, *(key for key in new if key not in old)]:
        if any(key == each or key.startswith(f"{each}.") for each in IGNORED_KEYS):
            continue
        one, other = old.get(key, ABSENT), new.get(key, ABSENT)
        if one != other or isinstance(one, bool) != isinstance(other, bool):
            yield f"{key} is {other}, was {one}"
