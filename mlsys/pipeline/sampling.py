"""Resamples encoded training rows with any imbalanced-learn sampler, also where converters are few."""

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

from mlsys.errors import FitError
from mlsys.pipeline.encoders import Output
from mlsys.pipeline.traits import sampler_traits_of

logger = logging.getLogger(__name__)

SMOTE_NEIGHBOURS = 5  # of the SMOTE that imbalanced-learn's combined samplers make for themselves


def resample(
    sampler: Any,  # noqa: ANN401 - any imbalanced-learn sampler
    X: Any,  # noqa: ANN401 - DataFrame or ndarray
    y: NDArray[np.int8],
    outputs: Sequence[Output],
) -> tuple[Any, NDArray[np.int8]]:
    """Resample encoded training rows.

    With fewer converters than the sampler wants neighbours, it gets as many neighbours as there are, and the log says
    so.

    Parameters
    ----------
    sampler : imbalanced-learn sampler
        One whose ``categorical_features`` are "auto" is told which columns of an array are categorical.
    X : DataFrame or ndarray of shape (n_rows, n_columns)
        Encoded rows.
    y : ndarray of int8, shape (n_rows,)
    outputs : sequence of Output, length n_columns
        Where the columns come from.

    Returns
    -------
    X, y
        Of the same kinds, with other rows.

    Raises
    ------
    FitError
        Where the sampler cannot work on these rows, with its reason.
    """
    name, positives = type(sampler).__name__, int(np.count_nonzero(y == 1))
    share = positives / max(len(y) - positives, 1)
    wanted = getattr(sampler, "sampling_strategy", None)
    if isinstance(wanted, Real) and share >= float(wanted):
        logger.info("%s leaves the rows as they are: already %.3g converters per other row", name, share)
        return X, y
    adapted = _with_categories(_with_neighbours(sampler, positives), X, outputs)
    try:
        rows, labels = adapted.fit_resample(X, y)
    except (ValueError, RuntimeError) as error:
        raise _refusal(name, y, f"{error}") from error
    if len(np.unique(labels)) < 2:  # samplers that clean may remove a whole class
        raise _refusal(name, y, "it would leave rows of one class only.")
    if np.array_equal(labels, y):
        logger.warning("%s found nothing to do: the %d training rows are as they were", name, len(y))
    return rows, np.asarray(labels, dtype=np.int8)


def _refusal(name: str, y: NDArray[np.int8], reason: str) -> FitError:
    return FitError(
        f"sampler {name} cannot resample {len(y)} training rows with {int(y.sum())} positive ones: {reason} "
        "Use another sampler (random_over and random_under always work), or sampler=none."
    )


def _with_categories(sampler: Any, X: Any, outputs: Sequence[Output]) -> Any:  # noqa: ANN401
    """Return the sampler with the positions of categorical columns, which only a DataFrame's dtypes tell."""
    given = getattr(sampler, "categorical_features", None)
    if isinstance(X, pd.DataFrame) or not isinstance(given, str) or given != "auto":
        return sampler
    groups = _level_groups(outputs)
    flat = all(len(group) == 1 for group in groups)  # as SMOTENC takes them, too
    return clone(sampler).set_params(categorical_features=[group[0] for group in groups] if flat else groups)


def _level_groups(outputs: Sequence[Output]) -> list[list[int]]:
    """Return the positions of the columns that stand for each category together."""
    columns = [(output.source, column) for column, output in enumerate(outputs) if output.level]
    return [[column for _, column in group] for _, group in groupby(columns, key=lambda pair: pair[0])]


def _with_neighbours(sampler: Any, positives: int) -> Any:  # noqa: ANN401
    """Return the sampler, with fewer neighbours where there are fewer converters than it wants."""
    name, kind = sampler_traits_of(sampler).neighbours, type(sampler).__name__
    if name is None:
        return sampler
    wanted = SMOTE_NEIGHBOURS if getattr(sampler, name) is None else getattr(sampler, name)
    if not isinstance(wanted, int) or wanted < positives:
        return sampler
    if positives < 2:  # one row has no neighbour
        raise FitError(
            f"sampler {kind} makes new rows between positive ones, and the training rows hold {positives}. "
            "Use sampler=random_over, random_under or none, or earlier data."
        )
    logger.warning("%s: neighbours lowered from %d to %d, one less than the positive rows", kind, wanted, positives - 1)
    return clone(sampler).set_params(**{name: _smote(sampler, positives - 1) if name == "smote" else positives - 1})


def _smote(sampler: Any, neighbours: int) -> Any:  # noqa: ANN401
    from imblearn.over_sampling import SMOTE  # takes a second

    strategy, seed = sampler.sampling_strategy, sampler.random_state
    return SMOTE(sampling_strategy=strategy, random_state=seed, k_neighbors=neighbours)
