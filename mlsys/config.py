"""The config schema: keys, types and ranges, how a config is checked, and how its components are instantiated."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from mlsys.arguments import argument_problems
from mlsys.data.config import DataConfig, Section, absolute_url
from mlsys.errors import ConfigError, Problem, closest, requirement
from mlsys.launch import EXECUTION_WHITELIST
from mlsys.model_config import CandidatesConfig, Component, ModelConfig, SelectionConfig
from mlsys.redaction import without_password
from mlsys.text import is_or_are, joined

if TYPE_CHECKING:
    from omegaconf import DictConfig


class FeaturesConfig(Section):
    """Feature blocks by name."""

    blocks: dict[str, Component | None]


class EarlyStopping(Section):
    """When a boosted model stops adding trees.

    The latest ``validation_fraction`` of the training rows is held out to find the number of trees: boosting stops
    after ``rounds`` trees without a better log loss. The model is then fitted on all training rows with that number.
    """

    enabled: bool = True
    rounds: PositiveInt = 50
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


class FitConfig(Section):
    """How models are fitted.

    ``minutes`` limits a run that chooses among candidates; None: the choice takes as long as it needs. A training row
    counts half if it is ``half_life_days`` older than the newest one; None: all count alike. With ``external_memory``,
    the panel and XGBoost's copy of it stay on disk.
    """

    minutes: PositiveFloat | None = 10.0
    half_life_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    external_memory: bool = False
    early_stopping: EarlyStopping = EarlyStopping()


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1


class MetricsConfig(Section):
    """Which metrics are computed, and how their intervals are."""

    top_k: list[PositiveInt] = Field(default_factory=lambda: [10, 50, 100], min_length=1)
    bootstrap_resamples: NonNegativeInt = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    currency: str | None = None
    learning_curve: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=lambda: [0.25, 0.5])

    @field_validator("learning_curve", mode="before")
    @classmethod
    def _fractions(cls, fractions: Any) -> Any:  # noqa: ANN401 - the value before it is checked
        if not isinstance(fractions, list) or not all(_is_fraction(each) for each in fractions):
            raise ValueError("a list of numbers above 0 and below 1, each once, such as [0.25,0.5]; [] for no curve")
        return fractions

    @field_validator("currency")
    @classmethod
    def _code(cls, currency: str | None) -> str | None:
        if currency is not None and not re.fullmatch("[A-Z]{3}", currency):
            raise ValueError("an ISO 4217 code of three capital letters, such as EUR, or null")
        return currency

    @field_validator("top_k", "learning_curve")
    @classmethod
    def _without_repetition(cls, values: list[float]) -> list[float]:
        if repeated := [str(value) for value in dict.fromkeys(values) if values.count(value) > 1]:
            raise ValueError(f"each number once; {joined(repeated)} {is_or_are(len(repeated))} repeated")
        return values

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `mlsys.evaluation.metrics.evaluate`, except for the rows and the seed."""
        return self.model_dump(include={"top_k", "bootstrap_resamples", "confidence"})


class CostMatrix(Section):
    """What each kind of decision costs (positive) or gains (negative), in one currency."""

    true_positive: float
    false_positive: float
    false_negative: float = 0.0
    true_negative: float = 0.0


class ThresholdConfig(Section):
    """How the operating threshold is chosen on the out-of-fold rows."""

    method: Literal["top_k", "f_beta", "cost"]
    k: PositiveInt | None = None
    beta: Annotated[float, Field(gt=0)] | None = None
    cost: CostMatrix | None = None

    @model_validator(mode="after")
    def _has_its_parameter(self) -> Self:
        name = {"top_k": "k", "f_beta": "beta", "cost": "cost"}[self.method]
        if getattr(self, name) is None:
            raise ValueError(f"method {self.method} needs threshold.{name}")
        return self

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the chosen method."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class AuditThresholds(Section):
    """Thresholds from which a check warns or fails."""

    single_feature_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    duplicate_fraction: NonNegativeFloat = 0.5
    missingness_gap: NonNegativeFloat = 0.05
    too_good_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.99
    too_good_odds: Annotated[float, Field(gt=1)] = 100.0


class AuditConfig(Section):
    """The leakage audit."""

    mode: Literal["light", "full"]
    strict: bool = False
    sample: PositiveInt = 200
    thresholds: AuditThresholds = AuditThresholds()


