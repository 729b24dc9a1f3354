"""Fast composition of trial configs: most trials differ from an earlier one in a few values only.

Composing from files takes Hydra longer than everything else in a small trial except its fits.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

PREFIXES = "+~"
NUMBER = re.compile(r"(\+\+)?([A-Za-z_][\w.]*)=(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?)")


class Composer:
    """Composes the configs of a sweep's jobs.

    Parameters
    ----------
    loader : ConfigLoader
        Hydra's config loader.
    master : DictConfig
        The sweep's own config.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._groups = {str(group) for group in master.hydra.runtime.choices}
        self._cache: dict[tuple[str, ...], bytes] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the same config as Hydra's ``load_sweep_config``.

        Parameters
        ----------
        overrides : sequence of str

        Raises
        ------
        HydraException
            If Hydra rejects an override.
        """
        from omegaconf import OmegaConf

        cached = self._cache.get(self._structure(overrides))
        values = None if cached is None else _parse_overrides(overrides)
        if cached is None or values is None:
            return self._compose_with_hydra(overrides)
        config: DictConfig = pickle.loads(cached)  # noqa: S301 - pickled below by this process; six times as fast as a deep copy
        for override, (key, value, force_add) in zip(overrides, values, strict=True):
            if not self._is_structural(override):
                OmegaConf.update(config, key, value, merge=True, force_add=force_add)
        config.hydra.overrides.task = list(overrides)
        OmegaConf.copy_cache(from_config=self._master, to_config=config)
        return config

    def _compose_with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        config = self._loader.load_sweep_config(self._master, list(overrides))
        self._groups |= {str(group) for group in config.hydra.runtime.choices}
        if _parse_overrides(overrides) is not None:
            self._cache[self._structure(overrides)] = pickle.dumps(config)
        return config

    def _structure(self, overrides: Sequence[str]) -> tuple[str, ...]:
        """Return the cache key: group choices and other structural overrides in full, of all others only the key."""
        return tuple(each if self._is_structural(each) else each.partition("=")[0] for each in overrides)

    def _is_structural(self, override: str) -> bool:
        head, equals, _ = override.partition("=")
        name = head.strip(PREFIXES)
        return not equals or name in self._groups or "/" in name or "@" in name or name.startswith("hydra")


def _parse_overrides(overrides: Sequence[str]) -> list[tuple[str, Any, bool]] | None:
    """Return key, value and whether the key may be new; None if a value is a list or dict, which Hydra merges."""
    values = [parse_override(override) for override in overrides]
    return None if any(isinstance(value, list | dict) for _, value, _ in values) else values


def parse_override(override: str) -> tuple[str, Any, bool]:
    """Return an override's key, its value and whether the key may be new.

    Examples
    --------
    >>> parse_override("++model.max_depth=3")
    ('model.max_depth', 3, True)
    """
    number = NUMBER.fullmatch(override)
    if number is not None:  # most overrides of a search are numbers, and Hydra's parser takes half a millisecond
        force_add, key, digits = number.groups()
        return key, float(digits) if set(digits) & {".", "e"} else int(digits), bool(force_add)
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    return parsed.key_or_group, parsed.value(), parsed.is_add() or parsed.is_force_add()
