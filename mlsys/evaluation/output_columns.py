"""Columns of out-of-fold rows for what a model gives beside its probability, and for what happened instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.compact import columns_of
from mlsys.data.panel import Panel
from mlsys.evaluation.timing import DAYS_TO_OUTCOME
from mlsys.pipeline.fitting import Fitted
from mlsys.runs.hazards import days_of
from mlsys.runs.model_outputs import more_outputs


def output_columns(fitted: Fitted, panel: Panel, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Return the further outputs of a model, and the columns that they are compared with; mostly nothing.

    Parameters
    ----------
    fitted : Fitted
    panel : Panel
    rows : DataFrame
        Rows of the panel that the model was not fitted on.

    Returns
    -------
    dict
        The outputs by name; with an uplift also ``treated`` (0 or 1), with probabilities by day also
        ``days_to_outcome``.
    """
    inputs = columns_of(rows, panel.names)
    columns: dict[str, NDArray[Any]] = {**more_outputs(fitted.pipeline, fitted.calibration, inputs)}
    if "uplift" in columns and panel.treatment is not None:
        columns["treated"] = panel.treatment.arms(inputs).to_numpy(dtype=np.int8)
    if days_of(columns):
        columns[DAYS_TO_OUTCOME] = rows[DAYS_TO_OUTCOME].to_numpy(dtype=np.float64)
    return columns
