"""The scores of a fitted pipeline, checked to be probabilities."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from mlsys.data.disk_frame import batches_of
from mlsys.errors import EstimatorError
from mlsys.text import counted


def scores_of(pipeline: Pipeline, inputs: pd.DataFrame) -> NDArray[np.float64]:
    """Return the raw scores of rows, shape (n_rows,).

    Parameters
    ----------
    pipeline : sklearn Pipeline
        Fitted encoder and estimator.
    inputs : DataFrame of shape (n_rows, n_features)
        Panel columns; those on disk are scored in batches.

    Raises
    ------
    EstimatorError
        If they are no probabilities, as those of a model with an infinite learning rate.
    """
    parts = [pipeline.predict_proba(batch)[:, 1] for batch in batches_of(inputs)]
    scores = np.asarray(np.concatenate(parts), dtype=np.float64)
    wrong = scores[~((scores >= 0) & (scores <= 1))]
    if len(wrong):
        raise EstimatorError(
            f"{type(pipeline[-1]).__name__} gives {len(wrong):,} of {counted(len(scores), 'row')} a score that is no "
            f"probability from 0 to 1, such as {wrong[0]:g}."
        )
    return scores
