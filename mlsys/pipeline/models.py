"""Estimators that no library has: the baseline that does not learn, and a vote that is easy to override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, check_X_y

from mlsys.errors import FitError
from mlsys.pipeline.frames import check_columns, frame_of
from mlsys.pipeline.traits import Traits


class ActivityRanking(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Rank by one column and learn nothing but the level: odds rise with the column, and a mean row has the prior.

    Parameters
    ----------
    feature : str or int
        The column, by its position in rows that are an array; larger is likelier, and a missing value counts as 0. It
        reads the panel's columns, so no encoder stands before it.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The labels, the positive one last.
    prior_ : float
        Share of positive rows.
    lowest_, mean_ : float
        The column's lowest value, at most 0, and how far its mean is above it.
    n_features_in_ : int
        Columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if they have any.

    Examples
    --------
    >>> rows, labels = pd.DataFrame({"users_max_28d": [0.0, 2.0, 4.0, 2.0]}), np.array([0, 0, 1, 0], dtype=np.int8)
    >>> ActivityRanking().fit(rows, labels).predict_proba(rows)[:, 1].round(2)
    array([0.14, 0.25, 0.33, 0.25])
    """

    mlsys_traits = Traits(takes_missing=True, needs_scaling=False, reads_panel=True, column="feature")

    def __init__(self, feature: str | int = "users_max_28d") -> None:
        self.feature = feature

    def fit(self, X: pd.DataFrame | ArrayLike, y: ArrayLike) -> Self:
        """Learn the prevalence and the column's mean and lowest value.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Labels of two classes.

        Raises
        ------
        ValueError
            If X lacks the column, or y does not hold two classes.
        """
        column = self._column(X, reset=True)
        _, labels = check_X_y(column.reshape(-1, 1), y, estimator=self, ensure_all_finite=False)
        kind = type_of_target(labels, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise ValueError("ActivityRanking needs labels of two classes, and y holds one class.")
        self.prior_ = float(np.mean(labels == self.classes_[1]))
        values = np.nan_to_num(column)
        self.lowest_ = min(float(values.min()), 0.0)
        self.mean_ = float(values.mean()) - self.lowest_
        return self

    def predict_proba(self, X: pd.DataFrame | ArrayLike) -> NDArray[np.float64]:
        """Return probabilities.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            The columns of a DataFrame may be in any order.

        Returns
        -------
        ndarray of shape (n_rows, 2)
        """
        check_is_fitted(self)
        values = np.maximum(np.nan_to_num(self._column(X, reset=False)) - self.lowest_, 0.0)
        odds = self.prior_ / (1.0 - self.prior_) * (1.0 + (values - self.mean_) / (2.0 * (self.mean_ or 1.0)))
        positive = odds / (1.0 + odds)
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: pd.DataFrame | ArrayLike) -> NDArray[Any]:
        """Return the positive label where the probability is at least one half.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        likely = self.predict_proba(X)[:, 1] >= 0.5
        return self.classes_[likely.astype(np.intp)]

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = True
        tags.input_tags.allow_nan = True
        return tags

    def _column(self, X: pd.DataFrame | ArrayLike, *, reset: bool) -> NDArray[np.float64]:
        frame = frame_of(self, X, reset=reset)
        check_columns(self, frame, [self.feature])
        return frame[self.feature].to_numpy(dtype=np.float64)


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
