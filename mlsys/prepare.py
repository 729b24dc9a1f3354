"""From a composed config to what a run needs, or to one error that lists all that is wrong."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from mlsys.components import Components
from mlsys.config import TrainConfig, add_choices, inspect, section
from mlsys.data.config import DataConfig
from mlsys.data.read import KeptReader, Reader, open_data
from mlsys.errors import ConfigError, DataError, MlsysError, Problem, RunError, closest
from mlsys.evaluation.metric_table import METRICS, objective_names
from mlsys.launch import conf_folder, environment_overrides

if TYPE_CHECKING:
    from omegaconf import DictConfig

Keep = Callable[[str, Callable[[], Reader]], Reader]

ADVICE = "Nothing was run. `python -m mlsys.train --help` lists groups and keys, `mlsys config schema` their values."


@dataclass(frozen=True)
class Prepared:
    """A checked config, its components, and its data, opened but not yet read."""

    config: TrainConfig
    parts: Components
    data: Reader


def prepare(composed: DictConfig, keep: Keep | None = None) -> Prepared:
    """Check a composed config against types, components and the tables' columns, and build what it describes.

    Parameters
    ----------
    composed : DictConfig
    keep : callable, optional
        Returns what an earlier run of this process opened under the same key, or else makes it.

    Raises
    ------
    ConfigError
        Listing every problem.
    DataError
        Where the config is right but the tables cannot be opened.
    """
    plain, problems, config = inspect(composed)
    parts, more = Components.build(plain)
    problems += [*metric_problems(plain), *search_problems(plain), *more]
    data = _opened(plain, parts, problems, keep)
    if problems or config is None or data is None:
        raise ConfigError("The config", problems, ADVICE)
    return Prepared(config, parts, data)


def metric_problems(plain: Any) -> list[Problem]:  # noqa: ANN401 - the config before it is checked
    """Find objectives that no run measures."""
    objective, at = plain.get("objective"), section(plain, "metrics").get("at")
    objectives = objective if isinstance(objective, list) else [objective]
    if not isinstance(at, list) or not all(isinstance(name, str) for name in objectives):
        return []  # said by the check of types
    names = objective_names(at)
    unknown = [name for name in objectives if name not in names]
    return [Problem("objective", name, ", ".join(names), closest(name, names)) for name in unknown]


def search_problems(plain: Mapping[str, Any]) -> list[Problem]:
    """Find what a search cannot do with a resolved config."""
    search, objective = section(plain, "search"), plain.get("objective")
    if search.get("report") != "trees":
        return []
    first = objective[0] if isinstance(objective, list) else objective
    problems = []
    known = [metric.name for metric in METRICS.values() if metric.tree_names]
    if first not in known:
        wanted = "with search.report=trees one of " + ", ".join(known)
        problems.append(Problem("objective", str(first), wanted, closest(str(first), known)))
    if not section(plain, "fit", "early_stopping").get("enabled", True):
        problems.append(Problem("fit.early_stopping.enabled", "false", "true with search.report=trees"))
    return problems


def _opened(plain: Mapping[str, Any], parts: Components, problems: list[Problem], keep: Keep | None) -> Reader | None:
    """Open the data, adding to ``problems`` the columns that are not there."""
    try:
        data = _data_adapter().validate_python(plain.get("data"))
    except ValidationError:
        return None  # said by the check of types
    if problems and data.kind == "events" and (data.demo is not None or "unset" in (data.dir, data.url)):
        return None  # nothing is generated for a config that cannot run
    try:
        if keep is None:
            return open_data(data, parts.blocks, threads=plain.get("threads"))
        key = json.dumps([data.model_dump(mode="json"), plain.get("features"), plain.get("threads")])
        return keep(key, lambda: KeptReader(open_data(data, parts.blocks, threads=plain.get("threads"))))
    except ConfigError as error:
        problems.extend(error.problems)
    except DataError:
        if not problems:
            raise
    return None


@cache  # made once a process: it takes longer than what it checks
def _data_adapter() -> TypeAdapter[Any]:
    return TypeAdapter(DataConfig)


def compose_config(overrides: Sequence[str], folder: Path | None = None, config_dir: Path | None = None) -> TrainConfig:
    """Compose and check a config outside of a Hydra job; no data are opened.

    Parameters
    ----------
    overrides : sequence of str
        As on the command line of training; the environment's are added.
    folder : Path, optional
        The config groups; the shipped ones without.
    config_dir : Path, optional
        A folder of further options of the groups, as `--config-dir` of training.

    Raises
    ------
    ConfigError
        Listing every problem.
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
    del config.hydra  # read above; the rest is ours, and Hydra's part holds values that only a job has
    add_choices(config, choices)
    plain, problems, checked = inspect(config)
    problems += metric_problems(plain)
    if problems or checked is None:
        raise ConfigError("The config", problems, ADVICE)
    return checked


