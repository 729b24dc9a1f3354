"""The settings of the sweeper: the keys of hydra.sweeper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from mlsys.errors import ConfigError, Problem, closest, requirement

Direction = Literal["minimize", "maximize"]

# Samplers whose seed defines their sequence: with another seed, a resumed sweep would start a new sequence.
SEQUENCES = ("optuna.samplers.QMCSampler", "optuna.samplers.GridSampler")


class SweepSettings(BaseModel):
    """The keys of hydra.sweeper; those of hydra-optuna-sweeper come first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sampler: dict[str, Any]
    direction: Direction | list[Direction] | None = None
    storage: str | None = None
    study_name: str | None = None
    n_trials: PositiveInt = 50
    n_jobs: PositiveInt | None = None
    max_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.3
    custom_search_space: str | None = None
    params: dict[str, Any] | None = None
    conditions: dict[str, dict[str, Any]] = Field(default_factory=dict)
    pruner: dict[str, Any] | None = None
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    heartbeat_interval: PositiveInt = 15
    grace_period: PositiveInt = 60
    retries: NonNegativeInt = 3
    enqueue_config: bool = True
    refit: bool = True


def check_settings(settings: Mapping[str, Any]) -> SweepSettings:
    """Check all keys of hydra.sweeper.

    Raises
    ------
    ConfigError
        Listing every problem.
    """
    try:
        return SweepSettings.model_validate(settings)
    except ValidationError as error:
        known = sorted(SweepSettings.model_fields)
        problems = []
        for details in error.errors():
            key = ".".join(map(str, details["loc"]))
            if details["type"] == "extra_forbidden":
                problems.append(Problem(f"hydra.sweeper.{key}", "unknown key", ", ".join(known), closest(key, known)))
            else:
                problems.append(Problem(f"hydra.sweeper.{key}", repr(details["input"]), requirement(details["msg"])))
        raise ConfigError("The sweep", problems, "Nothing was run.") from error
