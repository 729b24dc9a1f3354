"""Composes configs outside of a Hydra job, and explains Hydra's composition errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from mlsys.config import TrainConfig, add_choices, inspect
from mlsys.errors import ConfigError, DataError, MlsysError, Problem, RunError, closest
from mlsys.launch import conf_folder, environment_overrides
from mlsys.prepare import ADVICE, metric_problems, prepare
from mlsys.text import visible

# What to write instead of an override that Hydra cannot parse.
IN_TEXTS = """text with other characters than letters from a to z, digits and . - _ / in quotes: 'KEY="größe"'"""
IN_MAPS = (
    "a map whose keys have letters from a to z, digits, spaces and . - _ /, without quotes; brackets, commas, : and = "
    "after a backslash. For any other key, pass a list, or write the map in a YAML file: see docs/models.md"
)

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_config(overrides: Sequence[str], folder: Path | None = None, config_dir: Path | None = None) -> TrainConfig:
    """Compose and check a config outside of a Hydra job; no data are opened.

    Parameters
    ----------
    overrides : sequence of str
        As on the command line of training; those from the environment are added.
    folder : Path, optional
        Folder of the config groups; by default the ones shipped with mlsys.
    config_dir : Path, optional
        Folder with further options for the groups, like training's `--config-dir`.

    Raises
    ------
    ConfigError
        Lists every problem.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    folder = folder or conf_folder()
    everything = [*environment_overrides(overrides), *overrides]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(folder.resolve())):
            found = [*_search_path(config_dir), *everything]
            config = compose(config_name="train", overrides=found, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise diagnose(everything, folder, str(error), config_dir) from error
    choices = config.hydra.runtime.choices
    del config.hydra  # its remaining values are only set within a job
    add_choices(config, choices)
    plain, problems, checked = inspect(config)
    problems += metric_problems(plain)
    if problems or checked is None:
        raise ConfigError("The config", problems, ADVICE)
    return checked


def report_error(error: Exception, arguments: Sequence[str]) -> int:
    """Print an error on standard error and return the exit code: 2 for wrong usage, else 1.

    Errors that mlsys did not raise on purpose are raised again, with their traceback.
    """
    from hydra._internal.utils import get_args_parser
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, HydraException | OmegaConfBaseException):
        given = get_args_parser().parse_known_intermixed_args(list(arguments))[0]  # overrides may follow -m
        further = Path(given.config_dir) if given.config_dir else None
        error = diagnose(given.overrides, conf_folder(), str(error), further)
    if not isinstance(error, MlsysError):
        raise error
    sys.stderr.write(f"{visible(str(error))}\n")
    return 2 if isinstance(error, ConfigError) else 1


def diagnose(overrides: Sequence[str], folder: Path, reason: str, config_dir: Path | None = None) -> ConfigError:
    """List everything that is wrong with overrides that Hydra could not compose; Hydra itself stops at the first.

    Parameters
    ----------
    overrides : sequence of str
        As given, ``key=value``.
    folder : Path
        Folder of the config groups.
    reason : str
        Hydra's own message, used if no problem is found.
    config_dir : Path, optional
        A folder with further options for the groups.
    """
    groups = _groups(folder, config_dir)
    unreadable = {override: problem for override in overrides if (problem := _unreadable(override)) is not None}
    problems, usable, values = list(unreadable.values()), [], []
    for override in (each for each in overrides if each not in unreadable):
        key, _, value = override.lstrip("+").partition("=")
        if key in groups:
            wrong = [choice for choice in value.split(",") if choice not in groups[key]]
            problems += [_unknown_option(key, choice, groups[key]) for choice in wrong]
            usable += [] if wrong else [override]
        elif not override.startswith(("+", "~", "hydra.", "-")):
            values.append((key, override))
    path = _search_path(config_dir)
    composed = _compose(folder, [*path, *usable])
    if composed is not None:
        keys = list(_flat_keys(composed))
        unknown = [key for key, _ in values if key not in keys]
        problems += [_not_set_yet(composed, key) or _unknown_key(key, keys, groups) for key in unknown]
        known = _compose(folder, [*path, *usable, *(override for key, override in values if key not in unknown)])
        problems += _further_problems(known) if known is not None else []
    if not problems:
        problems = [Problem("command line", " ".join(overrides) or "(no overrides)", reason.strip())]
    return ConfigError("The config", problems, ADVICE)


