"""Checks a composed config as a whole and opens the data; one error lists everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from mlsys.components import Components
from mlsys.config import TrainConfig, inspect, section
from mlsys.data.config import DataConfig
from mlsys.data.reader import CachedReader, Reader, open_data
from mlsys.errors import ConfigError, DataError, Problem, closest
from mlsys.evaluation.metric_table import PREDICT_MS, objective_names
from mlsys.evaluation.splits import Backtest, Holdout, whole_tests
from mlsys.external_memory import external_memory_problems, is_external
from mlsys.model_config import has_candidates
from mlsys.pipeline.parameter_checks import horizon_problems, weight_problems
from mlsys.pipeline.stopping import ITERATION_METRICS
from mlsys.pipeline.traits import traits_of
from mlsys.pipeline.uplift import UpliftModel, uplift

if TYPE_CHECKING:
    from omegaconf import DictConfig

Keep = Callable[[str, Callable[[], Reader]], Reader]

UPLIFT = f"{uplift.__module__}.{uplift.__qualname__}"  # the only model with uplift metrics
ADVICE = "Nothing was run. See `python -m mlsys.train --help` for groups and keys, `mlsys config schema` for values."


@dataclass(frozen=True)
class Prepared:
    """A checked config, its components, and its data source, opened but not yet read."""

    config: TrainConfig
    parts: Components
    data: Reader


def prepare(composed: DictConfig, keep: Keep | None = None) -> Prepared:
    """Check a composed config against its schema, its components and the tables' columns, and build what it describes.

    Parameters
    ----------
    composed : DictConfig
    keep : callable, optional
        Caches what is opened between the runs of one process: takes a key and a function that opens it.

    Raises
    ------
    ConfigError
        Lists every problem.
    DataError
        If the config is valid but the tables cannot be opened.
    """
    plain, problems, config = inspect(composed)
    parts, more = Components.build(plain)
    problems += [*metric_problems(plain), *search_problems(plain, lambda: parts.estimator), *candidate_problems(plain)]
    problems += [*treatment_problems(plain, parts), *split_problems(plain, parts.split), *more]
    problems += [*horizon_problems(parts.estimator, section(plain, "data")), *external_memory_problems(plain, parts)]
    problems += recency_problems(plain, parts)
    data = _opened(plain, parts, problems, keep)
    if problems or config is None or data is None:
        raise ConfigError("The config", problems, ADVICE)
    return Prepared(config, parts, data)


def metric_problems(plain: Any) -> list[Problem]:  # noqa: ANN401 - the config before it is checked
    """Find objectives that are not metrics."""
    objective, top_k = plain.get("objective"), section(plain, "metrics").get("top_k")
    objectives = objective if isinstance(objective, list) else [objective]
    if not isinstance(top_k, list) or not all(isinstance(name, str) for name in objectives):
        return []  # the type check reports it
    names = objective_names(top_k, uplift=section(plain, "model").get("_target_") == UPLIFT)
    unknown = [name for name in objectives if name not in names]
    return [Problem("objective", name, ", ".join(names), closest(name, names)) for name in unknown]


def search_problems(plain: Mapping[str, Any], estimator: Callable[[], object]) -> list[Problem]:
    """Find settings that a search cannot use; the model is built only where it matters."""
    search, objective = section(plain, "search"), plain.get("objective")
    if search.get("report_per") != "iteration":
        return []
    first = objective[0] if isinstance(objective, list) else objective
    problems = []
    stopper = traits_of(model := estimator()).early_stopping
    if stopper is not None and not stopper.metrics:
        name = type(model).__name__
        return [Problem("search.report_per", "iteration", f"fold: {name} does not report after each iteration")]
    if first not in ITERATION_METRICS:
        allowed = "one of these, with search.report_per=iteration: " + ", ".join(ITERATION_METRICS)
        problems.append(Problem("objective", str(first), allowed, closest(str(first), ITERATION_METRICS)))
    if not section(plain, "fit", "early_stopping").get("enabled", True):
        problems.append(Problem("fit.early_stopping.enabled", "false", "true with search.report_per=iteration"))
    return problems


def candidate_problems(plain: Mapping[str, Any]) -> list[Problem]:
    """Find settings that a choice among candidates cannot use."""
    if not has_candidates(plain.get("model")):
        return []
    problems, objective = [], plain.get("objective")
    if section(plain, "search"):
        allowed = "a single model with search=…: model=auto chooses by itself. Leave out search, or name a model"
        problems.append(Problem("model", "auto", allowed))
    if (objective[0] if isinstance(objective, list) and objective else objective) == PREDICT_MS:
        problems.append(Problem("objective", PREDICT_MS, "a metric of predictions first: model=auto chooses by it"))
    return problems


def treatment_problems(plain: Mapping[str, Any], parts: Components) -> list[Problem]:
    """Find an uplift model without a treatment, and a value of a treatment that is not named."""
    data = section(plain, "data")
    if data.get("treated") is not None and data.get("treatment") is None:
        return [Problem("data.treatment", "null", f"the column in which data.treated={data['treated']} is a value")]
    if not isinstance(parts.estimator, UpliftModel) or data.get("treatment") is not None:
        return []
    expected = "the column that says which rows were treated; model=uplift compares them with the others"
    return [Problem("data.treatment", "null", expected if "path" in data else f"{expected}, and needs data=table")]


def split_problems(plain: Mapping[str, Any], split: object) -> list[Problem]:
    """Find a split by time of a flat table without a time column."""
    data = section(plain, "data")
    if data.get("kind") != "table" or data.get("time") is not None:
        return []
    if isinstance(split, Holdout) and split.order == "time":
        name, other = "split=holdout", "split.order=random"
    elif isinstance(split, Backtest):
        name, other = "split=backtest", "split=group_kfold"
    else:
        return []
    allowed = f"the column with each row's time, with {name}. Without such a column, use {other}"
    return [Problem("data.time", "null", allowed)]


def recency_problems(plain: Mapping[str, Any], parts: Components) -> list[Problem]:
    """Find a half-life of the rows that does not go with the model, its candidates, the sampler or the data."""
    half_life = section(plain, "fit").get("half_life_days")
    if not isinstance(half_life, int | float):
        return []
    models = {"model": parts.estimator, **{f"model.candidates.{name}": it for name, it in parts.candidates.items()}}
    found = [
        problem
        for where, model in models.items()
        if model is not None
        for problem in weight_problems(model, parts.sampler, half_life, section(plain, "data"), where)
    ]
    return list(dict.fromkeys(found))


def _opened(plain: Mapping[str, Any], parts: Components, problems: list[Problem], keep: Keep | None) -> Reader | None:
    """Open the data; add missing columns to ``problems``."""
    try:
        data = _data_adapter().validate_python(plain.get("data"))
    except ValidationError:
        return None  # the type check reports it
    if problems and data.kind == "events" and (data.demo is not None or "unset" in (data.dir, data.url)):
        return None  # no data are generated for a config that cannot run
    search = section(plain, "search")
    tests = whole_tests(parts.split, (search.get("folds", 0), search.get("holdout_folds", 0)) if search else None)
    try:
        options: dict[str, Any] = {"threads": plain.get("threads"), "on_disk": is_external(plain)}
        if keep is None:
            return open_data(data, parts.blocks, tests=tests, **options)
        key = json.dumps([data.model_dump(mode="json"), plain.get("features"), options | {"tests": str(tests)}])
        return keep(key, lambda: CachedReader(open_data(data, parts.blocks, tests=tests, **options)))
    except ConfigError as error:
        problems.extend(error.problems)
    except DataError:
        if not problems:
            raise
    return None


@cache  # creating it takes longer than the check
def _data_adapter() -> TypeAdapter[Any]:
    return TypeAdapter(DataConfig)
