"""Feature importances of a fitted pipeline."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from mlsys.pipeline.composites import composite_of
from mlsys.pipeline.encoders import outputs_of
from mlsys.pipeline.traits import check_importances, traits_of

MAX_ROWS = 2_000


def importances(pipeline: Pipeline, inputs: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return the relative importance of each panel column.

    For boosted trees and forests it is the total gain of all splits, for linear models the absolute coefficients of
    standardised columns, for a vote or a stack the weighted mean over its members, and for any other model the mean
    absolute change of the score when the column is shuffled.

    Parameters
    ----------
    pipeline : sklearn Pipeline
        Fitted pipeline.
    inputs : DataFrame of shape (n_rows, n_features)
        Panel columns. Shuffling uses a random sample of at most 2,000 rows.
    seed : int
        Seed of the sample and the shuffle.

    Returns
    -------
    DataFrame
        Columns ``feature`` and ``importance``, in descending order; the sum is 1 (or 0 if the model uses no column).
    """
    frame = pd.DataFrame({"feature": list(inputs.columns), "importance": _importances(pipeline, inputs, seed)})
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _importances(
    pipeline: Pipeline, inputs: pd.DataFrame, seed: int, around: Pipeline | None = None
) -> NDArray[np.float64]:
    """Return the relative importance of each column, in column order.

    ``around`` is the pipeline that adds columns for this one; those are left out.
    """
    estimator = pipeline[-1]
    if (composite := composite_of(estimator)) is not None:
        parts = composite.fitted_members()
        members = [_importances(part.pipeline, inputs, seed, None if part.takes_panel else pipeline) for part in parts]
        return _normalised(np.array([part.weight for part in parts]) @ np.array(members))
    weights = traits_of(estimator).importances(estimator)
    if weights is None:
        return _normalised(_permutation_importances(around or pipeline, inputs, np.random.default_rng(seed)))
    outputs = outputs_of(pipeline[0])
    check_importances(estimator, weights, len(outputs))
    totals = dict.fromkeys(inputs.columns, 0.0)
    for output, weight in zip(outputs, weights, strict=True):
        if output.source in totals:
            totals[output.source] += float(weight)  # sums over levels and missing-value indicators
    return _normalised(np.array(list(totals.values())))


def _permutation_importances(pipeline: Pipeline, inputs: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.float64]:
    rows = inputs.iloc[rng.permutation(len(inputs))[:MAX_ROWS]]
    order = rng.permutation(len(rows))
    changes = []
    with threadpool_limits(1):  # for small batches, starting threads costs more than it saves
        scores = pipeline.predict_proba(rows)[:, 1]
        for name in rows.columns:
            shuffled = rows.assign(**{name: rows[name].to_numpy()[order]})
            changes.append(float(np.abs(pipeline.predict_proba(shuffled)[:, 1] - scores).mean()))
    return np.array(changes)


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    return values / total if total > 0 else np.zeros(len(values))