class SearchConfig(Section):
    """How the trials of a sweep are evaluated; only set in runs that belong to a sweep."""

    folds: PositiveInt = 6
    holdout_folds: NonNegativeInt = 6
    report_per: Literal["fold", "iteration"] = "fold"
    trial: NonNegativeInt | None = None
    selected_from: PositiveInt | None = None

    @model_validator(mode="after")
    def _is_trial_or_winner(self) -> Self:
        if self.trial is not None and self.selected_from is not None:
            raise ValueError("a run is a trial (search.trial) or a search's winner (search.selected_from), not both")
        return self


class TrainConfig(Section):
    """The whole configuration of one run."""

    data: DataConfig
    features: FeaturesConfig
    encoder: Component
    sampler: Component
    model: ModelConfig
    calibration: Component
    split: Component
    tracking: Component
    threshold: ThresholdConfig
    audit: AuditConfig
    search: SearchConfig | None = None
    selection: SelectionConfig | None = None
    fit: FitConfig = FitConfig()
    metrics: MetricsConfig = MetricsConfig()
    objective: str | Annotated[list[str], Field(min_length=1)] = "log_loss"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # the largest range that every library accepts
    threads: PositiveInt | None = None
    tags: list[str] = Field(default_factory=list)
    choices: dict[str, str] = Field(default_factory=dict)

    @property
    def is_trial(self) -> bool:
        """Whether this run is a trial of a sweep."""
        return self.search is not None and self.search.trial is not None

    @property
    def search_folds(self) -> tuple[int, int] | None:
        """Numbers of search folds and of held-out folds; None if the config was not chosen by a search."""
        return None if self.search is None else (self.search.folds, self.search.holdout_folds)

    @property
    def selection_folds(self) -> int | None:
        """Number of folds that the model was chosen on among candidates; None if it was not chosen so."""
        return None if self.selection is None else self.selection.folds

    @property
    def objectives(self) -> list[str]:
        """The metrics to optimise, usually one."""
        return [self.objective] if isinstance(self.objective, str) else self.objective

    @property
    def thread_count(self) -> int:
        """Number of cores to use: as configured, else all that this process may run on."""
        return self.threads or len(os.sched_getaffinity(0))

    def to_dict(self) -> dict[str, Any]:
        """Return the config in a form that can be run again: defaults filled in, paths absolute, without passwords."""
        plain = self.model_dump(mode="json", by_alias=True) | {"threads": self.thread_count}
        for key in ("dir", "path", "cache_dir"):
            if plain["data"].get(key):
                plain["data"][key] = str(Path(plain["data"][key]).absolute())
        if plain["data"].get("url"):
            plain["data"]["url"] = without_password(absolute_url(plain["data"]["url"]))
        if plain["data"].get("engine"):
            plain["data"]["engine"] = without_password(plain["data"]["engine"])
        for place in (plain["tracking"], *(each for each in plain["tracking"].values() if isinstance(each, dict))):
            if place.get("uri"):
                place["uri"] = without_password(str(place["uri"]))
        return plain

    @field_validator("encoder", "model", "calibration", "split")
    @classmethod
    def _switched_on(cls, component: Component | CandidatesConfig) -> Component | CandidatesConfig:
        if isinstance(component, Component) and component.target is None:
            raise ValueError("_target_ must name a class; only sampler and tracking can be switched off")
        return component


def check_search(config: DictConfig, *, is_sweep: bool) -> None:
    """Check that ``search`` is used in a sweep (``-m``), or by a run that repeats part of one.

    Raises
    ------
    ConfigError
        Where ``-m`` is missing.
    """
    search = config.get("search")
    if search is None or is_sweep or search.get("trial") is not None or search.get("selected_from") is not None:
        return
    problem = Problem("search", "a single run", "a sweep: python -m mlsys.train -m search=…")
    raise ConfigError("The config", [problem], "Nothing was run. Add -m to search, or leave search out.")


