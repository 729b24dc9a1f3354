"""Golden rows: whoever loads a model must reproduce, bit for bit, what training computed with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs.calibration import Calibration
from mlsys.runs.model_io import Classifier
from mlsys.runs.reader import Run

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def predict(model: Classifier, calibration: Calibration, inputs: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return the score and the probability of each row.

    Parameters
    ----------
    model : Classifier
        A fitted pipeline of two classes, the positive one last.
    calibration : Calibration
        From scores to probabilities.
    inputs : DataFrame of shape (n, k)
        As `to_inputs` returns them.

    Returns
    -------
    score, probability : ndarray of float64, shape (n,)
        The raw ``predict_proba`` of the positive class, and the same calibrated.

    Raises
    ------
    RunError
        If the model does not answer with two classes.
    """
    answer = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    if answer.ndim != 2 or answer.shape[1] != 2:
        raise RunError(
            f"The model answers with the shape {answer.shape}; two classes need (n, 2). Train on both classes."
        )
    score = np.ascontiguousarray(answer[:, 1])
    return score, calibration.apply(score)


def golden_frame(model: Classifier, calibration: Calibration, inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the content of golden.parquet: input rows with the score and probability that the model gives them.

    Parameters
    ----------
    model, calibration, inputs
        As for `predict`. The rows are scored as one batch, as `check_golden` does: libraries of linear algebra may
        round differently for another number of rows.

    Returns
    -------
    DataFrame
        The inputs, then ``score`` and ``probability`` (with an underscore added where an input has that name).
    """
    names = output_names(inputs.columns)
    return inputs.reset_index(drop=True).assign(**dict(zip(names, predict(model, calibration, inputs), strict=True)))


def output_names(inputs: Iterable[str]) -> tuple[str, str]:
    """Return what golden.parquet calls the score and the probability: their own names, unless an input has them.

    Examples
    --------
    >>> output_names(["users", "score"])
    ('score_', 'probability')
    """
    taken = set(inputs)
    score, probability = "score", "probability"
    while score in taken:
        score += "_"
    while probability in taken:
        probability += "_"
    return score, probability


def golden_inputs(run: Run) -> pd.DataFrame:
    """Return the golden rows' inputs, ready for the pipeline."""
    from mlsys.runs.inputs import to_inputs  # it needs pandas, which serving does not

    golden = run.golden
    outputs = output_names(column["name"] for column in run.schema["inputs"])
    return to_inputs(golden.drop(columns=list(outputs)), run.schema)


def check_golden(run: Run, *, tolerance: float = 0.0) -> None:
    """Let the run's model score its golden rows and compare.

    Parameters
    ----------
    run : Run
        The run, whose model is loaded if it is not yet.
    tolerance : float
        The largest absolute difference to accept. 0, the default, asks for equal bits: what the same versions give on
        the same kind of processor.

    Raises
    ------
    RunError
        If a score or probability differs by more; says how many rows and by how much at most.
    """
    inputs = golden_inputs(run)
    expected = [run.golden[name].to_numpy() for name in output_names(inputs.columns)]
    for name, got, want in zip(
        ("score", "probability"), predict(run.model, run.calibration, inputs), expected, strict=True
    ):
        off = ~(np.abs(got - want) <= tolerance)
        if off.any():
            raise RunError(
                f"The model of {run.path} does not reproduce its golden rows: {int(off.sum())} of {len(off)} differ in "
                f"{name}, by up to {np.nan_to_num(np.abs(got - want), nan=np.inf).max():.3g} (allowed: {tolerance:g}). "
                "Do not serve it. Install the versions that its manifest.json names, or train again."
            )
