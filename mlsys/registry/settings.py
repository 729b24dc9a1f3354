"""Settings of the promotion gate, from a file and from flags, which take precedence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError, field_validator

from mlsys.errors import ConfigError, Problem, closest, requirement
from mlsys.evaluation.metric_table import is_metric, metric_names, split_name
from mlsys.launch import conf_folder
from mlsys.runs.reader import yaml_value

FILE = "gate.yaml"
K = 10  # the list length in examples of names


class GateSettings(BaseModel):
    """Thresholds of the promotion gate; conf/gate.yaml explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    margin: NonNegativeFloat
    audit: Literal["warn", "pass"]
    golden: NonNegativeFloat
    bootstrap_resamples: Annotated[int, Field(ge=100, le=100_000)]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    seed: NonNegativeInt

    @field_validator("metric")
    @classmethod
    def _known(cls, name: str) -> str:
        if not is_metric(name):
            names = metric_names([K])
            near = closest(name, names)
            raise ValueError(f"one of {', '.join(names)}{f' (closest: {near})' if near else ''}")
        return name

    @property
    def top_k(self) -> list[int]:
        """The list lengths k to evaluate."""
        return [split_name(self.metric)[1] or K]


def read_settings(folder: Path | None, flags: Mapping[str, Any]) -> GateSettings:
    """Return the settings of the gate.

    Parameters
    ----------
    folder : Path or None
        Folder of the registry, if it has one; a gate.yaml there replaces the shipped one.
    flags : mapping
        Values that override the file's; None means not set.

    Raises
    ------
    ConfigError
        If settings are invalid; lists every problem.
    """
    own = None if folder is None else folder / FILE
    file = own if own is not None and own.is_file() else conf_folder() / FILE
    values = yaml_value(file.read_bytes())
    if not isinstance(values, dict):
        raise ConfigError("The gate", [Problem(str(file), repr(values), "keys and values")], "Nothing was promoted.")
    overrides = {key: value for key, value in flags.items() if value is not None}
    try:
        return GateSettings.model_validate({**values, **overrides})
    except ValidationError as error:
        problems = [_problem(details, file, overrides) for details in error.errors()]
        raise ConfigError("The gate", problems, "Nothing was promoted.") from error


def _problem(details: Any, file: Path, flags: Mapping[str, Any]) -> Problem:  # noqa: ANN401 - pydantic's own shape
    key = str(details["loc"][0])
    where = f"--{key}" if key in flags else f"{file}: {key}"
    if details["type"] == "extra_forbidden":
        keys = list(GateSettings.model_fields)
        return Problem(where, "an unknown key", ", ".join(keys), closest(key, keys))
    got = "nothing" if details["type"] == "missing" else repr(details["input"])
    return Problem(where, got, requirement(details["msg"]))
