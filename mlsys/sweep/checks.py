"""Checks before the first trial: objectives, trial configs, and whether an existing study is the same search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from mlsys.errors import ConfigError, Problem
from mlsys.redaction import without_password
from mlsys.sweep.settings import SweepSettings

if TYPE_CHECKING:
    import optuna
    from omegaconf import DictConfig

    from mlsys.sweep.worker import Sweep

DEFAULT_OBJECTIVE = "value"  # name of the objective of a program whose config has no `objective`
ADVICE = "Nothing was run. `python -m mlsys.train --help` lists groups and keys; docs/sweeps.md describes searches."


def objectives_of(config: DictConfig) -> list[str]:
    """Return the names of the objectives; `DEFAULT_OBJECTIVE` where the config has no ``objective``."""
    objective = config.get("objective", DEFAULT_OBJECTIVE)
    return [str(objective)] if isinstance(objective, str) else [str(name) for name in objective]


def directions_of(config: DictConfig, settings: SweepSettings) -> list[str]:
    """Return ``minimize`` or ``maximize`` for each objective.

    Raises
    ------
    ConfigError
        If a metric is unknown, or hydra.sweeper.direction contradicts it.
    """
    from mlsys.evaluation.metric_table import greater_is_better

    configured = settings.direction
    if "objective" not in config:
        return [configured] if isinstance(configured, str) else list(configured or ["minimize"])
    objectives = objectives_of(config)
    directions = ["maximize" if greater_is_better(name) else "minimize" for name in objectives]
    expanded = [configured] * len(objectives) if isinstance(configured, str) else list(configured or directions)
    if expanded != directions:
        problem = Problem("hydra.sweeper.direction", str(configured), f"{directions} for {objectives}, or null")
        raise ConfigError("The sweep", [problem], ADVICE)
    return directions


def check_trials(sweep: Sweep) -> None:
    """Check one trial for each condition of the space, so that no invalid key or value turns up mid-sweep.

    Raises
    ------
    ConfigError
        Listing every problem.
    """
    if "search" in sweep.config and sweep.workers > 1 and sweep.settings.executor == "local":
        from mlsys.sweep.executors import call_in_subprocess

        problems = call_in_subprocess(trial_problems, sweep)  # its imports are preloaded there
    else:
        problems = trial_problems(sweep)
    if problems:
        raise ConfigError("The sweep", problems, ADVICE)


def trial_problems(sweep: Sweep) -> list[Problem]:
    """Compose a trial for each condition of the space and return the problems of their configs."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    problems: list[Problem] = []
    for overrides in sweep.space.corners():
        try:
            config = sweep.hydra_context.config_loader.load_sweep_config(sweep.config, overrides)
        except (HydraException, OmegaConfBaseException) as error:
            message = " ".join(str(error).split())
            found = [Problem("a trial with " + " ".join(overrides), message, "keys and options of the config")]
            found = _reasons(sweep, overrides) or found
        else:
            found = _config_problems(config) if "search" in sweep.config else []
        problems += [problem for problem in found if problem not in problems]
    return problems


def _reasons(sweep: Sweep, overrides: Sequence[str]) -> list[Problem]:
    """Return why parameters of the model cannot be set, as far as it is known: the model is a choice among several."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from mlsys.prepare import candidate_problems

    others = [override for override in overrides if not override.startswith("model.")]
    try:
        composed = sweep.hydra_context.config_loader.load_sweep_config(sweep.config, others)
    except (HydraException, OmegaConfBaseException):
        return []  # the caller reports Hydra's own message
    groups = OmegaConf.masked_copy(composed, [key for key in ("model", "search") if key in composed])
    return candidate_problems(cast("dict[str, Any]", OmegaConf.to_container(groups)))


def _config_problems(composed: DictConfig) -> list[Problem]:
    from omegaconf import open_dict

    from mlsys.components import Components
    from mlsys.config import inspect
    from mlsys.prepare import candidate_problems, metric_problems, search_problems

    with open_dict(composed):
        del composed["hydra"]
    config, problems, _ = inspect(composed)
    return [
        *problems,
        *metric_problems(config),
        *search_problems(config, lambda: Components.build(config)[0].estimator),
        *candidate_problems(config),
    ]


def check_study(study: optuna.Study, sweep: Sweep) -> None:
    """Check that an existing study is the same search; record the search in a new study.

    Raises
    ------
    ConfigError
        Listing what differs.
    """
    current = {
        "objectives": objectives_of(sweep.config),
        "directions": list(sweep.directions),
        "space": sweep.space.describe(),
        "fixed": sorted(_fixed_overrides(sweep)),
    }
    recorded = study.user_attrs.get("search")
    directions = [direction.name.lower() for direction in study.directions]
    if recorded is None and directions != current["directions"]:
        recorded = {**current, "directions": directions}  # created by another program, such as hydra-optuna-sweeper
    if recorded is None:
        study.set_user_attr("search", current)
        return
    problems = [
        Problem(key, _to_text(current[key]), _to_text(recorded[key]))
        for key in current
        if current[key] != recorded.get(key)
    ]
    if problems:
        raise ConfigError(
            f"The study {study.study_name} belongs to a different search, which",
            problems,
            "`allowed` shows what the study was created with. Use another hydra.sweep.dir or hydra.sweeper.study_name.",
        )


def _fixed_overrides(sweep: Sweep) -> Sequence[str]:
    space = sweep.space
    fixed = [f"{key}={value}" for key, value in space.base.fixed.items() if key != "threads"]
    for condition, parameters in space.conditions.items():
        fixed += [f"{key}={value} where {condition}" for key, value in parameters.fixed.items()]
    return [without_password(override) for override in (*fixed, *space.deletions)]


def _to_text(value: Any) -> str:  # noqa: ANN401
    text = "; ".join(f"{key}: {each}" for key, each in value.items()) if isinstance(value, dict) else ", ".join(value)
    return text or "nothing"
