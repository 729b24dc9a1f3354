"""Resample encoded training rows with any imbalanced-learn sampler, even with few positive rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from mlsys.errors import RowsError
from mlsys.pipeline.outputs import Output
from mlsys.pipeline.traits import sampler_traits_of
from mlsys.pipeline.weights import Weights, within_classes
from mlsys.text import counted

logger = logging.getLogger(__name__)

SMOTE_NEIGHBOURS = 5  # default of the SMOTE inside imbalanced-learn's combined samplers


def resample(
    sampler: Any,  # noqa: ANN401 - any imbalanced-learn sampler
    X: Any,  # noqa: ANN401 - DataFrame or ndarray
    y: NDArray[np.int8],
    outputs: Sequence[Output],
) -> tuple[Any, NDArray[np.int8]]:
    """Resample encoded training rows.

    If there are too few positive rows for the sampler's number of neighbours, the number is lowered with a warning.

    Parameters
    ----------
    sampler : imbalanced-learn sampler
        If its ``categorical_features`` are "auto" and X is an array, they are set to the categorical columns.
    X : DataFrame or ndarray of shape (n_rows, n_columns)
        Encoded rows.
    y : ndarray of int8, shape (n_rows,)
        Labels, 0 or 1.
    outputs : sequence of Output, length n_columns
        Sources of the columns.

    Returns
    -------
    X : DataFrame or ndarray of shape (n_new_rows, n_columns)
        Resampled rows, of the same type.
    y : ndarray of int8, shape (n_new_rows,)
        Their labels.

    Raises
    ------
    RowsError
        If the sampler cannot resample these rows.
    """
    rows, labels, _ = _resampled(sampler, X, y, outputs)
    return rows, labels


def resample_weighted(
    sampler: Any,  # noqa: ANN401
    X: Any,  # noqa: ANN401
    y: NDArray[np.int8],
    outputs: Sequence[Output],
    weights: NDArray[np.float64],
) -> tuple[Any, NDArray[np.int8], Weights]:
    """Resample rows with weights.

    The sampler gives the classes its own ratio, of rows. So only how the weights differ within a class is kept, and a
    new row has the mean weight of its class.

    Parameters
    ----------
    sampler, X, y, outputs
        See `resample`.
    weights : ndarray of float64, shape (n_rows,)

    Returns
    -------
    X, y
        See `resample`.
    weights : ndarray of float64, shape (n_new_rows,), or None
        None if all rows of a class have the same.

    Raises
    ------
    RowsError
        If the sampler cannot resample these rows, or does not tell which of them remain.
    """
    rows, labels, fitted = _resampled(sampler, X, y, outputs)
    within = within_classes(y, weights)
    if within is None or fitted is None:
        return rows, labels, within
    if (kept := getattr(fitted, "sample_indices_", None)) is not None:
        return rows, labels, within[kept]
    if len(labels) < len(y) or not np.array_equal(labels[: len(y)], y):
        reason = "it does not tell which rows remain, and their weights differ."
        raise _resampling_error(type(sampler).__name__, y, reason)
    return rows, labels, np.append(within, np.ones(len(labels) - len(y)))


def _resampled(
    sampler: Any,  # noqa: ANN401
    X: Any,  # noqa: ANN401
    y: NDArray[np.int8],
    outputs: Sequence[Output],
) -> tuple[Any, NDArray[np.int8], Any]:
    """Return the resampled rows, their labels, and the fitted sampler; None if it has nothing to do."""
    name, positives = type(sampler).__name__, int(np.count_nonzero(y == 1))
    ratio = positives / max(len(y) - positives, 1)
    target = getattr(sampler, "sampling_strategy", None)
    if isinstance(target, Real) and ratio >= float(target):
        logger.info("%s leaves the rows unchanged: the ratio of positive to negative rows is already %.3g", name, ratio)
        return X, y, None
    adapted = _with_categories(_with_neighbours(sampler, positives), X, outputs)
    from mlsys.pipeline.smote_memory import check_memory  # imbalanced-learn takes a second to import

    check_memory(adapted, X, y)
    try:
        rows, labels = adapted.fit_resample(X, y)
    except (ValueError, RuntimeError) as error:
        raise _resampling_error(name, y, f"{error}") from error
    if len(np.unique(labels)) < 2:  # cleaning samplers may remove a whole class
        raise _resampling_error(name, y, "only one class would remain.")
    if np.array_equal(labels, y):
        logger.warning("%s left all %s unchanged", name, counted(len(y), "training row"))
    return rows, np.asarray(labels, dtype=np.int8), adapted


def _resampling_error(name: str, y: NDArray[np.int8], reason: str) -> RowsError:
    return RowsError(
        f"The sampler {name} failed on {counted(len(y), 'training row')} ({int(y.sum()):,} positive): {reason} "
        "Use another sampler (random_over and random_under always work), or sampler=none."
    )


def _with_categories(sampler: Any, X: Any, outputs: Sequence[Output]) -> Any:  # noqa: ANN401
    """Return the sampler with the positions of categorical columns set: an array has no dtypes to detect them by."""
    configured = getattr(sampler, "categorical_features", None)
    if isinstance(X, pd.DataFrame) or not isinstance(configured, str) or configured != "auto":
        return sampler
    groups = _level_groups(outputs)
    flat = all(len(group) == 1 for group in groups)  # the form that SMOTENC accepts, too
    return clone(sampler).set_params(categorical_features=[group[0] for group in groups] if flat else groups)


def _level_groups(outputs: Sequence[Output]) -> list[list[int]]:
    """Return, for each categorical source column, the positions of the output columns that encode it."""
    columns = [(output.source, column) for column, output in enumerate(outputs) if output.level]
    return [[column for _, column in group] for _, group in groupby(columns, key=lambda pair: pair[0])]


def _with_neighbours(sampler: Any, positives: int) -> Any:  # noqa: ANN401
    """Return the sampler, with fewer neighbours if there are too few positive rows."""
    name, kind = sampler_traits_of(sampler).neighbours, type(sampler).__name__
    if name is None:
        return sampler
    neighbours = SMOTE_NEIGHBOURS if getattr(sampler, name) is None else getattr(sampler, name)
    if not isinstance(neighbours, int) or neighbours < positives:
        return sampler
    if positives < 2:  # a single row has no neighbour
        raise RowsError(
            f"The sampler {kind} interpolates between positive rows, but the training rows contain "
            f"{counted(positives, 'positive row')}. Use sampler=random_over, random_under or none, or add earlier data."
        )
    logger.warning(
        "%s: lowered the number of neighbours from %d to %d, because there are only %d positive rows",
        *(kind, neighbours, positives - 1, positives),
    )
    return clone(sampler).set_params(**{name: _smote(sampler, positives - 1) if name == "smote" else positives - 1})


def _smote(sampler: Any, neighbours: int) -> Any:  # noqa: ANN401
    from imblearn.over_sampling import SMOTE  # the import takes a second

    strategy, seed = sampler.sampling_strategy, sampler.random_state
    return SMOTE(sampling_strategy=strategy, random_state=seed, k_neighbors=neighbours)
