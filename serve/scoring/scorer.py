"""Scores records and tables with the model of a run directory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs import Run
from mlsys.runs.model_outputs import more_names
from serve.scoring.calibrate import probability_function
from serve.scoring.fields import Categories, Inputs, Numbers, RecordBlock, with_notes
from serve.scoring.predictor import OutputsPredictor, ScoringPath
from serve.scoring.problems import MAX_LISTED, InputProblem, InvalidInput
from serve.scoring.raw_columns import TrainingTable
from serve.scoring.raw_tables import check_raw_columns, raw_block_of
from serve.scoring.reasons import Reasons, reasons_of
from serve.scoring.select_path import select_path
from serve.scoring.tables import block_of, check_columns

if TYPE_CHECKING:
    import pyarrow as pa

CHECK_CHUNK = 128  # records checked between two pauses of a batch: about half a millisecond
TABLE_CHUNK = 2_048  # rows of a table checked between two pauses; they are checked by column
SCORE_CHUNK = 1_024  # rows scored between two pauses; the libraries' own calls let other threads run
ALONE_FACTOR = 4  # chunks are this many times larger while no other thread is running
PAUSE = 20e-6  # seconds; a thread that only yields takes the interpreter lock back before another one wakes up


@dataclass(frozen=True)
class Prediction:
    """The result for one record.

    Attributes
    ----------
    probability : float
    decision : bool
        Whether the probability reaches the run's threshold.
    warnings : tuple of str
        Values outside the range or the categories seen in training.
    values : tuple
        The checked numbers and categories, for `Scorer.reasons`.
    outputs : tuple of float
        The numbers of `Scorer.outputs`.
    """

    probability: float
    decision: bool
    warnings: tuple[str, ...]
    values: tuple[Numbers, Categories]
    outputs: tuple[float, ...] = ()


@dataclass(frozen=True)
class BatchResult:
    """The results for a batch.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (n_rows,)
    decisions : ndarray of bool, shape (n_rows,)
    warnings : dict of int to tuple of str
        The warnings of each row that has any, by row number from 0.
    block : RecordBlock
        The checked values.
    outputs : dict of str to ndarray of float64, shape (n_rows,)
        The numbers of `Scorer.outputs`, by name.
    """

    probabilities: NDArray[np.float64]
    decisions: NDArray[np.bool_]
    warnings: dict[int, tuple[str, ...]]
    block: RecordBlock
    outputs: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def values(self, row: int) -> tuple[Numbers, Categories]:
        """Return one row's values, for `Scorer.reasons`."""
        return self.block.values(row)


