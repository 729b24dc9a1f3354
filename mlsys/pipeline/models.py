"""Estimators that no library has: the baseline that does not learn, and a vote that is easy to override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin


class ActivityRanking(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Rank by one column and learn nothing but the level: probabilities are proportional to the column and average to the prior.

    Parameters
    ----------
    feature : str
        The column; larger is likelier. It reads the panel's columns, so no encoder stands before it.
    """

    reads_panel = True

    def __init__(self, feature: str = "users_max_28d") -> None:
        self.feature = feature

    def fit(self, X: pd.DataFrame, y: NDArray[np.int8]) -> Self:
        """Learn the prevalence and the column's mean.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        y : ndarray of int8, shape (n_rows,)
        """
        self.classes_ = np.array([0, 1])
        self.prior_ = float(np.mean(y))
        self.mean_ = float(np.nan_to_num(X[self.feature].to_numpy(dtype=np.float64)).mean())
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
        values = np.nan_to_num(X[self.feature].to_numpy(dtype=np.float64))
        odds = self.prior_ * (values + self.mean_) / max(2 * self.mean_, np.finfo(float).tiny)
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

    Parameters
    ----------
    members : mapping of str to estimator
        A mapping, so that one member's parameter can be overridden by name.
    weights : sequence of float, optional
        One per member, in their order.
    """
    from sklearn.ensemble import VotingClassifier

    return VotingClassifier(list(members.items()), voting="soft", weights=list(weights) if weights else None)
