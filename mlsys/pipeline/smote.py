"""SMOTE for numeric, categorical and mixed columns in a single imbalanced-learn sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_target_type
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from mlsys.pipeline.traits import SamplerTraits

BATCH = 20_000  # new rows that are made at once, where ``max_minority`` bounds the memory

CategoricalFeatures: TypeAlias = str | Sequence[int | Sequence[int]] | Sequence[bool] | Sequence[str]


class SmoteMixed(BaseOverSampler):  # type: ignore[misc]
    """SMOTE for any mix of columns: SMOTENC for mixed columns, SMOTE for numbers only, SMOTEN for categories only.

    Parameters
    ----------
    categorical_features : "auto" or sequence of (int or sequence of int), bool or str
        Positions, mask or names of the categorical columns, as in SMOTENC. A nested sequence lists the one-hot columns
        of a single category, which are resampled together, so that a new row has exactly one level. ``"auto"`` selects
        the columns of a DataFrame with pandas' category dtype.
    sampling_strategy : float, str, dict or callable
        What to resample, as in SMOTE. A float is the number of minority rows per majority row after resampling.
    random_state : int, RandomState or None
        Seed of the random numbers.
    k_neighbors : int or NearestNeighbors
        Number of neighbours of the same class to interpolate between.
    max_minority : int or None
        With more rows of a class than this, its new rows are interpolated between a random sample of so many, some at a
        time, which bounds the memory; None: between all, at once.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of rows to add, by class.
    n_features_in_ : int
        Number of columns seen in ``fit_resample``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns seen in ``fit_resample``, if they have names.

    References
    ----------
    Chawla, Bowyer, Hall and Kegelmeyer (2002), SMOTE: Synthetic Minority Over-sampling Technique, section 6.

    Examples
    --------
    >>> rows = pd.DataFrame({"users": [1.0, 2.0, 3.0, 4.0, 8.0, 9.0], "plan": pd.Categorical(list("aabbcc"))})
    >>> X, y = SmoteMixed(random_state=0, k_neighbors=1).fit_resample(rows, [0, 0, 0, 0, 1, 1])
    >>> sum(y), X["plan"].tolist()[6:]
    (4, ['c', 'c'])
    """

    mlsys_traits: ClassVar[SamplerTraits] = SamplerTraits(takes_categories=True, neighbours="k_neighbors")

    def __init__(
        self,
        categorical_features: CategoricalFeatures = "auto",
        *,
        sampling_strategy: Any = "auto",  # noqa: ANN401 - any strategy of imbalanced-learn
        random_state: int | np.random.RandomState | None = None,
        k_neighbors: Any = 5,  # noqa: ANN401
        max_minority: int | None = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.categorical_features = categorical_features
        self.random_state = random_state
        self.k_neighbors = k_neighbors
        self.max_minority = max_minority

    def _check_X_y(self, X: Any, y: Any) -> tuple[Any, NDArray[Any], bool]:  # noqa: ANN401, N802 - the base's hook
        """Validate the rows; a DataFrame stays a DataFrame, so that its columns keep their dtypes."""
        y, binarize_y = check_target_type(y, indicate_one_vs_all=True)
        if isinstance(X, pd.DataFrame):
            return *validate_data(self, X=X, y=y, skip_check_array=True), binarize_y
        dtype = "numeric" if isinstance(self.categorical_features, str) else None  # categories may be text
        return *validate_data(self, X=X, y=y, dtype=dtype), binarize_y

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - imbalanced-learn's Tags
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def _fit_resample(self, X: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:  # noqa: ANN401
        """Return resampled rows and labels.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_rows, n_columns)
            Without missing values.
        y : ndarray of shape (n_rows,)

        Returns
        -------
        X : DataFrame or ndarray of shape (n_new_rows, n_columns)
        y : ndarray of shape (n_new_rows,)
        """
        groups = self._groups(X)
        if any(len(group) > 1 for group in groups):
            return self._resample_codes(np.asarray(X), y, groups)
        return self._resample(X, y, [group[0] for group in groups])

    def _resample_codes(
        self, X: NDArray[Any], y: NDArray[Any], groups: list[list[int]]
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Resample with each category's one-hot columns collapsed into one column of codes, then expand the codes."""
        in_groups = {column for group in groups for column in group}
        numbers = [column for column in range(X.shape[1]) if column not in in_groups]
        codes = [X[:, group].argmax(axis=1) if len(group) > 1 else X[:, group[0]] for group in groups]
        categorical = range(len(numbers), len(numbers) + len(groups))
        rows, labels = self._resample(np.column_stack([X[:, numbers], *codes]), y, list(categorical))
        expanded = np.zeros((len(rows), X.shape[1]))
        expanded[:, numbers] = rows[:, : len(numbers)]
        for column, group in zip(categorical, groups, strict=True):
            level = rows[:, column]
            expanded[:, group] = np.eye(len(group))[level.astype(np.intp)] if len(group) > 1 else level[:, None]
        return expanded, labels

    def _resample(self, X: Any, y: NDArray[Any], categorical: list[int]) -> tuple[Any, NDArray[Any]]:  # noqa: ANN401
        """Resample with the sampler for the mix of columns; categories are at the given positions.

        With more minority rows than ``max_minority``, it resamples a sample of the rows.

        SMOTENC weighs a category by the median standard deviation of the numbers. If that is 0, all categories count as
        equal, and all samples have the same neighbours. The numbers that do not vary are then set aside: every sample
        has their only value.
        """
        if self.max_minority is not None and _largest_minority(y, self.sampling_strategy_) > self.max_minority:
            return self._resample_sample(X, y, categorical, self.max_minority)
        still = _constant_numbers(X, y, categorical) if categorical else []
        varying = [column for column in range(X.shape[1]) if column not in still]
        smote = self._smote([varying.index(column) for column in categorical], len(varying))
        if not still:
            rows, labels = smote.fit_resample(X, y)
            return rows, labels
        frame = pd.DataFrame(X)
        rows, labels = smote.fit_resample(frame.iloc[:, varying] if isinstance(X, pd.DataFrame) else X[:, varying], y)
        made = pd.DataFrame(rows)
        for column in still:
            constants = {
                label: frame.iloc[np.flatnonzero(y == label)[0], column] for label in np.unique(labels[len(y) :])
            }
            added = [constants[label] for label in labels[len(y) :]]
            made.insert(column, frame.columns[column], [*frame.iloc[:, column], *added], allow_duplicates=True)
        return made if isinstance(X, pd.DataFrame) else made.to_numpy(), labels

    def _resample_sample(
        self,
        X: Any,  # noqa: ANN401
        y: NDArray[Any],
        categorical: list[int],
        size: int,
    ) -> tuple[Any, NDArray[Any]]:
        """Add rows made from a sample of each class, some at a time."""
        rng, frame = check_random_state(self.random_state), pd.DataFrame(X)
        parts, labels = [frame], [y]
        for label, count in self.sampling_strategy_.items():
            classes = (np.flatnonzero(y == label), np.flatnonzero(y != label))
            known, others = (rng.permutation(rows)[:size] for rows in classes)
            rows = np.sort(np.concatenate([known, others]))
            for start in range(0, count, BATCH):
                added = min(BATCH, count - start)
                sampler = clone(self).set_params(
                    categorical_features=categorical,
                    sampling_strategy={label: len(known) + added},
                    random_state=rng.randint(np.iinfo(np.int32).max),
                    max_minority=None,
                )
                made = sampler.fit_resample(frame.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows], y[rows])[0]
                parts.append(pd.DataFrame(made).iloc[len(rows) :])
                labels.append(np.full(added, label, dtype=y.dtype))
        together = pd.concat(parts, ignore_index=True)
        return together if isinstance(X, pd.DataFrame) else together.to_numpy(), np.concatenate(labels)

    def _groups(self, X: Any) -> list[list[int]]:  # noqa: ANN401
        """Return the positions of the columns of each category."""
        if isinstance(self.categorical_features, str):
            if self.categorical_features != "auto":
                raise ValueError(
                    f"categorical_features is {self.categorical_features!r}; expected 'auto' or positions."
                )
            dtypes = list(X.dtypes) if isinstance(X, pd.DataFrame) else []
            return [[column] for column, dtype in enumerate(dtypes) if isinstance(dtype, pd.CategoricalDtype)]
        groups = [np.atleast_1d(group).tolist() for group in self._positions(X)]
        positions = [column for group in groups for column in group]
        if len(set(positions)) < len(positions) or not set(positions) <= set(range(X.shape[1])):
            raise ValueError(
                f"categorical_features is {self.categorical_features!r}; expected distinct positions from 0 to "
                f"{X.shape[1] - 1}."
            )
        return groups

    def _positions(self, X: Any) -> Sequence[int | Sequence[int]]:  # noqa: ANN401
        """Return the positions that a mask or names stand for; positions as they are."""
        features: list[Any] = list(self.categorical_features)
        if features and all(isinstance(feature, bool | np.bool_) for feature in features):
            if len(features) != X.shape[1]:
                raise ValueError(
                    f"categorical_features is {features}; expected one entry for each of {X.shape[1]} columns."
                )
            return [int(position) for position in np.flatnonzero(features)]
        if features and all(isinstance(feature, str) for feature in features):
            names = list(X.columns) if isinstance(X, pd.DataFrame) else []
            missing = [feature for feature in features if feature not in names]
            if missing:
                raise ValueError(
                    f"categorical_features is {features}; expected columns of X, but {missing[0]!r} is none."
                )
            return [names.index(feature) for feature in features]
        return features

    def _smote(self, categorical: list[int], columns: int) -> Any:  # noqa: ANN401 - one of three samplers
        options = {
            "sampling_strategy": self.sampling_strategy,
            "random_state": self.random_state,
            "k_neighbors": self.k_neighbors,
        }
        if not categorical:
            return SMOTE(**options)
        return SMOTEN(**options) if len(categorical) == columns else SMOTENC(categorical, **options)


def _largest_minority(y: NDArray[Any], strategy: Mapping[Any, int]) -> int:
    """Return the number of rows of the largest class that gets new ones."""
    return max((int((y == label).sum()) for label, count in strategy.items() if count), default=0)


def _constant_numbers(X: Any, y: NDArray[Any], categorical: list[int]) -> list[int]:  # noqa: ANN401
    """Return the positions of numbers that are constant in each class to be resampled, if the median number is."""
    numbers = [column for column in range(X.shape[1]) if column not in categorical]
    labels, counts = np.unique(y, return_counts=True)
    values = pd.DataFrame(X).iloc[:, numbers].to_numpy(np.float64)
    spreads = [np.ptp(values[y == label], axis=0) for label in np.delete(labels, counts.argmax())]
    largest = np.max(spreads, axis=0, initial=0.0)
    if not numbers or np.median(largest) > 0:
        return []
    return [column for column, spread in zip(numbers, largest, strict=True) if spread == 0]
