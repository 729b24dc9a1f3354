"""Builds the components of a checked config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

from pydantic import ValidationError

from mlsys.config import EarlyStopping, build, section
from mlsys.data.panel import Panel
from mlsys.errors import ConfigError, FitError, Problem, RunError, closest
from mlsys.evaluation.splits import Split
from mlsys.features.base import Block
from mlsys.model_config import Component, has_candidates
from mlsys.pipeline.calibration import Calibrator
from mlsys.pipeline.column_parameters import EVERY_NAME, Columns
from mlsys.pipeline.encoders import Encoder
from mlsys.pipeline.parameter_checks import column_problems, fold_problems, only_alone, parameter_problems
from mlsys.pipeline.pipeline_spec import PipelineSpec
from mlsys.pipeline.recency import half_life_problems
from mlsys.pipeline.storable import untrusted_parts
from mlsys.pipeline.traits import has_own_traits, traits_of
from mlsys.pipeline.uplift import with_treatment
from mlsys.runs.model_outputs import HasOutputs
from mlsys.tracking import MultiTracker, NoTracker, Tracker

# The methods that each group needs: the whitelist also allows components of other groups, which would not work.
METHODS = {
    "encoder": ("build",),
    "sampler": ("fit_resample",),
    "model": ("fit", "predict_proba", "get_params", "__sklearn_tags__"),  # the latter two from BaseEstimator
    "calibration": ("fit", "needs_scores"),
    "split": ("split",),
    "tracking": ("start", "start_timeout", "finish_timeout"),
}
ALLOWED = "a trusted type; if the class is yours, add it to mlsys/runs/trusted.py"


@runtime_checkable
class HasParams(Protocol):
    """An estimator among the parameters of another one."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return its parameters by name."""
        ...


@dataclass(frozen=True)
class Components:
    """The components of a run, one for each config group; see the Protocol of each group.

    ``estimator`` is None until it is chosen among ``candidates``, if there are any.
    """

    blocks: Sequence[Block]
    encoder: Encoder
    sampler: Any
    estimator: Any
    calibrator: Calibrator
    split: Split
    tracker: Tracker | MultiTracker
    stop_after: int | None
    validation_fraction: float
    half_life_days: float | None = None
    candidates: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def build(cls, plain: Mapping[str, Any]) -> tuple[Self, list[Problem]]:
        """Instantiate every group of a resolved config, even if other parts of it are invalid.

        Returns
        -------
        Components
            Usable only if there are no problems.
        list of Problem
            Every component that cannot be built.
        """
        problems: list[Problem] = []

        def build_group(node: Any, where: str) -> Any:  # noqa: ANN401 - whatever the target is
            if has_candidates(node):
                return None  # each of them is built instead
            try:
                component = Component.model_validate(node)
                built = None if component.target is None else build(component, where)
            except ConfigError as error:
                problems.extend(error.problems)
                return None
            except ValidationError:
                return None  # the type check reports it
            wrong = _wrong_kind(built, where)
            problems.extend(wrong)
            return None if wrong else built

        model = section(plain, "model")
        groups = (build_group(plain.get(group), group) for group in METHODS)
        encoder, sampler, estimator, calibrator, split, tracker = groups
        named = section(model, "candidates") if has_candidates(model) else {}
        nodes = {name: node for name, node in named.items() if node is not None}
        candidates = {name: build_group(node, f"model.candidates.{name}") for name, node in nodes.items()}
        blocks = section(plain, "features", "blocks")
        built = [build_group(node, f"features.blocks.{name}") for name, node in blocks.items() if node is not None]
        stopping = EarlyStopping.model_construct(**section(plain, "fit", "early_stopping"))
        problems += _model_problems(model, estimator, encoder)
        for name, node in nodes.items():
            if isinstance(node, Mapping):
                found = [*_only_alone(candidates[name]), *_model_problems(node, candidates[name], encoder)]
                problems += [of_candidate(problem, name) for problem in found]
        parts = cls(
            blocks=[block for block in built if block is not None],
            encoder=encoder,
            sampler=sampler,
            estimator=estimator,
            calibrator=calibrator,
            split=split,
            tracker=tracker or NoTracker(),
            stop_after=stopping.rounds if stopping.enabled else None,
            validation_fraction=stopping.validation_fraction,
            half_life_days=section(plain, "fit").get("half_life_days"),
            candidates=candidates,
        )
        return parts, problems

    def with_estimator(self, estimator: Any) -> Self:  # noqa: ANN401 - any scikit-learn estimator
        """Return the components of a run of this estimator."""
        return replace(self, estimator=estimator, candidates={})

    def pipeline_spec(self, panel: Panel) -> PipelineSpec:
        """Return how to fit a pipeline on a panel.

        Raises
        ------
        ConfigError
            Where the model's parameters refer to columns that the panel does not have, or need more converters, or
            where the half-life is too short for the panel's times.
        """
        parameter = traits_of(self.estimator).column
        wanted = None if parameter is None else self.estimator.get_params(deep=False)[parameter]
        if wanted is not None and wanted not in panel.names:
            raise ConfigError(
                "The config",
                [
                    Problem(
                        f"model.{parameter}",
                        str(wanted),
                        "a column of the panel: " + ", ".join(panel.names),
                        closest(str(wanted), panel.names),
                    )
                ],
                "Choose another column, or features=usage.",
            )
        categories = [feature.name for feature in panel.features if feature.kind == "category"]
        if problems := column_problems(self.estimator, Columns(panel.names, categories, panel.raw_names)):
            raise ConfigError(
                "The config", problems, "Nothing was trained. See docs/models.md for how to write columns."
            )
        if problems := fold_problems(self.estimator, panel.frame):
            advice = "Nothing was trained. Use fewer folds (5 by default), or model=vote, which has none."
            raise ConfigError("The config", problems, advice)
        if self.half_life_days is not None and (
            problems := half_life_problems(self.half_life_days, panel.frame["as_of"])
        ):
            raise ConfigError("The config", problems, "Nothing was trained.")
        return PipelineSpec(
            encoder=self.encoder,
            sampler=self.sampler,
            estimator=with_treatment(self.estimator, panel.treatment),
            calibrator=self.calibrator,
            numbers=[feature.name for feature in panel.features if feature.kind == "number"],
            categories=categories,
            raw_names=panel.raw_names,
            stop_after=self.stop_after,
            validation_fraction=self.validation_fraction,
            half_life_days=self.half_life_days,
        )


