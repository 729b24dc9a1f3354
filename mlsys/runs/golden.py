"""Golden rows: a loaded model must reproduce, bit for bit, the predictions computed in training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs.calibration import Calibration
from mlsys.runs.model_io import Classifier
from mlsys.runs.model_outputs import free_names, more_names, more_outputs
from mlsys.runs.reader import Run

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def predict(model: Classifier, calibration: Calibration, inputs: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return the score and the probability of each row.

    Parameters
    ----------
    model : Classifier
        Fitted binary classifier, the positive class last.
    calibration : Calibration
    inputs : DataFrame of shape (n, k)
        Result of `to_inputs`.

    Returns
    -------
    score, probability : ndarray of float64, shape (n,)
        ``predict_proba`` of the positive class, before and after calibration.

    Raises
    ------
    RunError
        If ``predict_proba`` does not return two columns.
    """
    probabilities = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] != 2:
        raise RunError(
            f"predict_proba returned the shape {probabilities.shape}; expected (n, 2). Train on both classes."
        )
    score = np.ascontiguousarray(probabilities[:, 1])
    return score, calibration.apply(score)


def golden_frame(model: Classifier, calibration: Calibration, inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the content of golden.parquet: input rows with the model's score, probability and other outputs.

    Parameters
    ----------
    model, calibration, inputs
        See `predict`. All rows are scored in one batch, as in `check_golden`, because linear algebra libraries may
        round differently for other batch sizes.

    Returns
    -------
    DataFrame
        The inputs, then ``score``, ``probability`` and what else the model gives (see `mlsys.runs.model_outputs`), with
        an underscore appended if an input has that name.
    """
    return inputs.reset_index(drop=True).join(all_outputs(model, calibration, inputs))


def all_outputs(model: Classifier, calibration: Calibration, inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the score, the probability and the other outputs of each row, with the names of golden.parquet.

    Parameters
    ----------
    model, calibration, inputs
        See `predict`.
    """
    import pandas as pd

    more = more_outputs(model, calibration, inputs)
    columns = [*predict(model, calibration, inputs), *more.values()]
    return pd.DataFrame(dict(zip(output_names(inputs.columns, more), columns, strict=True)))


def output_names(inputs: Iterable[str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the column names of score, probability and further outputs in golden.parquet.

    They differ from the names of the inputs.

    Examples
    --------
    >>> output_names(["users", "score"], ["uplift"])
    ('score_', 'probability', 'uplift')
    """
    return free_names(["score", "probability", *more], inputs)


def golden_inputs(run: Run) -> pd.DataFrame:
    """Return the inputs of the golden rows, ready for the pipeline."""
    from mlsys.runs.inputs import to_inputs  # it needs pandas, which serving does not

    golden = run.golden
    outputs = output_names([column["name"] for column in run.schema["inputs"]], more_names(run.schema))
    return to_inputs(golden.drop(columns=list(outputs)), run.schema)


def check_golden(run: Run, *, tolerance: float = 0.0) -> None:
    """Score a run's golden rows with its model and compare the results.

    Parameters
    ----------
    run : Run
        Run whose model is checked; loads the model if necessary.
    tolerance : float
        Largest absolute difference allowed. The default of 0 requires equal bits, which the same library versions give
        on the same kind of processor.

    Raises
    ------
    RunError
        If scores, probabilities or other outputs differ by more; gives the number of rows and the largest difference.
    """
    inputs = golden_inputs(run)
    for name, column in all_outputs(run.model, run.calibration, inputs).items():
        actual, golden = column.to_numpy(), run.golden[name].to_numpy()
        differs = ~(np.abs(actual - golden) <= tolerance)
        if differs.any():
            largest = np.nan_to_num(np.abs(actual - golden), nan=np.inf).max()
            number = int(differs.sum())
            raise RunError(
                f"The model of {run.path} does not reproduce its golden rows: {number} of {len(differs)} "
                f"{'differs' if number == 1 else 'differ'} in {name}, by up to {largest:.3g} (allowed: {tolerance:g}). "
                "Do not serve it. Install the package versions listed in its manifest.json, or train again."
            )
