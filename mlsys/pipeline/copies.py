"""Unfitted copies of estimators: scikit-learn's ``clone``, also for CatBoost, and with other parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sklearn.base import clone


def unfitted(estimator: Any, *, without: Collection[str] = (), **changes: Any) -> Any:  # noqa: ANN401
    """Return an unfitted copy of an estimator.

    Unlike scikit-learn's ``clone``, it does not require that ``get_params`` returns the very objects that the
    constructor got: CatBoost returns copies of its lists and maps.

    Parameters
    ----------
    estimator : scikit-learn estimator
    without : collection of str, optional
        Parameters to set back to their defaults.
    **changes
        Parameters to change.

    Examples
    --------
    >>> from catboost import CatBoostClassifier
    >>> unfitted(CatBoostClassifier(ignored_features=[0], depth=4), depth=2).get_params()
    {'depth': 2, 'ignored_features': [0]}
    """
    parameters = estimator.get_params(deep=False)
    kept = [name for name in parameters if name not in without and name not in changes]
    return type(estimator)(**{name: _copied(parameters[name]) for name in kept}, **changes)


def _copied(value: Any) -> Any:  # noqa: ANN401
    """Return a copy of a parameter, with unfitted copies of the estimators in it."""
    if isinstance(value, list | tuple):
        return type(value)(_copied(each) for each in value)
    if is_estimator(value):
        return unfitted(value)
    return clone(value, safe=False)


def is_estimator(value: object) -> bool:
    """Return whether a parameter is an estimator; CatBoost's have no base class of scikit-learn."""
    return hasattr(value, "get_params") and not isinstance(value, type)
