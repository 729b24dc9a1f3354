"""Compare the configs of runs, as flat dotted keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "(absent)"
# Keys that differ between any two trials of a sweep because they identify the trial.
IGNORED_KEYS = frozenset({"search.trial"})


def flatten(value: object, prefix: str = "") -> dict[str, Any]:
    """Flatten a config to dotted keys; lists are kept.

    Examples
    --------
    >>> flatten({"model": {"depth": 3}, "tags": ["a"], "search": None, "empty": {}})
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
    """Return the keys whose values differ between configs, with each config's value.

    Parameters
    ----------
    configs : sequence of mapping
        Nested configs.

    Returns
    -------
    dict of str to list
        Config group choices first, then the keys in the order of the configs. `ABSENT` if a config lacks a key.

    Examples
    --------
    >>> differing_keys([{"seed": 0, "model": {"depth": 3}}, {"seed": 0, "model": {"C": 1.0}}])
    {'model.depth': [3, '(absent)'], 'model.C': ['(absent)', 1.0]}
    """
    flats = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for each in flats for key in each)
    values_by_key = {key: [each.get(key, ABSENT) for each in flats] for key in keys if key not in IGNORED_KEYS}
    differing = {
        key: values for key, values in values_by_key.items() if any(not _same(values[0], value) for value in values)
    }
    choices = [key for key in differing if key.startswith("choices.")]
    return {key: differing[key] for key in [*choices, *(key for key in differing if key not in choices)]}


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)  # 1 and True differ
