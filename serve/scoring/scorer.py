"""From a run directory to probabilities: what the service asks of a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs import Run
from serve.scoring.calibrate import calibrated
from serve.scoring.fields import Block, Categories, Inputs, Numbers
from serve.scoring.predictor import ScoringPath as ScoringPath
from serve.scoring.problems import LISTED, InputProblem, InvalidInput
from serve.scoring.reasons import Reasons, reasons_of
from serve.scoring.select_path import choose
from serve.scoring.tables import block_of, check_columns

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 128  # records that are checked between two pauses of a batch: about half a millisecond
TABLE_CHUNK = 2_048  # the same for rows of a table, which are checked by column
PREDICTED = 1_024  # rows that are scored between two: the libraries' own calls let other threads run
ALONE = 4  # times as many where no other thread waits
PAUSE = 20e-6  # seconds; a thread that only yields takes the interpreter lock back before another one wakes up


@dataclass(frozen=True)
class Prediction:
    """One record's answer.

    Attributes
    ----------
    probability : float
    decision : bool
        Whether it reaches the run's threshold.
    warnings : tuple of str
        What is odd about the record: values outside of what training saw.
    values : tuple
        The checked numbers and categories, for `Scorer.reasons`.
    """

    probability: float
    decision: bool
    warnings: tuple[str, ...]
    values: tuple[Numbers, Categories]


@dataclass(frozen=True)
class BatchResult:
    """The answer to a batch.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (n_rows,)
    decisions : ndarray of bool, shape (n_rows,)
    warnings : dict of int to tuple of str
        By row, from 0, of those rows that have any.
    block : Block
        The checked values.
    """

    probabilities: NDArray[np.float64]
    decisions: NDArray[np.bool_]
    warnings: dict[int, tuple[str, ...]]
    block: Block

    def values(self, row: int) -> tuple[Numbers, Categories]:
        """Return one row's values, for `Scorer.reasons`."""
        return self.block.values(row)


class Scorer:
    """A loaded model that has reproduced its golden rows.

    Made by `Scorer.load`. `score` belongs to one thread; `score_many` and `score_table` may run in others meanwhile.

    Attributes
    ----------
    run : Run
    schema : dict
        Content of schema.json.
    threshold : float
        From which probability on the answer is yes.
    inputs : Inputs
        The fields.
    path, why : str
        Which call answers, and a sentence that says why.
    """

    def __init__(self, run: Run, inputs: Inputs, chosen: ScoringPath) -> None:
        self.run = run
        self.schema = run.schema
        self.threshold = _threshold(run)
        self.inputs = inputs
        self.path, self.why = chosen.name, chosen.why
        self._predictor = chosen.predictor
        self._calibration = run.calibration
        self._calibrated = calibrated(run.calibration)
        self._ids = {str(self.schema[key]) for key in ("id", "as_of") if self.schema.get(key) is not None}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a run directory, trusting nothing in it.

        Parameters
        ----------
        folder : ScoringPath
            May itself be a link to a run directory; nothing inside may be one.

        Raises
        ------
        RunError
            If it is incomplete or changed, holds links or types that are not trusted, needs other libraries, or does
            not reproduce its golden rows.
        """
        run = Run.open(folder)
        return cls(run, *choose(run))

    def score(self, record: object) -> Prediction:
        """Score one record.

        Parameters
        ----------
        record : dict
            A parsed JSON object with each of the inputs.

        Raises
        ------
        InvalidInput
            Naming each field that is missing, unknown or of another type.
        """
        numbers, categories, warnings = self.inputs.check(record)
        score = self._predictor.one(numbers, categories)
        probability = self._calibrated(score)
        return Prediction(probability, probability >= self.threshold, warnings, (numbers, categories))

    def score_many(self, records: Sequence[object]) -> BatchResult:
        """Score records, pausing between chunks so that other threads get their turn.

        Raises
        ------
        InvalidInput
            Naming every field of every row that is wrong; nothing is scored then.
        """
        blocks: list[Block] = []
        warnings: dict[int, tuple[str, ...]] = {}
        problems: list[InputProblem] = []
        more = False
        for start in range(0, len(records), CHUNK):
            try:
                block, odd = self.inputs.block(records[start : start + CHUNK], start)
            except InvalidInput as error:
                problems += error.problems
                more = error.more
            else:
                blocks.append(block)
                warnings |= odd
            if more or len(problems) > LISTED:
                break
            _let_others_run()
        if problems:
            raise InvalidInput(problems, more=more)
        return self._answers(blocks, warnings)

    def score_table(self, table: pa.Table) -> BatchResult:
        """Score a table; as `score_many`, but the columns of id and as-of may come too.

        Raises
        ------
        InvalidInput
            Naming every column and cell that is wrong.
        """
        check_columns(table, self.inputs, self._ids)
        blocks: list[Block] = []
        warnings: dict[int, tuple[str, ...]] = {}
        problems: list[InputProblem] = []
        chunk = _at_once(TABLE_CHUNK)
        for start in range(0, table.num_rows, chunk):
            block, wrong = block_of(table.slice(start, chunk), self.inputs, start)
            blocks.append(block)
            problems += wrong
            if len(problems) > LISTED:
                break
            if not problems:
                warnings |= self.inputs.warnings(block, start)
            _let_others_run()
        if problems:
            raise InvalidInput(problems)
        return self._answers(blocks, warnings)

    def reasons(self, values: tuple[Numbers, Categories], top: int = 5) -> Reasons:
        """Return what moved a record's probability; may run in another thread than `score`.

        Parameters
        ----------
        values : tuple
            Of `Prediction`, or `BatchResult.values` of a row.
        top : int
            How many fields to name.
        """
        explained = self._predictor.explain(*values)
        score = float(self._predictor.many(Block.of([values]))[0])
        return reasons_of(explained, score, self.inputs.fields, values, self._calibration, top)

    def _answers(self, blocks: list[Block], warnings: dict[int, tuple[str, ...]]) -> BatchResult:
        block = self.inputs.joined(blocks)
        scores = np.empty(len(block))
        chunk = _at_once(PREDICTED)
        for start in range(0, len(block), chunk):
            scores[start : start + chunk] = self._predictor.many(block.part(start, chunk))
            _let_others_run()
        probabilities = self._calibration.apply(scores)
        return BatchResult(probabilities, probabilities >= self.threshold, warnings, block)


def _at_once(rows: int) -> int:
    """Return how many rows are worked on between two pauses."""
    return rows if threading.active_count() > 1 else ALONE * rows


def _let_others_run() -> None:
    if threading.active_count() > 1:
        time.sleep(PAUSE)


def _threshold(run: Run) -> float:
    try:
        return float(run.threshold["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"threshold.json of {run.path} gives no threshold ({error!r}): train again.") from error