class Scorer:
    """A loaded model that has reproduced its golden rows.

    Create it with `Scorer.load`. Only one thread may call `score`; meanwhile `score_many` and `score_table` may run in
    others.

    Attributes
    ----------
    run : Run
    schema : dict
        Content of schema.json.
    threshold : float
        Lowest probability for which the decision is yes.
    inputs : Inputs
        The model's input fields.
    path, reason : str
        Name of the selected scoring path, and why it was selected.
    outputs : tuple of str
        Names of what the model gives beside the probability; mostly none.
    """

    def __init__(self, run: Run, inputs: Inputs, selected: ScoringPath) -> None:
        self.run = run
        self.schema = run.schema
        self.threshold = _threshold(run)
        self.inputs = inputs
        self.path, self.reason = selected.name, selected.reason
        self.outputs = tuple(more_names(self.schema))
        self._predictor = selected.predictor
        self._with_outputs = (
            selected.predictor if self.outputs and isinstance(selected.predictor, OutputsPredictor) else None
        )
        self._calibration = run.calibration
        self._to_probability = probability_function(run.calibration)
        self._ids = {str(self.schema[key]) for key in ("id", "as_of") if self.schema.get(key) is not None}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a run directory without trusting its content.

        Parameters
        ----------
        folder : Path
            A run directory, or a symbolic link to one; it may not contain symbolic links.

        Raises
        ------
        RunError
            If it is incomplete or changed, contains symbolic links or untrusted types, needs other libraries, or does
            not reproduce its golden rows.
        """
        run = Run.open(folder)
        inputs, selected = select_path(run)
        return cls(run, Inputs(inputs.fields, TrainingTable.of(run, inputs.fields)), selected)

    def score(self, record: object, *, may_load: bool = True) -> Prediction:
        """Score one record.

        Parameters
        ----------
        record : dict
            A parsed JSON object with all inputs, or the columns of the training table that they are made from.
        may_load : bool
            Whether to call `load_conversion` if necessary.

        Raises
        ------
        InvalidInput
            If fields are missing, unknown or of the wrong type; lists all of them.
        NotLoadedError
            If `load_conversion` has to be called first.
        """
        numbers, categories, warnings = self.inputs.check(record, may_load=may_load)
        outputs: tuple[float, ...] = ()
        if self._with_outputs is None:
            score = self._predictor.one(numbers, categories)
        else:
            score, outputs = self._with_outputs.one_with_outputs(numbers, categories, self._to_probability)
        probability = self._to_probability(score)
        return Prediction(probability, probability >= self.threshold, warnings, (numbers, categories), outputs)

    def load_conversion(self) -> None:
        """Import what converts the columns of the training table; takes half a second, in any thread."""
        if self.inputs.raw is not None:
            self.inputs.raw.load()

    def score_many(self, records: Sequence[object]) -> BatchResult:
        """Score records, pausing between chunks so that other threads can run.

        Raises
        ------
        InvalidInput
            If any field of any row is wrong; lists all of them, and nothing is scored.
        """
        blocks: list[RecordBlock] = []
        warnings: dict[int, tuple[str, ...]] = {}
        problems: list[InputProblem] = []
        more = False
        start = size = 0
        while (start := start + size) < len(records):
            size = self._check_chunk
            try:
                block, chunk_warnings = self.inputs.block(records[start : start + size], start)
            except InvalidInput as error:
                problems += error.problems
                more = error.more
            else:
                blocks.append(block)
                warnings |= chunk_warnings
            if more or len(problems) > MAX_LISTED:
                break
            _let_others_run()
        if problems:
            raise InvalidInput(problems, more=more)
        return self._result(blocks, warnings)

    @property
    def _check_chunk(self) -> int:
        """Number of records to check at once; more where they have to be converted, which is done by column."""
        raw = self.inputs.raw
        return TABLE_CHUNK if raw is not None and raw.loaded else CHECK_CHUNK

    def score_table(self, table: pa.Table) -> BatchResult:
        """Score a table like `score_many`; it may also have the id and as-of columns, and any of the training table.

        Raises
        ------
        InvalidInput
            If any column or cell is wrong; lists all of them.
        """
        raw = self.inputs.raw
        if raw is None:
            check_columns(table, self.inputs, self._ids)
        else:
            check_raw_columns(table, self.inputs, raw, self._ids)
        blocks: list[RecordBlock] = []
        warnings: dict[int, tuple[str, ...]] = {}
        problems: list[InputProblem] = []
        chunk = _chunk_size(TABLE_CHUNK)
        for start in range(0, table.num_rows, chunk):
            part, notes = table.slice(start, chunk), dict[int, tuple[str, ...]]()
            if raw is None:
                block, chunk_problems = block_of(part, self.inputs, start)
            else:
                block, chunk_problems, notes = raw_block_of(part, self.inputs, raw, start)
            blocks.append(block)
            chunk_problems += self.inputs.allowed.problems(block.numbers, block.categories, start)
            problems += sorted(chunk_problems, key=lambda each: each["row"] or 0)
            if len(problems) > MAX_LISTED:
                break
            if not problems:
                warnings |= with_notes(notes, self.inputs.warnings(block, start))
            _let_others_run()
        if problems:
            raise InvalidInput(problems)
        return self._result(blocks, warnings)

    def reasons(self, values: tuple[Numbers, Categories], top: int | None = 5) -> Reasons:
        """Return the fields that moved a record's probability most; may run in another thread than `score`.

        Parameters
        ----------
        values : tuple
            ``values`` of a `Prediction`, or `BatchResult.values` of a row.
        top : int or None
            Number of fields to list; None for all.
        """
        explained = self._predictor.explain(*values)
        score = float(self._predictor.many(RecordBlock.of([values]))[0])
        return reasons_of(explained, score, self.inputs.fields, values, self._calibration, top)

    def _result(self, blocks: list[RecordBlock], warnings: dict[int, tuple[str, ...]]) -> BatchResult:
        block = self.inputs.joined(blocks)
        scores, outputs = np.empty(len(block)), np.empty((len(block), len(self.outputs)))
        chunk = _chunk_size(SCORE_CHUNK)
        for start in range(0, len(block), chunk):
            part, rows = block.part(start, chunk), slice(start, start + chunk)
            if self._with_outputs is None:
                scores[rows] = self._predictor.many(part)
            else:
                scores[rows], outputs[rows] = self._with_outputs.many_with_outputs(part, self._calibration)
            _let_others_run()
        probabilities = self._calibration.apply(scores)
        columns = dict(zip(self.outputs, outputs.T, strict=True))
        return BatchResult(probabilities, probabilities >= self.threshold, warnings, block, columns)


def _chunk_size(rows: int) -> int:
    """Return the number of rows to process between two pauses."""
    return rows if threading.active_count() > 1 else ALONE_FACTOR * rows


def _let_others_run() -> None:
    if threading.active_count() > 1:
        time.sleep(PAUSE)


def _threshold(run: Run) -> float:
    try:
        return float(run.threshold["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"threshold.json of {run.path} has no valid threshold ({error!r}): train again.") from error