def _wrong_kind(component: Any, where: str) -> list[Problem]:  # noqa: ANN401 - whatever the target is
    if component is None or isinstance(component, MultiTracker):
        return []
    kind = type(component)
    if where.startswith("features."):
        expected, missing = "a feature block", [] if isinstance(component, Block) else ["features"]
    else:
        # Look at the class: scikit-learn's meta-estimators have some methods only once they are fitted.
        methods = METHODS[where.partition(".")[0]]
        missing = [name for name in methods if not hasattr(kind, name)]
        expected = f"a class with {' and '.join(methods)}"
    got = f"{_full_name(kind)}, which has no {' and no '.join(missing)}"
    return [Problem(f"{where}._target_", got, expected)] if missing else []


def of_candidate(problem: Problem, name: str) -> Problem:
    """Return a problem of ``model`` as that of a candidate.

    Examples
    --------
    >>> of_candidate(Problem("model.C", "-1", "above 0"), "logistic").where
    'model.candidates.logistic.C'
    """
    return replace(problem, where=problem.where.replace("model", f"model.candidates.{name}", 1))


def _only_alone(candidate: Any) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find a candidate that gives more than a probability: others could not be compared or blended with it."""
    if not isinstance(candidate, HasOutputs):
        return []
    return [Problem("model._target_", f"{type(candidate).__name__} as a candidate", only_alone(candidate))]


def _model_problems(model: Mapping[str, Any], estimator: Any, encoder: Encoder | None) -> list[Problem]:  # noqa: ANN401
    """Find what is wrong with a model, and parts of the pipeline that could not be loaded after training."""
    if estimator is None:
        return []
    estimators = _estimators(model, estimator)
    problems = [problem for where, value in estimators.items() for problem in _trait_problems(value, where)]
    if not problems:
        problems = [*_unknown_arguments(model, estimators), *_without_iterations(estimators)]
        named = {problem.where for problem in problems}
        problems += [problem for problem in parameter_problems(estimators) if problem.where not in named]
    return problems or (_untrusted_types(estimators, encoder) if encoder is not None else [])


def _trait_problems(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find wrong entries in the ``mlsys_traits`` of a class."""
    if not has_own_traits(estimator):
        return []
    try:
        traits = traits_of(estimator)
    except FitError as error:
        return [Problem(f"{where}._target_", str(error), "Traits")]
    parameters, arguments = estimator.get_params(deep=False), inspect.signature(estimator.fit).parameters
    named = [(field, getattr(traits, field), parameters) for field in ("iterations", "threads", "column")]
    named += [("fit_parameters", name, parameters) for name in traits.fit_parameters]
    named += [("column_parameters", name, parameters) for name in traits.column_parameters]
    named += [("categories_argument", traits.categories_argument, arguments)]
    return [
        Problem(f"{where}._target_", f"mlsys_traits.{field}={name!r}", ", ".join(known), closest(name, known))
        for field, name, known in named
        if name is not None and name not in known
    ]