def _unreadable(override: str) -> Problem | None:
    """Return the problem of an override that Hydra cannot parse; None if it can."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        key, equals, value = override.lstrip("+~").partition("=")
        if not equals:
            return Problem("command line", override, "key=value")
        return Problem(key, value, f"{IN_MAPS if '{' in value else IN_TEXTS} (Hydra: {error})")
    return None


def _further_problems(composed: DictConfig) -> Sequence[Problem]:
    try:
        prepare(composed)
    except ConfigError as error:
        return error.problems
    except DataError:
        return []  # the tables are reported once the config is right
    return []


def to_user_error(error: Exception) -> Exception:
    """Turn a failure inside Hydra before the job begins into an error that users can act on; return others unchanged.

    Examples are ``model=null``, which fails during composition, and a run directory that cannot be created.
    """
    from hydra.errors import ConfigCompositionException, HydraException

    if isinstance(error, HydraException):  # some of them are OSErrors too
        return error
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, TypeError | ValueError) and any("config_loader" in frame.filename for frame in frames):
        return ConfigCompositionException(str(error))
    if isinstance(error, OSError) and all(frame.name != "job" for frame in frames):
        return RunError(f"Cannot create the run directory: {error}. Choose another one with hydra.run.dir=…")
    return error


def _groups(*folders: Path | None) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for folder in filter(None, folders):
        for file in sorted(folder.glob("*/**/*.yaml")):
            groups.setdefault(file.parent.relative_to(folder).as_posix(), []).append(file.stem)
    return groups


def _search_path(config_dir: Path | None) -> list[str]:
    return [] if config_dir is None else [f"hydra.searchpath=['file://{config_dir.resolve()}']"]


def _unknown_option(group: str, choice: str, options: Sequence[str]) -> Problem:
    return Problem(group, choice, ", ".join(options), closest(choice, options))


def _not_set_yet(config: DictConfig, key: str) -> Problem | None:
    """Return the problem of a key that is a parameter of its component, but not in the config: Hydra wants a plus."""
    from hydra.errors import HydraException
    from hydra.utils import get_class
    from omegaconf import OmegaConf

    from mlsys.pipeline.traits import traits_of

    parent, _, name = key.rpartition(".")
    target = OmegaConf.select(config, f"{parent}._target_", default=None) if parent else None
    if not isinstance(target, str):
        return None
    try:
        component = get_class(target)
        names = set(signature(component).parameters)
        if key.startswith("model."):
            names |= set(traits_of(component()).column_parameters)
    except (HydraException, ImportError, TypeError, ValueError):  # the config check reports what is wrong with it
        return None
    if name not in names:
        return None
    return Problem(key, "a parameter that the config does not set", f"+{key}=VALUE, with a plus, to add it")


def _unknown_key(key: str, keys: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Problem:
    parent = key.rpartition(".")[0]
    known = [name for name in keys if name.rpartition(".")[0] == parent] if parent in keys else []
    if known:
        nearest = closest(key, known) or closest(key, keys)
        return Problem(key, "an unknown key", ", ".join(known) + " (or +key=value to add one)", nearest)
    candidates = [*groups, *keys]
    return Problem(key, "an unknown key or group", "groups: " + ", ".join(groups), closest(key, candidates))


def _compose(folder: Path, overrides: Sequence[str]) -> DictConfig | None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(folder.resolve())):
            return compose(config_name="train", overrides=list(overrides))
    except (HydraException, OmegaConfBaseException):
        return None  # the caller shows Hydra's own message instead


def _flat_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    for key in config:
        yield f"{prefix}{key!s}"
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from _flat_keys(node, f"{prefix}{key!s}.")