def section(plain: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return a section of an unchecked config; empty if it is missing or not a section.

    Examples
    --------
    >>> section({"fit": {"early_stopping": {"rounds": 5}}}, "fit", "early_stopping"), section({"fit": 4}, "fit")
    ({'rounds': 5}, {})
    """
    node: Any = plain
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def add_choices(config: DictConfig, choices: Mapping[str, str]) -> None:
    """Add the chosen group options to a config, unless it was saved with its own."""
    from omegaconf import open_dict

    chosen = {group: option for group, option in choices.items() if option and not group.startswith("hydra")}
    with open_dict(config):
        config["choices"] = {**chosen, **config.get("choices", {})}


def build(component: Component, where: str) -> Any:  # noqa: ANN401 - whatever the target is
    """Instantiate a component, provided its target is on the execution whitelist.

    Parameters
    ----------
    component : Component
        One with a target.
    where : str
        Its config key, for error messages.

    Raises
    ------
    ConfigError
        If the target cannot be found, is not allowed or does not accept its arguments.
    """
    from hydra.errors import InstantiationException  # slow to import; --help does not need it
    from hydra.utils import instantiate

    node = component.model_dump(by_alias=True)
    try:
        return instantiate(node, _convert_="all", _execution_whitelist_=EXECUTION_WHITELIST)
    except (
        InstantiationException,
        ValidationError,
        TypeError,
        ValueError,
    ) as error:  # raised by Hydra or by the constructor
        raise ConfigError("The config", argument_problems(error, where, node), "Nothing was run.") from error


def inspect(config: DictConfig) -> tuple[dict[str, Any], list[Problem], TrainConfig | None]:
    """Check a composed config as a whole.

    Returns
    -------
    dict
        The resolved config; empty if it cannot be resolved.
    list of Problem
        Missing values, unknown keys and wrong types.
    TrainConfig or None
        The checked config; None if types are wrong.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    problems: list[Problem] = []
    try:
        missing = sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra"))
        problems += [Problem(key, "nothing", f"a value; it has no default. Add {key}=…") for key in missing]
        # A missing value may be interpolated elsewhere; with a placeholder the rest can still be checked.
        probe = config.copy() if missing else config
        for key in missing:
            OmegaConf.update(probe, key, "unset")
        resolved = OmegaConf.to_container(probe, resolve=True)
    except OmegaConfBaseException as error:
        reason = Problem(str(error.full_key or "config"), str(error).splitlines()[0], "a value it can refer to")
        return {}, [*problems, reason], None
    plain = cast("dict[str, Any]", resolved)
    try:
        return plain, problems, TrainConfig.model_validate(plain)
    except ValidationError as error:
        return plain, problems + [_problem(details) for details in error.errors()], None


def _problem(details: Any) -> Problem:  # noqa: ANN401 - pydantic's own shape
    # Tagged unions add the chosen tag to the path, which the user never wrote.
    path = [str(part) for part in details["loc"] if part not in ("events", "table") or details["loc"][0] != "data"]
    if path[0] == "model":
        del path[1:2]
    if details["loc"][:2] == ("data", "events") and len(details["loc"]) > 2 and details["loc"][2] == "events":
        path.insert(1, "events")
    where = ".".join(path)
    if details["type"] == "extra_forbidden":
        siblings = _allowed_keys(details["loc"])
        return Problem(where, "an unknown key", ", ".join(siblings), closest(path[-1], siblings))
    expected = details.get("ctx", {}).get("expected", "")
    options = [part.strip(" '") for part in str(expected).replace(" or ", ",").split(",")] if expected else []
    got = "null" if details["input"] is None else repr(details["input"])
    if details["type"] == "missing":
        got = "nothing"
    if isinstance(details["input"], dict):  # the section is wrong as a whole: don't repeat its content
        got = "an invalid combination of values"
    allowed = requirement(details["msg"])
    return Problem(where, got, allowed, closest(str(details["input"]), options) if options else None)


def _allowed_keys(location: tuple[Any, ...]) -> list[str]:
    schema: Any = TrainConfig.model_json_schema()
    definitions, node = schema["$defs"], schema
    for part in location[:-1]:
        if part in ("events", "table") and "oneOf" in node:
            node = definitions[node["discriminator"]["mapping"][part].rsplit("/", 1)[-1]]
            continue
        if part == "candidates" and "oneOf" in node:
            node = definitions[CandidatesConfig.__name__]
            continue
        node = node.get("properties", {}).get(part, {})
        reference = node.get("$ref") or next(
            (option["$ref"] for option in node.get("anyOf", []) if "$ref" in option), None
        )
        node = definitions[reference.rsplit("/", 1)[-1]] if reference else node
    return sorted(node.get("properties", {}))
