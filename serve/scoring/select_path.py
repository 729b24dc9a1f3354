"""Selects the scoring path of a run: the fastest that reproduces the golden rows, else the Pipeline."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import numpy as np

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.runs.golden import output_names
from mlsys.runs.input_column import input_columns
from mlsys.runs.model_io import MODEL_FILE
from mlsys.text import joined
from serve.scoring.build_path import FLOAT32, fast_path
from serve.scoring.encoding import known_levels
from serve.scoring.fields import Inputs
from serve.scoring.models.sklearn_pipeline import PipelinePath
from serve.scoring.models.survival import SurvivalPipelinePath
from serve.scoring.predictor import ScoringPath
from serve.scoring.problems import InvalidInput
from serve.scoring.skops_reader import Node, read_skops
from serve.scoring.tables import block_of, check_columns, numbers_of
from serve.scoring.typical import typical_record

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)


def select_path(run: Run) -> tuple[Inputs, ScoringPath]:
    """Return the inputs of a run and the path that scores them.

    Raises
    ------
    RunError
        If the model cannot be loaded or does not reproduce its golden rows.
    """
    pipeline = read_skops(run.model_bytes(), str(run.path / MODEL_FILE))
    inputs = Inputs(input_columns(run.schema, _known_levels(pipeline)))
    reference = run.reference if "reference.json" in run.manifest.files else {}
    if pipeline is None:
        path: ScoringPath | str = "its file contains types that no fast path supports"
    else:
        path = fast_path(pipeline, inputs, reference)
    if isinstance(path, str):
        path = _pipeline_path(run, inputs, path)
    elif (difference := golden_difference(run, inputs, path)) > path.tolerance:
        logger.warning("%s: the path %s is off by %.3g on the golden rows", run.path, path.name, difference)
        path = _pipeline_path(run, inputs, f"the fast path {path.name} is off by {difference:.3g} on the golden rows")
    return inputs, path


def _known_levels(pipeline: Node | None) -> dict[str, frozenset[str]]:
    try:
        return {} if pipeline is None else known_levels(pipeline)
    except (
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
    ):  # not written by mlsys: score with the Pipeline itself
        return {}


def _pipeline_path(run: Run, inputs: Inputs, reason: str) -> ScoringPath:
    typical = typical_record(run.reference if "reference.json" in run.manifest.files else {}, inputs)
    model = run.model
    kind = SurvivalPipelinePath if hasattr(model[-1], "predict_by_day") else PipelinePath  # type: ignore[index]
    predictor = kind(model, inputs.fields, typical)
    path = ScoringPath(predictor, "pipeline", f"Scored with the saved scikit-learn Pipeline: {reason}.", FLOAT32)
    if (difference := golden_difference(run, inputs, path)) > path.tolerance:
        raise RunError(
            f"The model of {run.path} does not reproduce its golden rows: they differ by up to {difference:.3g} "
            f"(allowed: {path.tolerance:g}). Do not serve it. Install the versions that its manifest.json names, or "
            "train again."
        )
    return path


def _golden(run: Run) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(io.BytesIO(run.read_bytes("golden.parquet"))).read()
    except ValueError as error:  # the base class of Arrow's errors
        raise RunError(f"Cannot read golden.parquet of {run.path}: {error}. Train again.") from error


def golden_difference(run: Run, inputs: Inputs, path: ScoringPath) -> float:
    """Return the largest difference from the golden scores and probabilities, scored as a batch and one by one.

    Raises
    ------
    RunError
        If golden.parquet is not a table of the inputs and outputs.
    """
    table = _golden(run)
    names = output_names(field.name for field in inputs.fields)
    if missing := [name for name in names if name not in table.column_names]:
        raise RunError(f"golden.parquet of {run.path} has no column {joined(missing, 'or')}: train again.")
    try:
        check_columns(table, inputs, names)
    except InvalidInput as error:
        raise RunError(f"The golden rows of {run.path} do not match its schema.json: {error} Train again.") from error
    block, _ = block_of(table, inputs, 0)  # problems are ignored: a test fold may have nulls where training had none
    if not len(block):
        raise RunError(f"golden.parquet of {run.path} has no rows to check the model with: train again.")
    score, probability = (numbers_of(table.column(name)) for name in names)
    one_by_one = np.array([path.predictor.one(*block.values(row)) for row in range(len(block))])
    largest = 0.0
    for scores in (path.predictor.many(block), one_by_one):
        probabilities = run.calibration.apply(scores)
        differences = np.concatenate([np.abs(scores - score), np.abs(probabilities - probability)])
        largest = max(largest, float(np.nan_to_num(differences, nan=np.inf).max()))
    return largest