def _unknown_arguments(model: Mapping[str, Any], estimators: Mapping[str, Any]) -> list[Problem]:
    """Find arguments that XGBoost or LightGBM would accept and ignore, as they accept any."""
    problems = []
    for where, estimator in estimators.items():
        traits, node = traits_of(estimator), section(model, *where.split(".")[1:])
        if traits.keywords is None:
            continue
        named, columns = sorted(type(estimator)().get_params()), sorted(traits.column_parameters)
        known = {*named, *columns, *traits.keywords()}
        for name in (name for name in node if name not in known and not name.startswith("_")):
            near = closest(name, columns if name in EVERY_NAME else named) or closest(name, sorted(known))
            problems.append(Problem(f"{where}.{name}", "an unknown key", ", ".join(named), near))
    return problems


def _without_iterations(estimators: Mapping[str, Any]) -> list[Problem]:
    """Find boosted models without trees: some libraries fit them silently, and every row gets the same score."""
    problems = []
    for where, estimator in estimators.items():
        name = traits_of(estimator).iterations
        count = None if name is None else estimator.get_params(deep=False).get(name)
        if isinstance(count, int) and count < 1:
            problems.append(Problem(f"{where}.{name}", repr(count), "at least 1"))
    return problems


def _untrusted_types(estimators: Mapping[str, Any], encoder: Encoder) -> list[Problem]:
    """Find types that a saved pipeline may not contain, before any time is spent on training."""
    try:
        found = untrusted_parts(encoder, estimators["model"])
    except FitError as error:
        return [Problem("model._target_", str(error), "importances as documented in Traits")]
    except RunError as error:
        return [Problem("model._target_", str(error), "a model that can be saved")]
    named = [("encoder", name) for name in found.encoder]
    for name in found.model:  # a type that no config key names is inside another estimator
        places = [where for where, value in estimators.items() if _full_name(type(value)) == name]
        named += [(where, name) for where in places or ["model"]]
    return [
        Problem(f"{where}._target_", f"{name}, which a saved model may not contain", ALLOWED) for where, name in named
    ]


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _estimators(model: Mapping[str, Any], estimator: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an estimator and those inside it, keyed by their place in the config."""
    inner = [(_place(model, name), value) for name, value in estimator.get_params(deep=True).items()]
    return {"model": estimator} | {
        where: value for where, value in inner if isinstance(value, HasParams) and not isinstance(value, type)
    }


def _place(model: Mapping[str, Any], name: str) -> str:
    """Return the config key of what scikit-learn calls ``outer__inner``.

    Examples
    --------
    >>> _place({"members": {"a": {"_target_": "BaggingClassifier"}}}, "a__estimator")
    'model.members.a.estimator'
    """
    node, place = model, ["model"]
    for part in name.split("__"):
        for key in ("members", "estimators"):  # keys of a vote and of scikit-learn's meta-estimators
            if part not in node and key in node:
                node, place = section(node, key), [*place, key]
        node, place = section(node, part), [*place, part]
    return ".".join(place)
