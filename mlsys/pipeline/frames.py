"""Rows as a DataFrame, for estimators that read columns by name."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

import pandas as pd
from sklearn.utils.validation import validate_data


def frame_of(estimator: Any, X: Any, *, reset: bool) -> pd.DataFrame:  # noqa: ANN401 - an estimator, an array-like
    """Validate rows and return them as a DataFrame.

    A DataFrame is returned as it is, uncopied, in whatever order its columns are: the estimator reads them by name,
    like scikit-learn's ColumnTransformer. The columns of anything else are named as those of ``fit``, else numbered.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Is given ``n_features_in_`` and, where the columns have names, ``feature_names_in_``.
    X : DataFrame or array-like of shape (n_rows, n_features)
    reset : bool
        Whether this is ``fit``, which learns the columns; otherwise an array must have as many.

    Returns
    -------
    DataFrame of shape (n_rows, n_features)

    Raises
    ------
    ValueError
        If an array is not two-dimensional, empty, infinite, or has another number of columns than in ``fit``.
    TypeError
        If it is sparse.
    """
    if isinstance(X, pd.DataFrame):
        if reset:
            validate_data(estimator, X, skip_check_array=True)
        return X
    values = validate_data(estimator, X, dtype=None, ensure_all_finite="allow-nan", reset=reset)
    return pd.DataFrame(values, columns=getattr(estimator, "feature_names_in_", None)).infer_objects()


def check_columns(estimator: object, frame: pd.DataFrame, names: Collection[Hashable]) -> None:
    """Raise ValueError unless a DataFrame has all these columns."""
    if missing := [name for name in names if name not in frame.columns]:
        raise ValueError(f"{type(estimator).__name__} reads columns that X does not have: {missing}.")
