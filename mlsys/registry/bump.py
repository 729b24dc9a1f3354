"""Which part of the version rises: what changed for callers, for the model, or only in the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlsys.errors import ConfigError, Problem
from mlsys.registry.names import PARTS, Part
from mlsys.runs import Run
from mlsys.runs.config_diff import ABSENT, flatten

# Config keys that say where a run found its data and where it is shown, not what it is.
ELSEWHERE = (
    "tags",
    "threads",
    "tracking",
    "search",
    "choices.tracking",
    "choices.search",
    *(f"data.{key}" for key in ("dir", "path", "url", "cache", "cache_dir", "cache_gb")),
)
FIELDS = ("dtype", "unit")
NAMES = ("id", "as_of", "target", "positive")


@dataclass(frozen=True)
class Rise:
    """Which part rises, and why.

    Attributes
    ----------
    part : {"major", "minor", "patch"}
    reasons : tuple of str
        What changed; empty if nothing but the data did.
    """

    part: Part
    reasons: tuple[str, ...] = ()


def needed(before: Run, after: Run) -> Rise:
    """Return the part that has to rise from one version to the next.

    Parameters
    ----------
    before, after : Run

    Returns
    -------
    Rise
        "major" if whoever sends rows has to change something: an input more, fewer or of another type or unit, one that
        may no longer be missing, another id, as-of or target. "minor" if the config differs. Otherwise "patch".
    """
    inputs = tuple(_input_changes(before.schema, after.schema))
    if inputs:
        return Rise("major", inputs)
    settings = tuple(_config_changes(before.config, after.config))
    return Rise("minor", settings) if settings else Rise("patch")


def raised(rise: Rise, wanted: Part | None) -> Rise:
    """Return the part that rises where one is asked for.

    Raises
    ------
    ConfigError
        If a smaller one than needed is asked for.
    """
    if wanted is None or wanted == rise.part:
        return rise
    if PARTS.index(wanted) < PARTS.index(rise.part):
        allowed = " or ".join(PARTS[PARTS.index(rise.part) :])
        reasons = "; ".join(rise.reasons)
        problem = Problem("--bump", wanted, f"{allowed}, since {reasons}")
        raise ConfigError("The command", [problem], "Nothing was added. --bump may only raise the version further.")
    return Rise(wanted, ("--bump",))


def _input_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = ({each["name"]: each for each in schema["inputs"]} for schema in (before, after))
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            yield f"the input {name} is gone"
        elif name not in old:
            yield f"the input {name} is new"
        else:
            yield from _field_changes(name, old[name], new[name])
    for key in NAMES:
        if before.get(key) != after.get(key):
            yield f"{key} is {after.get(key)!r}, was {before.get(key)!r}"


def _field_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in FIELDS:
        if old.get(key) != new.get(key):
            yield f"the input {name} has the {key} {new.get(key)}, had {old.get(key)}"
    if old.get("nullable") and not new.get("nullable"):
        yield f"the input {name} may no longer be missing"


def _config_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = flatten(before), flatten(after)
    for key in [*old, *(key for key in new if key not in old)]:
        if any(key == each or key.startswith(f"{each}.") for each in ELSEWHERE):
            continue
        one, other = old.get(key, ABSENT), new.get(key, ABSENT)
        if one != other or isinstance(one, bool) != isinstance(other, bool):
            yield f"{key} is {other}, was {one}"
