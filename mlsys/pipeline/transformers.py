"""Transformers of the encoders: native categories, empty columns, counts and texts.

All follow scikit-learn's contract (tests run its estimator checks), and a saved model may contain them: a new one
belongs in `mlsys.runs.trusted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from mlsys.pipeline.frames import check_columns, frame_of
from mlsys.runs.levels import MISSING, RARE, RESERVED, UNKNOWN


class NativeColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Pass numbers through, or scale them, and encode categories as pandas categories with the training levels.

    An unseen level becomes missing: libraries that score by category code would otherwise confuse it with another
    level. A level whose name is one of the reserved names counts as rare.

    Parameters
    ----------
    numbers, categories : list of str or list of int, optional
        Names of the columns, or their positions if X is an array. By default, all numeric columns are numbers and all
        others are categories.
    max_categories : int
        Maximum number of levels per column; all rarer levels are merged into one.
    min_rows : int
        Minimum number of training rows of a level; levels with fewer rows are merged into one.
    impute : bool
        Whether to replace missing numbers by the training median.
    name_missing : bool
        Whether to encode missing and unseen categories as their own levels, for models without missing categories.
    scaled : bool
        Whether to scale numbers, for samplers that measure distances; tree splits do not depend on it.

    Attributes
    ----------
    numbers_, categories_ : list of str
        Names of the columns, or their positions if ``fit`` saw an array.
    levels_, rare_ : dict of str to list of str
        Levels that each category column keeps, and levels that are merged.
    fill_ : ndarray of float64, shape (n_numbers,)
        Value that replaces a missing number in each column; NaN if it stays missing.
    scale_ : Pipeline
        Fitted scaling; only if ``scaled`` and there are number columns.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen in ``fit``, if they have names.

    Examples
    --------
    >>> rows = pd.DataFrame({"users": [1.0, None, 3.0], "plan": ["free", "pro", "free"]})
    >>> NativeColumns(min_rows=2).fit_transform(rows)
        f0      f1
    0  1.0    free
    1  NaN  (rare)
    2  3.0    free
    """

    def __init__(
        self,
        numbers: Sequence[str] | Sequence[int] | None = None,
        categories: Sequence[str] | Sequence[int] | None = None,
        max_categories: int = 50,
        min_rows: int = 10,
        impute: bool = False,
        name_missing: bool = False,
        scaled: bool = False,
    ) -> None:
        self.numbers = numbers
        self.categories = categories
        self.max_categories = max_categories
        self.min_rows = min_rows
        self.impute = impute
        self.name_missing = name_missing
        self.scaled = scaled

    def fit(self, X: pd.DataFrame | ArrayLike, y: object = None) -> Self:  # noqa: ARG002 - the scikit-learn signature
        """Learn levels, medians and scales.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Training rows.
        y : ignored

        Raises
        ------
        ValueError
            If X lacks a column.
        """
        frame = frame_of(self, X, reset=True)
        self.numbers_, self.categories_ = self._columns(frame)
        check_columns(self, frame, [*self.numbers_, *self.categories_])
        self.levels_ = {name: self._levels(frame[name]) for name in self.categories_}
        self.rare_ = {name: sorted(_texts(frame[name]) - set(levels)) for name, levels in self.levels_.items()}
        self.fill_ = np.array([self._fill(frame[name]) for name in self.numbers_], dtype=np.float64)
        if self.scaled and self.numbers_:
            self.scale_ = Pipeline(scaling_steps()).fit(self._matrix(frame))
        return self

    def transform(self, X: pd.DataFrame | ArrayLike) -> pd.DataFrame:
        """Return the encoded columns, renamed f0, f1, …: some libraries reject special characters in names.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Rows with the training columns; a DataFrame may have them in any order.

        Raises
        ------
        ValueError
            If X lacks a column.
        """
        check_is_fitted(self)
        frame = frame_of(self, X, reset=False)
        check_columns(self, frame, [*self.numbers_, *self.categories_])
        columns: list[Any]
        if self.scaled and self.numbers_:
            columns = list(self.scale_.transform(self._matrix(frame)).T)
        else:  # column by column, as most are shared with X
            columns = [self._filled(frame[name], fill) for name, fill in zip(self.numbers_, self.fill_, strict=True)]
        columns += [self._encode(frame[name], self.levels_[name], self.rare_[name]) for name in self.categories_]
        return pd.DataFrame({f"f{i}": column for i, column in enumerate(columns)}, index=frame.index, copy=False)

    def only(self, columns: slice) -> Self:
        """Return a fitted encoder of some of the columns that ``transform`` returns; their names start at f0 again.

        Parameters
        ----------
        columns : slice
            Their positions, without a step.
        """
        check_is_fitted(self)
        part, (start, stop, _) = copy(self), columns.indices(len(self.numbers_) + len(self.categories_))
        numbers = len(self.numbers_)
        part.numbers_, part.fill_ = self.numbers_[start:stop], self.fill_[start:stop]
        part.categories_ = self.categories_[max(start - numbers, 0) : max(stop - numbers, 0)]
        return part

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return the names of the columns that ``transform`` returns."""
        check_is_fitted(self)
        return np.array([f"f{i}" for i in range(len(self.numbers_) + len(self.categories_))], dtype=object)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        return _takes_categories(super().__sklearn_tags__())

    def _columns(self, frame: pd.DataFrame) -> tuple[list[Any], list[Any]]:
        """Return the number and category columns: those configured, else all remaining columns of the matching type."""
        numeric = [name for name, dtype in frame.dtypes.items() if is_numeric_dtype(dtype)]
        configured: list[Any] = [*(self.numbers or ()), *(self.categories or ())]
        numbers = self.numbers if self.numbers is not None else [name for name in numeric if name not in configured]
        others = [name for name in frame.columns if name not in numeric and name not in configured]
        return list(numbers), list(others if self.categories is None else self.categories)

    def _fill(self, column: pd.Series[Any]) -> float:
        """Return what replaces a missing number: NaN if nothing does."""
        if column.isna().all():
            return 0.0
        return float(column.astype(np.float64).median()) if self.impute else np.nan

    def _filled(self, column: pd.Series[Any], fill: float) -> NDArray[Any]:
        """Return the numbers of a column: the same array, unless they are replaced or of another type."""
        values = column.to_numpy()
        if values.dtype not in (np.float32, np.float64):
            values = column.to_numpy(dtype=np.float64)
        if np.isnan(fill) or not (missing := np.isnan(values)).any():
            return values
        return np.where(missing, fill, values.astype(np.float64))

    def _matrix(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the filled numbers, shape (n_rows, n_numbers)."""
        matrix = np.empty((len(frame), len(self.numbers_)))
        for position, (name, fill) in enumerate(zip(self.numbers_, self.fill_, strict=True)):
            matrix[:, position] = self._filled(frame[name], fill)
        return matrix

    def _levels(self, column: pd.Series[Any]) -> list[str]:
        counts = column.dropna().value_counts()
        kept = counts[(counts >= self.min_rows) & ~counts.index.isin(RESERVED)].sort_index()
        frequent = kept.sort_values(ascending=False, kind="stable").index[: self.max_categories]
        return sorted(str(level) for level in frequent)

    def _encode(self, column: pd.Series[Any], levels: list[str], rare: list[str]) -> pd.Categorical:
        known, merged = set(levels), set(rare)
        allowed = [*levels, RARE, *([MISSING, UNKNOWN] if self.name_missing else [])]
        missing, unseen = (MISSING, UNKNOWN) if self.name_missing else (None, None)

        def encoded(value: object) -> str | None:
            if value is None:
                return missing
            level = str(value)
            return level if level in known else RARE if level in merged else unseen

        codes, values = pd.factorize(column)  # -1: missing
        position = {level: code for code, level in enumerate(allowed)} | {None: -1}
        lookup = np.array([position[encoded(value)] for value in [*values, None]], dtype=np.int32)
        encodings: pd.Categorical = pd.Categorical.from_codes(lookup[codes], pd.Index(allowed, dtype=object))
        return encodings


