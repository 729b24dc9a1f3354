"""Estimators of our own: the activity baseline, and a voting classifier whose members can be overridden by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_X_y

from mlsys.pipeline.frames import check_columns, frame_of
from mlsys.pipeline.traits import Traits
from mlsys.pipeline.weights import mean


class ActivityRanking(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Rank rows by one column; only the base rate is learned.

    The odds grow linearly with the column, and a row with the column's mean gets the prior.

    Parameters
    ----------
    feature : str or int
        Name of the column to rank by, or its position if X is an array. Larger values rank higher; a missing value
        counts as 0. The column is read from the panel, without an encoder.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Class labels, the positive one last.
    prior_ : float
        Fraction of positive rows.
    lowest_, mean_ : float
        The column's minimum (0 if that is positive), and its mean minus that minimum.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen in ``fit``, if they have names.

    Examples
    --------
    >>> rows, labels = pd.DataFrame({"users_max_28d": [0.0, 2.0, 4.0, 2.0]}), np.array([0, 0, 1, 0], dtype=np.int8)
    >>> ActivityRanking().fit(rows, labels).predict_proba(rows)[:, 1].round(2)
    array([0.14, 0.25, 0.33, 0.25])
    """

    mlsys_traits = Traits(
        bytes_per_value=2, takes_missing=True, needs_scaling=False, reads_panel=True, column="feature"
    )

    def __init__(self, feature: str | int = "users_max_28d") -> None:
        self.feature = feature

    def fit(self, X: pd.DataFrame | ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the prior and the column's mean and minimum.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Binary labels.
        sample_weight : array-like of shape (n_rows,), optional
            Rows that each row stands for.

        Raises
        ------
        ValueError
            If X lacks the column, or y does not contain exactly two classes.
        """
        column = self._column(X, reset=True)
        _, labels = check_X_y(column.reshape(-1, 1), y, estimator=self, ensure_all_finite=False)
        kind = type_of_target(labels, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        self.classes_ = np.unique(labels)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, column, dtype=np.float64)
        weighed = labels if weights is None else labels[weights > 0]
        if len(np.unique(weighed)) < 2:
            raise ValueError("ActivityRanking needs two classes, but y contains only one class.")
        self.prior_ = mean(labels == self.classes_[1], weights)
        values = np.nan_to_num(column)
        self.lowest_ = min(float(values.min()), 0.0)
        self.mean_ = mean(values, weights) - self.lowest_
        return self

    def predict_proba(self, X: pd.DataFrame | ArrayLike) -> NDArray[np.float64]:
        """Return class probabilities.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            A DataFrame may have its columns in any order.

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
        """Return the positive label if its probability is at least 0.5, else the negative label.

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
    """Return scikit-learn's VotingClassifier with soft voting over named members.

    :func:`mlsys.pipeline.fitting.fit` encodes the columns separately for each member.

    Parameters
    ----------
    members : mapping of str to estimator or None
        Estimators by name, so that a config can override a parameter of one member; members that are None are skipped.
    weights : sequence of float, optional
        One weight for each member that is not None, in order.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> vote({"weak": LogisticRegression(C=0.01), "strong": None}).estimators
    [('weak', LogisticRegression(C=0.01))]
    """
    from sklearn.ensemble import VotingClassifier

    present = [(name, member) for name, member in members.items() if member is not None]
    return VotingClassifier(present, voting="soft", weights=weights)
