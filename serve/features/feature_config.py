"""How a run's inputs were computed: its data config, the types of its raw columns, and its feature blocks."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mlsys.data.config import EventsData
from mlsys.errors import RunError
from mlsys.features.base import Block, FeatureInfo
from mlsys.runs.input_column import NUMBER, TEXT, input_columns

if TYPE_CHECKING:
    from mlsys.runs import Run
from mlsys.runs.recipe_file import read_recipe

BLOCKS_PACKAGE = "mlsys.features"  # the only package that a config's targets may come from


class NoFeaturesError(RunError):
    """Raised for a run whose inputs are not computed from events."""


def read_feature_config(run: Run) -> tuple[EventsData, dict[str, dict[str, str]]]:
    """Return a run's data config, with the table names of a request, and the types of its raw columns.

    Raises
    ------
    NoFeaturesError
        If the run's inputs are not computed from events.
    RunError
        If its config is not valid for this version of mlsys.
    """
    section = dict(run.config.get("data") or {})
    if section.get("kind") != "events":
        raise NoFeaturesError(
            "This model was trained on a flat table whose columns are its inputs, so there are no features to compute. "
            "Send the inputs to /predict or /predict/batch."
        )
    if not any((run.config.get("features") or {}).get("blocks", {}).values()):
        raise NoFeaturesError(
            "This model has no feature blocks (features=none), so there are no features to compute. Send its inputs to "
            "/predict or /predict/batch."
        )
    try:
        data = EventsData.model_validate(section)
    except ValidationError as error:
        raise RunError(f"The data config of {run.path} is not valid for this version of mlsys: {error}") from error
    if "recipe.json" not in run.manifest.files:
        raise NoFeaturesError(
            f"The run {run.name} has no recipe.json with the types of its raw columns. Train it again to compute "
            "features here, or send its inputs to /predict."
        )
    parts = {
        "entities": data.entities.model_copy(update={"tables": ["entities"]}),
        "outcome": data.outcome.model_copy(update={"table": "outcome"}),
        "events": data.events.model_copy(update={"table": "events"}),
    }
    return data.model_copy(update=parts), read_recipe(run)


def check_inputs(run: Run, infos: Sequence[FeatureInfo]) -> None:
    """Raise RunError if the blocks do not compute the model's inputs."""
    expected = {column.name: column.dtype for column in input_columns(run.schema)}
    computed = {info.name: TEXT if info.kind == "category" else NUMBER for info in infos}
    differences = [f"{name} ({dtype})" for name, dtype in expected.items() if computed.get(name) != dtype]
    if differences:
        raise RunError(
            f"The installed feature blocks do not compute these inputs of {run.path}: {', '.join(differences)}. Serve "
            "the run with the code that it was trained with, or train again."
        )


def blocks_of(config: Mapping[str, Any]) -> list[Block]:
    """Build the feature blocks of a resolved config, in its order, without Hydra.

    Raises
    ------
    RunError
        If a target is not a feature block or does not accept its arguments.
    """
    nodes = config["features"]["blocks"]
    return [_block(name, dict(node)) for name, node in nodes.items() if node and node.get("_target_")]


def _block(name: str, node: dict[str, Any]) -> Block:
    target = str(node.pop("_target_"))
    subject = f"The feature block {name!r} of the run is {target}"
    module, _, kind = target.rpartition(".")
    if module != BLOCKS_PACKAGE and not module.startswith(f"{BLOCKS_PACKAGE}."):
        raise RunError(f"{subject}; only blocks from {BLOCKS_PACKAGE} can be served.")
    try:
        block_class = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise RunError(
            f"{subject}, which is not installed: {error}. Serve the run with the code that it was trained with."
        ) from error
    if not (isinstance(block_class, type) and issubclass(block_class, Block)):
        raise RunError(f"{subject}, which is not a feature block class.")
    try:
        block: Block = block_class(**node)
    except (TypeError, ValueError) as error:  # pydantic raises a ValueError
        raise RunError(f"{subject}, which does not accept its arguments: {error}") from error
    return block
