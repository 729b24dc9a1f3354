"""What a run says of how its inputs were computed: data config, types of the raw columns, feature blocks."""

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

BLOCKS_PACKAGE = "mlsys.features"  # where blocks live: a config can make nothing else of its targets


class NoFeaturesError(RunError):
    """A run whose inputs are not computed from events."""


def read_recipe(run: Run) -> tuple[EventsData, dict[str, dict[str, str]]]:
    """Return a run's data config, with its tables renamed to those of a request, and the types of its raw columns.

    Raises
    ------
    NoFeaturesError
        Where the run's inputs are not computed from events.
    RunError
        Where its config cannot be read by this version.
    """
    section = dict(run.config.get("data") or {})
    if section.get("kind") != "events":
        raise NoFeaturesError(
            "This model was trained on a flat table, whose columns are its inputs: there are no features to compute. "
            "Send the inputs to /predict or /predict/batch."
        )
    if not any((run.config.get("features") or {}).get("blocks", {}).values()):
        raise NoFeaturesError(
            "This model has no feature blocks (features=none): there are no features to compute. Send its inputs to "
            "/predict or /predict/batch."
        )
    try:
        data = EventsData.model_validate(section)
    except ValidationError as error:
        raise RunError(f"The data config of {run.path} is of another version of mlsys: {error}") from error
    if "recipe.json" not in run.manifest.files:
        raise NoFeaturesError(
            f"The run {run.name} does not say as which types its raw tables were read (recipe.json): train it again "
            "to have features computed, or send its inputs to /predict."
        )
    parts = {
        "entities": data.entities.model_copy(update={"tables": ["entities"]}),
        "outcome": data.outcome.model_copy(update={"table": "outcome"}),
        "events": data.events.model_copy(update={"table": "events"}),
    }
    return data.model_copy(update=parts), run.read_json("recipe.json")


def check_inputs(run: Run, infos: Sequence[FeatureInfo]) -> None:
    """Refuse blocks that give other columns than the model takes."""
    wanted = {column.name: column.dtype for column in input_columns(run.schema)}
    made = {info.name: TEXT if info.kind == "category" else NUMBER for info in infos}
    differences = [f"{name} ({wanted[name]})" for name in wanted if made.get(name) != wanted[name]]
    if differences:
        raise RunError(
            f"The feature blocks here do not give these inputs of {run.path}: {', '.join(differences)}. Serve the run "
            "with the code that it was trained with, or train again."
        )


def blocks_of(config: Mapping[str, Any]) -> list[Block]:
    """Build the feature blocks of a resolved config, in its order, without Hydra.

    Raises
    ------
    RunError
        Where a target is no feature block, or does not take its arguments.
    """
    nodes = config["features"]["blocks"]
    return [_block(name, dict(node)) for name, node in nodes.items() if node and node.get("_target_")]


def _block(name: str, node: dict[str, Any]) -> Block:
    target = str(node.pop("_target_"))
    said = f"The feature block {name!r} of the run is {target}"
    module, _, kind = target.rpartition(".")
    if module != BLOCKS_PACKAGE and not module.startswith(f"{BLOCKS_PACKAGE}."):
        raise RunError(f"{said}; only blocks of {BLOCKS_PACKAGE} are served.")
    try:
        made = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise RunError(f"{said}, which is not here: {error}. Serve it with the code it was trained with.") from error
    if not (isinstance(made, type) and issubclass(made, Block)):
        raise RunError(f"{said}, which is no class of feature blocks.")
    try:
        block: Block = made(**node)
    except (TypeError, ValueError) as error:  # pydantic's is a ValueError
        raise RunError(f"{said}, which does not take its arguments: {error}") from error
    return block
