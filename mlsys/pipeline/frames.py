"""Input validation for estimators that read columns by name."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

import pandas as pd
from sklearn.utils.validation import validate_data


def frame_of(estimator: Any, X: Any, *, reset: bool) -> pd.DataFrame:  # noqa: ANN401 - an estimator, an array-like
    """Validate X and return it as a DataFrame.

    A DataFrame is returned unchanged and uncopied, with its columns in any order: the estimator reads them by name,
    like scikit-learn's ColumnTransformer. An array gets the column names seen in ``fit``, or else column numbers.

    Parameters
    ----------
    estimator : scikit-learn estimator
        ``fit`` sets its ``n_features_in_`` and, if the columns have names, its ``feature_names_in_``.
    X : DataFrame or array-like of shape (n_rows, n_features)
    reset : bool
        Whether this is ``fit``, which records the columns; otherwise an array must have the same number of columns.

    Returns
    -------
    DataFrame of shape (n_rows, n_features)

    Raises
    ------
    ValueError
        If an array is not two-dimensional, is empty, contains infinity, or has a different number of columns than
        in ``fit``.
    TypeError
        If X is sparse.
    """
    if isinstance(X, pd.DataFrame):
        if reset:
            validate_data(estimator, X, skip_check_array=True)
        return X
    values = validate_data(estimator, X, dtype=None, ensure_all_finite="allow-nan", reset=reset)
    return pd.DataFrame(values, columns=getattr(estimator, "feature_names_in_", None)).infer_objects()


def check_columns(estimator: object, frame: pd.DataFrame, names: Collection[Hashable]) -> None:
    """Raise ValueError if a DataFrame lacks any of these columns."""
    if missing := [name for name in names if name not in frame.columns]:
        raise ValueError(f"{type(estimator).__name__} needs columns that X does not have: {missing}.")
