"""Which columns a fitted pipeline relies on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from mlsys.pipeline.encoders import outputs_of
from mlsys.pipeline.needs import library, members_of

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
    weights = _shares(pipeline[-1]) if len(pipeline) > 1 else None
    if weights is None:
        values = _by_shuffling(pipeline, inputs, np.random.default_rng(seed))
    else:
        totals = dict.fromkeys(inputs.columns, 0.0)
        for output, weight in zip(outputs_of(pipeline[0]), weights, strict=True):
            totals[output.source] += float(weight)  # levels, and the flag that a number was missing
        values = np.array(list(totals.values()))
    frame = pd.DataFrame({"feature": list(inputs.columns), "importance": _normal(values)})
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _shares(estimator: Any) -> NDArray[np.float64] | None:  # noqa: ANN401 - any scikit-learn estimator
    """Return each encoded column's share; None where the estimator, or a member of a vote, cannot tell."""
    shares = [_own_weights(member) for member in members_of(estimator)]
    known = [_normal(share) for share in shares if share is not None]
    if len(known) < len(shares):
        return None
    return np.asarray(np.average(known, axis=0, weights=estimator.weights if len(known) > 1 else None))


def _own_weights(estimator: Any) -> NDArray[np.float64] | None:  # noqa: ANN401
    if hasattr(estimator, "coef_"):
        return np.abs(np.asarray(estimator.coef_, dtype=np.float64)).ravel()
    match library(estimator):
        case "xgboost":
            gains = estimator.get_booster().get_score(importance_type="total_gain")
            return np.array([gains.get(f"f{column}", 0.0) for column in range(estimator.n_features_in_)])
        case "lightgbm":
            return np.asarray(estimator.booster_.feature_importance("gain"), dtype=np.float64)
    weights = getattr(estimator, "feature_importances_", None)
    return None if weights is None else np.asarray(weights, dtype=np.float64)


def _by_shuffling(pipeline: Pipeline, inputs: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.float64]:
    rows = inputs.iloc[rng.permutation(len(inputs))[:SAMPLE]]
    order = rng.permutation(len(rows))
    scores = pipeline.predict_proba(rows)[:, 1]
    moved = []
    for name in rows.columns:
        shuffled = rows.assign(**{name: rows[name].to_numpy()[order]})
        moved.append(float(np.abs(pipeline.predict_proba(shuffled)[:, 1] - scores).mean()))
    return np.array(moved)


def _normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    return values / total if total > 0 else np.zeros(len(values))
