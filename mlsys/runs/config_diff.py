"""Configs of runs as flat keys, and the keys in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "(absent)"
# What differs between any two trials of a sweep because it names them.
NAMES = frozenset({"search.trial"})


def flatten(value: object, prefix: str = "") -> dict[str, Any]:
    """Return a config as one level of dotted keys; lists stay whole.

    Examples
    --------
    >>> flat({"model": {"depth": 3}, "tags": ["a"], "search": None, "empty": {}})
    {'model.depth': 3, 'tags': ['a'], 'search': None}
    """
    if not isinstance(value, Mapping):
        return {prefix: value} if prefix else {}
    return {
        key: leaf
        for name, entry in value.items()
        for key, leaf in flatten(entry, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the keys whose values are not the same in all configs, with each config's value.

    Parameters
    ----------
    configs : sequence of mapping
        Nested configs.

    Returns
    -------
    dict of str to list
        What was chosen first, then the keys in the order of the configs. `ABSENT` where a config has no such key.

    Examples
    --------
    >>> differing([{"seed": 0, "model": {"depth": 3}}, {"seed": 0, "model": {"C": 1.0}}])
    {'model.depth': [3, '(absent)'], 'model.C': ['(absent)', 1.0]}
    """
    flats = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for each in flats for key in each)
    found = {key: [each.get(key, ABSENT) for each in flats] for key in keys if key not in NAMES}
    unequal = {key: values for key, values in found.items() if any(not _same(values[0], value) for value in values)}
    chosen = [key for key in unequal if key.startswith("choices.")]
    return {key: unequal[key] for key in [*chosen, *(key for key in unequal if key not in chosen)]}


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)  # 1 is not true
