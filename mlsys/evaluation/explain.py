"""Which columns a fitted pipeline relies on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from mlsys.pipeline.needs import library

SAMPLE = 2_000


def importances(pipeline: Pipeline, inputs: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return each panel column's share of what the model relies on.

    Boosted trees and forests by the gain of their splits, linear models by the size of coefficients of standardised columns, any
    other model by how much scores move when a column is shuffled.

    Parameters
    ----------
    pipeline : sklearn Pipeline
        Fitted.
    inputs : DataFrame of shape (n_rows, n_features)
        Panel columns, for models that must be asked by shuffling; at most 2,000 rows are used.
    seed : int
        Of the shuffle.

    Returns
    -------
    DataFrame
        Columns ``feature`` and ``importance``, largest first, adding up to 1 (all 0 for a model that uses nothing).
    """
    estimator = pipeline[-1]
    weights = _own_weights(estimator)
    if weights is None or len(pipeline) == 1:
        values = _by_shuffling(pipeline, inputs.head(SAMPLE), seed)
    else:
        values = _by_column(pipeline[0], weights, list(inputs.columns))
    total = values.sum()
    frame = pd.DataFrame({"feature": list(inputs.columns), "importance": values / total if total > 0 else values})
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _own_weights(estimator: Any) -> NDArray[np.float64] | None:  # noqa: ANN401 - any scikit-learn estimator
    if hasattr(estimator, "coef_"):
        return np.abs(np.asarray(estimator.coef_, dtype=np.float64)).ravel()
    if (
        hasattr(estimator, "estimators_")
        and library(estimator) == "sklearn"
        and not hasattr(estimator, "feature_importances_")
    ):
        members = [_own_weights(member) for member in estimator.estimators_]
        known = [part / max(part.sum(), np.finfo(float).tiny) for part in members if part is not None]
        return np.mean(known, axis=0) if known else None
    weights = getattr(estimator, "feature_importances_", None)
    return None if weights is None else np.nan_to_num(np.asarray(weights, dtype=np.float64))


def _by_column(encoder: Any, weights: NDArray[np.float64], columns: list[str]) -> NDArray[np.float64]:  # noqa: ANN401
    """Add up what an encoder made of one column: levels, and the flag that it was missing."""
    totals = dict.fromkeys(columns, 0.0)
    for name, weight in zip(encoder.get_feature_names_out(columns), weights, strict=True):
        plain = str(name).removeprefix("missingindicator_")
        totals[plain if plain in totals else plain.split("=", 1)[0]] += float(weight)
    return np.array([totals[name] for name in columns])


def _by_shuffling(pipeline: Pipeline, inputs: pd.DataFrame, seed: int) -> NDArray[np.float64]:
    order = np.random.default_rng(seed).permutation(len(inputs))
    scores = pipeline.predict_proba(inputs)[:, 1]
    moved = []
    for name in inputs.columns:
        shuffled = inputs.assign(**{name: inputs[name].to_numpy()[order]})
        moved.append(float(np.abs(pipeline.predict_proba(shuffled)[:, 1] - scores).mean()))
    return np.array(moved)
