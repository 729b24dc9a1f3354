"""Selects the scoring path of a run: the fastest that reproduces the golden rows, else the Pipeline."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.runs.golden import output_names
from mlsys.runs.input_column import input_columns
from mlsys.runs.model_io import MODEL_FILE
from mlsys.runs.model_outputs import more_names
from mlsys.text import joined
from serve.scoring.build_path import FLOAT32, fast_path
from serve.scoring.calibrate import probability_function
from serve.scoring.encoding import known_levels
from serve.scoring.fields import Inputs, RecordBlock
from serve.scoring.models.sklearn_pipeline import PipelinePath
from serve.scoring.predictor import OutputsPredictor, Predictor, ScoringPath
from serve.scoring.problems import InvalidInput
from serve.scoring.skops_reader import Node, read_skops
from serve.scoring.tables import block_of, check_columns, numbers_of
from serve.scoring.typical import typical_record

if TYPE_CHECKING:
    import pyarrow as pa

READ_AS_DATA = ("interpret-core",)  # libraries whose models are scored without them

logger = logging.getLogger(__name__)


def select_path(run: Run) -> tuple[Inputs, ScoringPath]:
    """Return the inputs of a run and the path that scores them.

    Raises
    ------
    RunError
        If the model cannot be loaded or does not reproduce its golden rows.
    """
    pipeline = read_skops(run.model_bytes(without=READ_AS_DATA), str(run.path / MODEL_FILE))
    inputs = Inputs(input_columns(run.schema, _known_levels(pipeline)))
    reference = run.reference if "reference.json" in run.manifest.files else {}
    if pipeline is None:
        path: ScoringPath | str = "its file contains types that no fast path supports"
    else:
        path = fast_path(pipeline, inputs, reference)
    if isinstance(path, str):
        path = _pipeline_path(run, inputs, path)
    elif more_names(run.schema) and not isinstance(path.predictor, OutputsPredictor):
        path = _pipeline_path(run, inputs, f"the fast path {path.name} only gives the probability")
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
    predictor = PipelinePath(run.model, inputs.fields, typical, run.calibration)
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
    """Return the largest difference from the golden scores and outputs, scored as a batch and one by one.

    Raises
    ------
    RunError
        If golden.parquet is not a table of the inputs and outputs.
    """
    table = _golden(run)
    more = more_names(run.schema)
    names = output_names([field.name for field in inputs.fields], more)
    if missing := [name for name in names if name not in table.column_names]:
        raise RunError(f"golden.parquet of {run.path} has no column {joined(missing, 'or')}: train again.")
    try:
        check_columns(table, inputs, names)
    except InvalidInput as error:
        raise RunError(f"The golden rows of {run.path} do not match its schema.json: {error} Train again.") from error
    block, _ = block_of(table, inputs, 0)  # problems are ignored: a test fold may have nulls where training had none
    if not len(block):
        raise RunError(f"golden.parquet of {run.path} has no rows to check the model with: train again.")
    golden = np.column_stack([numbers_of(table.column(name)) for name in names])
    largest = 0.0
    for results in (_as_batch(run, block, path.predictor, more), _one_by_one(run, block, path.predictor, more)):
        largest = max(largest, float(np.nan_to_num(np.abs(results - golden), nan=np.inf).max()))
    return largest


def _as_batch(run: Run, block: RecordBlock, predictor: Predictor, more: Sequence[str]) -> NDArray[np.float64]:
    """Return the score, the probability and the other outputs of each row."""
    if not more:
        scores, outputs = predictor.many(block), np.empty((len(block), 0))
    else:
        assert isinstance(predictor, OutputsPredictor)
        scores, outputs = predictor.many_with_outputs(block, run.calibration)
    return np.column_stack([scores, run.calibration.apply(scores), outputs])


def _one_by_one(run: Run, block: RecordBlock, predictor: Predictor, more: Sequence[str]) -> NDArray[np.float64]:
    rows = [block.values(row) for row in range(len(block))]
    if not more:
        scores, outputs = np.array([predictor.one(*values) for values in rows]), np.empty((len(block), 0))
    else:
        assert isinstance(predictor, OutputsPredictor)
        to_probability = probability_function(run.calibration)
        pairs = [predictor.one_with_outputs(*values, to_probability) for values in rows]
        scores, outputs = np.array([score for score, _ in pairs]), np.array([numbers for _, numbers in pairs])
    return np.column_stack([scores, run.calibration.apply(scores), outputs])
