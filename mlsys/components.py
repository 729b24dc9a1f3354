"""Builds the components of a checked config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol, Self, runtime_checkable

from pydantic import ValidationError

from mlsys.config import Component, EarlyStopping, build, section
from mlsys.data.panel import Panel
from mlsys.errors import ConfigError, FitError, Problem, RunError, closest
from mlsys.evaluation.splits import Split
from mlsys.features.base import Block
from mlsys.pipeline.calibration import Calibrator
from mlsys.pipeline.encoders import Encoder
from mlsys.pipeline.fitting import PipelineSpec
from mlsys.pipeline.storable import untrusted_parts
from mlsys.pipeline.traits import traits_of
from mlsys.tracking import MultiTracker, NoTracker, Tracker

# What is called on the components of each group: one of another group is allowed by the whitelist, but cannot work.
METHODS = {
    "encoder": ("build",),
    "sampler": ("fit_resample",),
    "model": ("fit", "predict_proba", "get_params", "__sklearn_tags__"),  # the latter two from BaseEstimator
    "calibration": ("fit", "needs_scores"),
    "split": ("split",),
    "tracking": ("start", "start_timeout", "finish_timeout"),
}
ALLOWED = "a type of TRUSTED_TYPES: if you know how it is restored, add it to mlsys/runs/trusted.py"


@runtime_checkable
class HasParams(Protocol):
    """An estimator among the parameters of another one."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return its parameters by name."""
        ...


@dataclass(frozen=True)
class Components:
    """What the config groups stand for; see each group's Protocol."""

    blocks: Sequence[Block]
    encoder: Encoder
    sampler: Any
    estimator: Any
    calibrator: Calibrator
    split: Split
    tracker: Tracker | MultiTracker
    stop_after: int | None
    validation_fraction: float

    @classmethod
    def build(cls, plain: Mapping[str, Any]) -> tuple[Self, list[Problem]]:
        """Instantiate every group of a resolved config, whether or not the rest of it is right.

        Returns
        -------
        Components
            Of use only if there is no problem.
        list of Problem
            Every component that cannot be built.
        """
        problems: list[Problem] = []

        def one(node: Any, where: str) -> Any:  # noqa: ANN401 - whatever the target is
            try:
                component = Component.model_validate(node)
                built = None if component.target is None else build(component, where)
            except ConfigError as error:
                problems.extend(error.problems)
                return None
            except ValidationError:
                return None  # said by the check of types
            wrong = _of_another_kind(built, where)
            problems.extend(wrong)
            return None if wrong else built

        encoder, sampler, estimator, calibrator, split, tracker = (one(plain.get(group), group) for group in METHODS)
        blocks = section(plain, "features", "blocks")
        built = [one(node, f"features.blocks.{name}") for name, node in blocks.items() if node is not None]
        stopping = EarlyStopping.model_construct(**section(plain, "fit", "early_stopping"))
        problems += _model_problems(section(plain, "model"), estimator, encoder)
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
        )
        return parts, problems

    def pipeline_spec(self, panel: Panel) -> PipelineSpec:
        """Return how to fit a pipeline on a panel.

        Raises
        ------
        ConfigError
            Where the model reads a column by name that the panel does not have.
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
        return PipelineSpec(
            encoder=self.encoder,
            sampler=self.sampler,
            estimator=self.estimator,
            calibrator=self.calibrator,
            numbers=[feature.name for feature in panel.features if feature.kind == "number"],
            categories=[feature.name for feature in panel.features if feature.kind == "category"],
            stop_after=self.stop_after,
            validation_fraction=self.validation_fraction,
        )


def _of_another_kind(component: Any, where: str) -> list[Problem]:  # noqa: ANN401 - whatever the target is
    if component is None or isinstance(component, MultiTracker):
        return []
    kind = type(component)
    if where.startswith("features."):
        wanted, lacks = "a feature block", [] if isinstance(component, Block) else ["features"]
    else:
        # Asked of the class: scikit-learn's own meta-estimators show some methods only when they are fitted.
        lacks = [name for name in METHODS[where] if not hasattr(kind, name)]
        wanted = f"a target whose objects have {' and '.join(METHODS[where])}"
    got = f"{_full_name(kind)}, which has no {' and no '.join(lacks)}"
    return [Problem(f"{where}._target_", got, wanted)] if lacks else []


def _model_problems(model: Mapping[str, Any], estimator: Any, encoder: Encoder | None) -> list[Problem]:  # noqa: ANN401
    """Find what is wrong with a model, and what of the pipeline could not be loaded after training."""
    if estimator is None:
        return []
    estimators = _estimators(model, estimator)
    try:
        problems = [*_misspelt(model, estimator), *_without_iterations(estimators)]
    except FitError as error:  # its mlsys_traits is something else
        return [Problem("model._target_", str(error), "Traits")]
    return problems or (_refused_by_loading(estimators, encoder) if encoder is not None else [])


def _misspelt(model: Mapping[str, Any], estimator: Any) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find arguments that XGBoost or LightGBM would take and ignore, because they take any; aliases are left alone."""
    if not traits_of(estimator).ignores_unknown_parameters:
        return []
    known = sorted(type(estimator)().get_params())
    given = [name for name in model if name not in known and name != "_target_"]
    near = {name: get_close_matches(name, known, n=1, cutoff=0.8) for name in given}
    return [
        Problem(f"model.{name}", "an unknown key", ", ".join(known), match[0]) for name, match in near.items() if match
    ]


def _without_iterations(estimators: Mapping[str, Any]) -> list[Problem]:
    """Find models of no trees: some libraries fit them without a word, and everybody gets the same score."""
    problems = []
    for where, estimator in estimators.items():
        name = traits_of(estimator).iterations
        count = None if name is None else estimator.get_params(deep=False).get(name)
        if isinstance(count, int) and count < 1:
            problems.append(Problem(f"{where}.{name}", repr(count), "at least 1"))
    return problems


def _refused_by_loading(estimators: Mapping[str, Any], encoder: Encoder) -> list[Problem]:
    """Find types that a saved pipeline may not hold, before they have cost a training."""
    try:
        found = untrusted_parts(encoder, estimators["model"])
    except RunError as error:
        return [Problem("model._target_", str(error), "a model that can be saved")]
    named = [("encoder", name) for name in found.encoder]
    for name in found.model:  # one that no key of the config names is inside of another
        places = [where for where, value in estimators.items() if _full_name(type(value)) == name]
        named += [(where, name) for where in places or ["model"]]
    return [
        Problem(f"{where}._target_", f"{name}, which loading a saved model refuses", ALLOWED) for where, name in named
    ]


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _estimators(model: Mapping[str, Any], estimator: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an estimator and those inside of it, by where the config describes them."""
    inner = [(_place(model, name), value) for name, value in estimator.get_params(deep=True).items()]
    return {"model": estimator} | {
        where: value for where, value in inner if isinstance(value, HasParams) and not isinstance(value, type)
    }


def _place(model: Mapping[str, Any], name: str) -> str:
    """Return where the config describes what scikit-learn calls ``outer__inner``.

    Examples
    --------
    >>> _place({"members": {"a": {"_target_": "BaggingClassifier"}}}, "a__estimator")
    'model.members.a.estimator'
    """
    node, place = model, ["model"]
    for part in name.split("__"):
        for key in ("members", "estimators"):  # of a vote, and of scikit-learn's own meta-estimators
            if part not in node and key in node:
                node, place = section(node, key), [*place, key]
        node, place = section(node, part), [*place, part]
    return ".".join(place)
