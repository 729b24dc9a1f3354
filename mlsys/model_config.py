"""The model group of the config: one model, or candidates to choose among."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from mlsys.data.config import Section


class Component(BaseModel):
    """A node that Hydra instantiates: ``_target_`` and its arguments. A null target switches it off."""

    model_config = ConfigDict(extra="allow", frozen=True)

    target: Annotated[str | None, Field(alias="_target_")]


class CandidatesConfig(Section):
    """Models by name, to choose among on ``folds`` folds that are not reported; one that is null is left out."""

    folds: Annotated[int, Field(ge=2)] = 6
    candidates: dict[str, Component | None]

    @field_validator("candidates")
    @classmethod
    def _some(cls, candidates: dict[str, Component | None]) -> dict[str, Component | None]:
        if not any(candidates.values()):
            raise ValueError("at least one candidate that is not null")
        return candidates

    @property
    def nodes(self) -> dict[str, Component]:
        """The candidates that are not left out."""
        return {name: node for name, node in self.candidates.items() if node is not None}


class SelectionConfig(CandidatesConfig):
    """The choice among candidates that led to ``model``; only set in the saved config of a run that made one."""

    chosen: Annotated[list[str], Field(min_length=1)]


def _model_kind(node: Any) -> str:  # noqa: ANN401 - the config before it is checked
    return "candidates" if isinstance(node, CandidatesConfig) or has_candidates(node) else "component"


def has_candidates(node: Any) -> bool:  # noqa: ANN401
    """Return whether the unchecked ``model`` of a config is a choice among candidates."""
    return isinstance(node, Mapping) and "candidates" in node and "_target_" not in node


ModelConfig = Annotated[
    Annotated[Component, Tag("component")] | Annotated[CandidatesConfig, Tag("candidates")],
    Discriminator(_model_kind),
]
