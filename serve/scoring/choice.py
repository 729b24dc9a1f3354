"""Which call answers: the fastest that reproduces the golden rows, else the Pipeline."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.runs.golden import output_names
from serve.scoring.fields import Block, Categories, Inputs, Numbers
from serve.scoring.pipeline import PipelinePath
from serve.scoring.problems import InvalidInput
from serve.scoring.tables import block_of, check_columns

TOLERANCE = 1e-9
TOLERANCE_FLOAT32 = 1e-6


class Predictor(Protocol):
    """From checked values to the model's scores, before calibration."""

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        ...

    def many(self, block: Block) -> NDArray[np.float64]:
        """Return the score of each row; may run in another thread than `one`."""
        ...


@dataclass(frozen=True)
class Chosen:
    """A predictor that has reproduced the golden rows.

    Attributes
    ----------
    predictor : Predictor
    name : str
    why : str
    """

    predictor: Predictor
    name: str
    why: str


def choose(run: Run, inputs: Inputs) -> Chosen:
    """Return what is to score a run's records.

    Raises
    ------
    RunError
        If the model cannot be loaded, or does not reproduce its golden rows.
    """
    predictor = PipelinePath(run.model, inputs.fields)
    check(run, inputs, predictor, TOLERANCE_FLOAT32)
    return Chosen(predictor, "pipeline", "The run's own Pipeline scores every record.")


def check(run: Run, inputs: Inputs, predictor: Predictor, tolerance: float) -> None:
    """Let a predictor score the golden rows, together and one by one.

    Raises
    ------
    RunError
        If a probability differs by more than ``tolerance`` from what training computed.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(run.read_bytes("golden.parquet")))
    names = output_names(field.name for field in inputs.fields)
    score, probability = (table.column(name).to_numpy() for name in names)
    try:
        check_columns(table, inputs, names)
    except InvalidInput as error:
        raise RunError(f"The golden rows of {run.path} do not fit its schema.json: {error} Train again.") from error
    block, _ = block_of(table, inputs, 0)  # of a test fold: it may hold nulls that no training row did
    together = predictor.many(block)
    singly = [
        predictor.one(tuple(block.numbers[row].tolist()), tuple(column[row] for column in block.categories))
        for row in range(len(block))
    ]
    for got in (together, np.array(singly)):
        for name, value, want in (("score", got, score), ("probability", run.calibration.apply(got), probability)):
            difference = np.abs(value - want)
            if not np.all(difference <= tolerance):
                raise RunError(
                    f"The model of {run.path} does not reproduce its golden rows: "
                    f"{int((~(difference <= tolerance)).sum())} of {len(want)} differ in {name}, by up to "
                    f"{np.nan_to_num(difference, nan=np.inf).max():.3g} (allowed: {tolerance:g}). Do not serve it. "
                    "Install the versions that its manifest.json names, or train again."
                )
