"""Builds the components of a checked config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self

from pydantic import ValidationError

from mlsys.config import Component, EarlyStopping, build, section
from mlsys.data.panel import Panel
from mlsys.errors import ConfigError, Problem, closest
from mlsys.evaluation.splits import Split
from mlsys.features.base import Block
from mlsys.pipeline.calibration import Calibrator
from mlsys.pipeline.encoders import Encoder
from mlsys.pipeline.fitting import Recipe
from mlsys.pipeline.needs import library
from mlsys.pipeline.stopping import TREES
from mlsys.tracking import NoTracker, Several, Tracker

# What is called on the components of each group: one of another group is allowed by the whitelist, but cannot work.
METHODS = {
    "encoder": ("build",),
    "sampler": ("fit_resample",),
    "model": ("fit", "predict_proba"),
    "calibration": ("fit", "needs_scores"),
    "split": ("split",),
    "tracking": ("start", "start_timeout", "finish_timeout"),
}


@dataclass(frozen=True)
class Components:
    """What the config groups stand for; see each group's Protocol."""

    blocks: Sequence[Block]
    encoder: Encoder
    sampler: Any
    estimator: Any
    calibrator: Calibrator
    split: Split
    tracker: Tracker | Several
    stop_after: int | None
    validation_share: float

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
            problems.extend(_of_another_kind(built, where))
            return built

        encoder, sampler, estimator, calibrator, split, tracker = (one(plain.get(group), group) for group in METHODS)
        blocks = section(plain, "features", "blocks")
        built = [one(node, f"features.blocks.{name}") for name, node in blocks.items() if node is not None]
        stopping = EarlyStopping.model_construct(**section(plain, "fit", "early_stopping"))
        problems += _misspelt(section(plain, "model"), estimator)
        problems += _without_trees(estimator, "model")
        parts = cls(
            blocks=[block for block in built if block is not None],
            encoder=encoder,
            sampler=sampler,
            estimator=estimator,
            calibrator=calibrator,
            split=split,
            tracker=tracker or NoTracker(),
            stop_after=stopping.rounds if stopping.enabled else None,
            validation_share=stopping.share,
        )
        return parts, problems

    def recipe(self, panel: Panel) -> Recipe:
        """Return how a panel is fitted.

        Raises
        ------
        ConfigError
            Where the model reads a column by name that the panel does not have.
        """
        wanted = getattr(self.estimator, "feature", None)
        if wanted is not None and wanted not in panel.names:
            raise ConfigError(
                "The config",
                [
                    Problem(
                        "model.feature",
                        str(wanted),
                        "a column of the panel: " + ", ".join(panel.names),
                        closest(str(wanted), panel.names),
                    )
                ],
                "Choose another column, or features=usage.",
            )
        return Recipe(
            encoder=self.encoder,
            sampler=self.sampler,
            estimator=self.estimator,
            calibrator=self.calibrator,
            numbers=[feature.name for feature in panel.features if feature.kind == "number"],
            categories=[feature.name for feature in panel.features if feature.kind == "category"],
            stop_after=self.stop_after,
            validation_share=self.validation_share,
        )


def _of_another_kind(component: Any, where: str) -> list[Problem]:  # noqa: ANN401 - whatever the target is
    if component is None or isinstance(component, Several):
        return []
    kind = type(component)
    if where.startswith("features."):
        wanted, lacks = "a feature block", [] if isinstance(component, Block) else ["features"]
    else:
        # Asked of the class: scikit-learn's own meta-estimators show some methods only when they are fitted.
        lacks = [name for name in METHODS[where] if not hasattr(kind, name)]
        wanted = f"a target whose objects have {' and '.join(METHODS[where])}"
    got = f"{kind.__module__}.{kind.__qualname__}, which has no {' and no '.join(lacks)}"
    return [Problem(f"{where}._target_", got, wanted)] if lacks else []


def _misspelt(model: Mapping[str, Any], estimator: Any) -> list[Problem]:  # noqa: ANN401 - any scikit-learn estimator
    """Find arguments that XGBoost or LightGBM would take and ignore, because they take any; aliases are left alone."""
    if library(estimator) not in ("xgboost", "lightgbm"):
        return []
    known = sorted(type(estimator)().get_params())
    given = [name for name in model if name not in known and name != "_target_"]
    near = {name: get_close_matches(name, known, n=1, cutoff=0.8) for name in given}
    return [
        Problem(f"model.{name}", "an unknown key", ", ".join(known), match[0]) for name, match in near.items() if match
    ]


def _without_trees(estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401
    """Find boosted models of no trees: some libraries fit them without a word, and everybody gets the same score."""
    name = TREES.get(library(estimator), "")
    trees = estimator.get_params(deep=False).get(name) if name else None
    problems = [Problem(f"{where}.{name}", repr(trees), "at least 1")] if isinstance(trees, int) and trees < 1 else []
    for member, inner in getattr(estimator, "estimators", None) or ():
        problems += _without_trees(inner, f"{where}.members.{member}")
    return problems
