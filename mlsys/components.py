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
from mlsys.tracking import NoTracker, Tracker


@dataclass(frozen=True)
class Components:
    """What the config groups stand for; see each group's Protocol."""

    blocks: Sequence[Block]
    encoder: Encoder
    sampler: Any
    estimator: Any
    calibrator: Calibrator
    split: Split
    tracker: Tracker
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
                return None if component.target is None else build(component, where)
            except ConfigError as error:
                problems.extend(error.problems)
            except ValidationError:
                pass  # said by the check of types
            return None

        groups = ("encoder", "sampler", "model", "calibration", "split", "tracking")
        encoder, sampler, estimator, calibrator, split, tracker = (one(plain.get(group), group) for group in groups)
        blocks = section(plain, "features", "blocks")
        built = [one(node, f"features.blocks.{name}") for name, node in blocks.items() if node is not None]
        stopping = EarlyStopping.model_construct(**section(plain, "fit", "early_stopping"))
        problems += _misspelt(section(plain, "model"), estimator)
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