def _texts(column: pd.Series[Any]) -> set[str]:
    return {str(value) for value in column.dropna().unique()}


def _takes_categories(tags: Any) -> Any:  # noqa: ANN401 - scikit-learn's Tags
    tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
    tags.transformer_tags.preserves_dtype = []
    return tags


class FillEmpty(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fill number columns that are empty in training with 0: not every library accepts a column without values.

    Attributes
    ----------
    fill_ : ndarray of float64, shape (n_features,)
        0 for columns that are empty in training, NaN for the others.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen in ``fit``, if they have names.

    Examples
    --------
    >>> FillEmpty().fit_transform([[1.0, None], [None, None]])
    array([[ 1.,  0.],
           [nan,  0.]])
    """

    def fit(self, X: pd.DataFrame | ArrayLike, y: object = None) -> Self:  # noqa: ARG002 - the scikit-learn signature
        """Record which columns are empty.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : ignored
        """
        self.fill_ = _zero_where_empty(_numbers(self, X, reset=True))
        return self

    def transform(self, X: pd.DataFrame | ArrayLike) -> NDArray[np.float64]:
        """Return the numbers, with missing values of empty columns filled.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        """
        check_is_fitted(self)
        values = np.array(_numbers(self, X, reset=False), order="C")
        for position in np.flatnonzero(~np.isnan(self.fill_)):
            column = values[:, position]
            column[np.isnan(column)] = self.fill_[position]
        return values

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        return _takes_missing(super().__sklearn_tags__())


def _numbers(estimator: Any, X: pd.DataFrame | ArrayLike, *, reset: bool) -> NDArray[np.float64]:  # noqa: ANN401
    # The model decides whether it accepts missing or infinite numbers.
    return validate_data(estimator, X, dtype=np.float64, ensure_all_finite=False, reset=reset)  # type: ignore[no-any-return]


def _takes_missing(tags: Any) -> Any:  # noqa: ANN401 - scikit-learn's Tags
    tags.input_tags.allow_nan = True
    return tags


def _zero_where_empty(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.0 if np.isnan(column).all() else np.nan for column in values.T])


class SignedLog(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Signed logarithm, sign(x) log(1 + |x|), for counts and amounts that span orders of magnitude.

    A column keeps its values where the logarithm would make it more than twice as skewed, as it does with minutes
    around 200 or hours of work.

    Attributes
    ----------
    logged_ : ndarray of bool, shape (n_features,)
        Whether the logarithm of each column is taken.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen in ``fit``, if they have names.

    Examples
    --------
    >>> rows = [[-1.0, 10.0], [0.0, 38.0], [0.0, 50.0], [9.0, 68.0], [999.0, 90.0]]
    >>> SignedLog().fit_transform(rows)[:, 0].round(2)
    array([-0.69,  0.  ,  0.  ,  2.3 ,  6.91])
    >>> SignedLog().fit(rows).logged_
    array([ True, False])
    """

    def fit(self, X: pd.DataFrame | ArrayLike, y: object = None) -> Self:  # noqa: ARG002 - the scikit-learn signature
        """Decide which columns keep their values.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : ignored
        """
        columns = _numbers(self, X, reset=True).T  # one by one, as each needs several copies
        self.logged_ = np.array([not _skewness(_signed_log(column)) > 2 * _skewness(column) for column in columns])
        return self

    def transform(self, X: pd.DataFrame | ArrayLike) -> NDArray[np.float64]:
        """Return the transformed numbers.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        """
        check_is_fitted(self)
        values = np.array(_numbers(self, X, reset=False), order="C")
        for position in np.flatnonzero(self.logged_):
            values[:, position] = _signed_log(values[:, position])
        return values

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        return _takes_missing(super().__sklearn_tags__())


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.log1p(np.abs(values))


def _skewness(values: NDArray[np.float64]) -> float:
    """Return the absolute skewness of a column without its missing values; 0 if it is constant."""
    present = values[~np.isnan(values)]
    if not len(present):
        return 0.0
    with np.errstate(invalid="ignore"):  # infinite numbers have no skewness
        scaled = present / max(np.abs(present).max(), 1e-300)  # cubes of it stay finite
        centred = scaled - scaled.mean()
        spread = float((centred**2).mean())
        return float(np.abs((centred**3).mean()) / max(spread, 1e-24) ** 1.5) if spread > 1e-24 else 0.0


class AsText(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Convert category columns of any pandas dtype to Python strings, with NaN for missing values.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen in ``fit``, if they have names.

    Examples
    --------
    >>> AsText().fit_transform(pd.DataFrame({"plan": pd.Categorical(["free", None])}))
    array([['free'],
           [nan]], dtype=object)
    """

    def fit(self, X: pd.DataFrame | ArrayLike, y: object = None) -> Self:  # noqa: ARG002 - the scikit-learn signature
        """Record the columns; nothing is learned.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : ignored
        """
        self._values(X, reset=True)
        return self

    def transform(self, X: pd.DataFrame | ArrayLike) -> NDArray[np.object_]:
        """Return an object array of strings and NaN.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        """
        values = self._values(X, reset=False).astype(object)
        values[pd.isna(values)] = np.nan
        return values

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        tags = _takes_categories(super().__sklearn_tags__())
        tags.requires_fit = False
        return tags

    def _values(self, X: pd.DataFrame | ArrayLike, *, reset: bool) -> NDArray[Any]:
        return validate_data(self, X, dtype=None, ensure_all_finite=False, reset=reset)  # type: ignore[no-any-return]


def scaling_steps() -> list[tuple[str, Any]]:
    """Return the steps that put numbers of different magnitudes on one scale."""
    return [("log", SignedLog()), ("scale", StandardScaler())]
