"""The config of one trial after another: most differ from one that was composed in a few values only.

Hydra composes from files, which takes longer than all else that a small trial does beside its fits.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

MARKS = "+~"
NUMBER = re.compile(r"(\+\+)?([A-Za-z_][\w.]*)=(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?)")


class Composer:
    """Composes the configs of a sweep's jobs.

    Parameters
    ----------
    loader : ConfigLoader
        Hydra's.
    master : DictConfig
        The sweep's own config.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._groups = {str(group) for group in master.hydra.runtime.choices}
        self._composed: dict[tuple[str, ...], bytes] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return what Hydra's ``load_sweep_config`` does.

        Parameters
        ----------
        overrides : sequence of str

        Raises
        ------
        HydraException
            As Hydra does.
        """
        from omegaconf import OmegaConf

        kept = self._composed.get(self._structure(overrides))
        values = None if kept is None else _values(overrides)
        if kept is None or values is None:
            return self._anew(overrides)
        config: DictConfig = pickle.loads(kept)  # noqa: S301 - made below, by this process; a deep copy takes six times as long
        for override, (key, value, adds) in zip(overrides, values, strict=True):
            if not self._is_structural(override):
                OmegaConf.update(config, key, value, merge=True, force_add=adds)
        config.hydra.overrides.task = list(overrides)
        OmegaConf.copy_cache(from_config=self._master, to_config=config)
        return config

    def _anew(self, overrides: Sequence[str]) -> DictConfig:
        config = self._loader.load_sweep_config(self._master, list(overrides))
        self._groups |= {str(group) for group in config.hydra.runtime.choices}
        if _values(overrides) is not None:
            self._composed[self._structure(overrides)] = pickle.dumps(config)
        return config

    def _structure(self, overrides: Sequence[str]) -> tuple[str, ...]:
        """Return what decides which files a config is made of, and which keys are set."""
        return tuple(each if self._is_structural(each) else each.partition("=")[0] for each in overrides)

    def _is_structural(self, override: str) -> bool:
        head, equals, _ = override.partition("=")
        name = head.strip(MARKS)
        return not equals or name in self._groups or "/" in name or "@" in name or name.startswith("hydra")


def _values(overrides: Sequence[str]) -> list[tuple[str, Any, bool]] | None:
    """Return key, value and whether the key may be new; None where a value is a list or mapping, which are merged."""
    values = [value_of(override) for override in overrides]
    return None if any(isinstance(value, list | dict) for _, value, _ in values) else values


def value_of(override: str) -> tuple[str, Any, bool]:
    """Return an override's key, value and whether the key may be new.

    Examples
    --------
    >>> value_of("++model.max_depth=3")
    ('model.max_depth', 3, True)
    """
    number = NUMBER.fullmatch(override)
    if number is not None:  # what most overrides of a search are; to parse one takes half a millisecond
        adds, key, digits = number.groups()
        return key, float(digits) if set(digits) & {".", "e"} else int(digits), bool(adds)
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    return parsed.key_or_group, parsed.value(), parsed.is_add() or parsed.is_force_add()
