"""What is checked before the first trial: objectives, the space's corners, and that a study is the same search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlsys.errors import ConfigError, Problem
from mlsys.redaction import without_password
from mlsys.sweep.settings import SweepSettings

if TYPE_CHECKING:
    import optuna
    from omegaconf import DictConfig

    from mlsys.sweep.worker import Sweep

UNNAMED = "value"  # what the objective of a program without the key is called
ADVICE = "Nothing was run. `python -m mlsys.train --help` lists groups and keys, docs/sweeps.md says how to search."


def objectives_of(config: DictConfig) -> list[str]:
    """Return the names of the objectives; a program without the key has one called `UNNAMED`."""
    named = config.get("objective", UNNAMED)
    return [str(named)] if isinstance(named, str) else [str(name) for name in named]


def directions_of(config: DictConfig, settings: SweepSettings) -> list[str]:
    """Return whether each objective is to be minimised or maximised.

    Raises
    ------
    ConfigError
        For a metric that there is not, or a given direction that makes it worse.
    """
    from mlsys.evaluation.metric_table import greater_is_better

    given = settings.direction
    if "objective" not in config:
        return [given] if isinstance(given, str) else list(given or ["minimize"])
    objectives = objectives_of(config)
    directions = ["maximize" if greater_is_better(name) else "minimize" for name in objectives]
    wanted = [given] * len(objectives) if isinstance(given, str) else list(given or directions)
    if wanted != directions:
        problem = Problem("hydra.sweeper.direction", str(given), f"{directions} for {objectives}, or null")
        raise ConfigError("The sweep", [problem], ADVICE)
    return directions


def check_trials(sweep: Sweep) -> None:
    """Check a trial for every condition of the space, so that no key or value is wrong in the middle.

    Raises
    ------
    ConfigError
        Listing every problem.
    """
    if "search" in sweep.config and sweep.workers > 1 and sweep.settings.executor == "local":
        from mlsys.sweep.executors import call_in_subprocess

        problems = call_in_subprocess(trial_problems, sweep)  # where all that a trial needs is loaded already
    else:
        problems = trial_problems(sweep)
    if problems:
        raise ConfigError("The sweep", problems, ADVICE)


def trial_problems(sweep: Sweep) -> list[Problem]:
    """Compose a trial for every condition of the space; return what is wrong with them."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    problems: list[Problem] = []
    for overrides in sweep.space.corners():
        try:
            config = sweep.hydra_context.config_loader.load_sweep_config(sweep.config, overrides)
        except (HydraException, OmegaConfBaseException) as error:
            words = " ".join(str(error).split())
            problems.append(Problem("a trial " + " ".join(overrides), words, "keys and options that the config has"))
            continue
        if "search" in sweep.config:
            problems += [problem for problem in _config_problems(config) if problem not in problems]
    return problems


def _config_problems(composed: DictConfig) -> list[Problem]:
    from omegaconf import open_dict

    from mlsys.config import inspect
    from mlsys.prepare import metric_problems, search_problems

    with open_dict(composed):
        del composed["hydra"]
    plain, problems, _ = inspect(composed)
    return [*problems, *metric_problems(plain), *search_problems(plain)]


def check_study(study: optuna.Study, sweep: Sweep) -> None:
    """Check that a study which is there already is the same search; or say, in the study, which search it is.

    Raises
    ------
    ConfigError
        Listing what differs.
    """
    now = {
        "objectives": objectives_of(sweep.config),
        "directions": list(sweep.directions),
        "space": sweep.space.describe(),
        "fixed": sorted(_fixed(sweep)),
    }
    then = study.user_attrs.get("search")
    made = [direction.name.lower() for direction in study.directions]
    if then is None and made != now["directions"]:
        then = {**now, "directions": made}  # another program made it, such as hydra-optuna-sweeper
    if then is None:
        study.set_user_attr("search", now)
        return
    problems = [Problem(key, _short(now[key]), _short(then[key])) for key in now if now[key] != then.get(key)]
    if problems:
        raise ConfigError(
            f"The study {study.study_name} is another search, which",
            problems,
            "`allowed` is what it was begun with. Take another hydra.sweep.dir or hydra.sweeper.study_name.",
        )


def _fixed(sweep: Sweep) -> Sequence[str]:
    space = sweep.space
    fixed = [f"{key}={value}" for key, value in space.base.fixed.items() if key != "threads"]
    for condition, parameters in space.conditions.items():
        fixed += [f"{key}={value} where {condition}" for key, value in parameters.fixed.items()]
    return [without_password(each) for each in (*fixed, *space.deletions)]


def _short(value: Any) -> str:  # noqa: ANN401
    text = "; ".join(f"{key}: {each}" for key, each in value.items()) if isinstance(value, dict) else ", ".join(value)
    return text or "nothing"
