"""Which columns a fitted pipeline relies on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from mlsys.pipeline.encoders import outputs_of
from mlsys.pipeline.traits import traits_of

SAMPLE = 2_000


def importances(pipeline: Pipeline, inputs: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return each panel column's share of what the model relies on.

    Boosted trees and forests by what all their splits gain, linear models by the size of coefficients of standardised
    columns, a vote by the mean of its members' shares; any other model by how much scores move when a column is
    shuffled.

    Parameters
    ----------
    pipeline : sklearn Pipeline
        Fitted.
    inputs : DataFrame of shape (n_rows, n_features)
        Panel columns, for models that must be asked by shuffling; at most 2,000 rows, drawn at random, are used.
    seed : int
        Of the draw and the shuffle.

    Returns
    -------
    DataFrame
        Columns ``feature`` and ``importance``, largest first, adding up to 1 (all 0 for a model that uses nothing).
    """
    frame = pd.DataFrame({"feature": list(inputs.columns), "importance": _shares(pipeline, inputs, seed)})
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _shares(pipeline: Pipeline, inputs: pd.DataFrame, seed: int) -> NDArray[np.float64]:
    """Return each column's share, in the columns' order."""
    estimator = pipeline[-1]
    if isinstance(estimator, VotingClassifier):
        members = [_shares(member.estimator, inputs, seed) for member in estimator.estimators_]
        return np.asarray(np.average(members, axis=0, weights=estimator.weights))
    weights = traits_of(estimator).importances(estimator)
    if weights is None:
        return _normal(_by_shuffling(pipeline, inputs, np.random.default_rng(seed)))
    totals = dict.fromkeys(inputs.columns, 0.0)
    for output, weight in zip(outputs_of(pipeline[0]), weights, strict=True):
        totals[output.source] += float(weight)  # levels, and the flag that a number was missing
    return _normal(np.array(list(totals.values())))


def _by_shuffling(pipeline: Pipeline, inputs: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.float64]:
    rows = inputs.iloc[rng.permutation(len(inputs))[:SAMPLE]]
    order = rng.permutation(len(rows))
    moved = []
    with threadpool_limits(1):  # small batches are over before threads have met
        scores = pipeline.predict_proba(rows)[:, 1]
        for name in rows.columns:
            shuffled = rows.assign(**{name: rows[name].to_numpy()[order]})
            moved.append(float(np.abs(pipeline.predict_proba(shuffled)[:, 1] - scores).mean()))
    return np.array(moved)


def _normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    return values / total if total > 0 else np.zeros(len(values))
