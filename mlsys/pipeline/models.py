"""Estimators that no library has: the baseline that does not learn, and a vote that is easy to override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from mlsys.errors import FitError
from mlsys.pipeline.traits import Traits


class ActivityRanking(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Rank by one column and learn nothing but the level: odds rise with the column, and a mean row has the prior.

    Parameters
    ----------
    feature : str
        The column; larger is likelier, and a missing value counts as 0. It reads the panel's columns, so no encoder
        stands before it.

    Examples
    --------
    >>> rows, labels = pd.DataFrame({"users_max_28d": [0.0, 2.0, 4.0, 2.0]}), np.array([0, 0, 1, 0], dtype=np.int8)
    >>> ActivityRanking().fit(rows, labels).predict_proba(rows)[:, 1].round(2)
    array([0.14, 0.25, 0.33, 0.25])
    """

    mlsys_traits = Traits(takes_missing=True, needs_scaling=False, reads_panel=True, column="feature")

    def __init__(self, feature: str = "users_max_28d") -> None:
        self.feature = feature

    def fit(self, X: pd.DataFrame, y: NDArray[np.int8]) -> Self:
        """Learn the prevalence and the column's mean and lowest value.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        y : ndarray of int8, shape (n_rows,)
        """
        self.classes_ = np.array([0, 1])
        self.prior_ = float(np.mean(y))
        values = np.nan_to_num(X[self.feature].to_numpy(dtype=np.float64))
        self.lowest_ = min(float(values.min()), 0.0)
        self.mean_ = float(values.mean()) - self.lowest_
        return self

    def predict_proba(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return probabilities.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, 2)
        """
        values = np.maximum(np.nan_to_num(X[self.feature].to_numpy(dtype=np.float64)) - self.lowest_, 0.0)
        odds = self.prior_ / (1.0 - self.prior_) * (1.0 + (values - self.mean_) / (2.0 * (self.mean_ or 1.0)))
        positive = odds / (1.0 + odds)
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: pd.DataFrame) -> NDArray[np.int64]:
        """Return 1 where the probability is at least one half.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        """
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)


def vote(members: Mapping[str, Any], weights: Sequence[float] | None = None) -> Any:  # noqa: ANN401
    """Return scikit-learn's VotingClassifier over named members, by mean probability.

    :func:`mlsys.pipeline.fitting.fit` gives each member the encoding that suits it.

    Parameters
    ----------
    members : mapping of str to estimator or None
        A mapping, so that one member's parameter can be overridden by name; a member that is None is left out.
    weights : sequence of float, optional
        One per member that is not left out, in their order.

    Raises
    ------
    FitError
        Without members, or with another number of weights.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> vote({"weak": LogisticRegression(C=0.01), "strong": None}).estimators
    [('weak', LogisticRegression(C=0.01))]
    """
    from sklearn.ensemble import VotingClassifier

    present = [(name, member) for name, member in members.items() if member is not None]
    if not present or (weights is not None and len(weights) != len(present)):
        raise FitError(
            f"model.weights holds {'no' if weights is None else len(weights)} weights and model.members "
            f"{len(present)} members that are not null: give at least one member, and one weight for each or "
            "weights: null."
        )
    return VotingClassifier(present, voting="soft", weights=list(weights) if weights is not None else None)