def explain(error: Exception, arguments: Sequence[str]) -> int:
    """Say what went wrong in words on standard error, and return the exit code: 2 for wrong usage, else 1.

    Errors that mlsys did not raise on purpose are raised again, with their traceback.
    """
    from hydra._internal.utils import get_args_parser
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, HydraException | OmegaConfBaseException):
        given = get_args_parser().parse_known_args(list(arguments))[0]
        further = Path(given.config_dir) if given.config_dir else None
        error = diagnose(given.overrides, conf_folder(), str(error), further)
    if not isinstance(error, MlsysError):
        raise error
    sys.stderr.write(f"{error}\n")
    return 2 if isinstance(error, ConfigError) else 1


def diagnose(overrides: Sequence[str], folder: Path, reason: str, config_dir: Path | None = None) -> ConfigError:
    """Find out all that is wrong with overrides that Hydra could not compose; Hydra itself stops at the first.

    Parameters
    ----------
    overrides : sequence of str
        As given, ``key=value``.
    folder : Path
        The config groups.
    reason : str
        Hydra's own message, shown where nothing else is found.
    config_dir : Path, optional
        A folder of further options of the groups.
    """
    groups = _groups(folder, config_dir)
    problems, usable, values = [], [], []
    for override in overrides:
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
        problems += [_unknown_key(key, keys, groups) for key in unknown]
        known = _compose(folder, [*path, *usable, *(override for key, override in values if key not in unknown)])
        problems += _further_problems(known) if known is not None else []
    if not problems:
        problems = [Problem("command line", " ".join(overrides) or "(no overrides)", reason.strip())]
    return ConfigError(
        "The config", problems, "Nothing was run. `python -m mlsys.train --help` lists the groups and keys."
    )


def _further_problems(composed: DictConfig) -> Sequence[Problem]:
    try:
        prepare(composed)
    except ConfigError as error:
        return error.problems
    except DataError:
        return []  # the tables are another matter, to be said once the config is right
    return []


def in_words(error: Exception) -> Exception:
    """Return an error for people for what Hydra stumbles over before a job begins; any other error as it is.

    Such are ``model=null`` while it composes, and a run directory that it cannot make.
    """
    from hydra.errors import ConfigCompositionException, HydraException

    if isinstance(error, HydraException):  # some of them are OSErrors too
        return error
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, TypeError | ValueError) and any("config_loader" in frame.filename for frame in frames):
        return ConfigCompositionException(str(error))
    if isinstance(error, OSError) and all(frame.name != "job" for frame in frames):
        return RunError(f"The run directory cannot be made: {error}. Name another one: hydra.run.dir=…")
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
        return None  # the caller shows Hydra's own first message instead


def _flat_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    from omegaconf import DictConfig

    for key in config:
        yield f"{prefix}{key!s}"
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from _flat_keys(node, f"{prefix}{key!s}.")
