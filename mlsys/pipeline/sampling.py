"""Resampling of training rows: imbalanced-learn's samplers, made to survive few converters and mixed columns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from mlsys.errors import FitError
from mlsys.pipeline.encoders import Output
from mlsys.pipeline.traits import SamplerTraits, sampler_traits_of

log = logging.getLogger(__name__)

SMOTE_NEIGHBOURS = 5  # of the SMOTE that imbalanced-learn's combined samplers make for themselves


@dataclass(frozen=True)
class SmoteMixed:
    """SMOTE for whatever columns there are: SMOTENC for mixed ones, SMOTE for numbers only, SMOTEN for categories only.

    Parameters
    ----------
    sampling_strategy : float
        Positive rows per other row after resampling.
    k_neighbors : int
        Positive neighbours between which new rows are made.
    random_state : int
        Seed.

    References
    ----------
    Chawla, Bowyer, Hall and Kegelmeyer (2002), SMOTE: Synthetic Minority Over-sampling Technique, section 6.
    """

    mlsys_traits: ClassVar[SamplerTraits] = SamplerTraits(takes_categories=True, neighbours="k_neighbors")

    sampling_strategy: float = 1.0
    k_neighbors: int = 5
    random_state: int = 0

    def fit_resample(self, X: Any, y: NDArray[np.int8], outputs: Sequence[Output]) -> Any:  # noqa: ANN401
        """Return resampled rows and labels.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_rows, n_columns)
            Encoded rows without missing values.
        y : ndarray of int8, shape (n_rows,)
        outputs : sequence of Output, length n_columns
            Where the columns come from. One-hot columns of one category are resampled as one, so that a new row has
            exactly one level.
        """
        groups = _level_groups(outputs)
        if isinstance(X, pd.DataFrame) or all(len(group) == 1 for group in groups):
            return self._smote([column for group in groups for column in group], X.shape[1]).fit_resample(X, y)
        numbers = [column for column, output in enumerate(outputs) if not output.level]
        codes = [X[:, group].argmax(axis=1) if len(group) > 1 else X[:, group[0]] for group in groups]
        categorical = range(len(numbers), len(numbers) + len(groups))
        smote = self._smote(list(categorical), len(numbers) + len(groups))
        rows, labels = smote.fit_resample(np.column_stack([X[:, numbers], *codes]), y)
        spread = np.zeros((len(rows), X.shape[1]))
        spread[:, numbers] = rows[:, : len(numbers)]
        for column, group in zip(categorical, groups, strict=True):
            values = rows[:, column]
            spread[:, group] = np.eye(len(group))[values.astype(np.intp)] if len(group) > 1 else values[:, None]
        return spread, labels

    def _smote(self, categorical: list[int], columns: int) -> Any:  # noqa: ANN401 - one of three samplers
        from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC  # takes a second; only this needs it

        options = {
            "sampling_strategy": self.sampling_strategy,
            "random_state": self.random_state,
            "k_neighbors": self.k_neighbors,
        }
        if not categorical:
            return SMOTE(**options)
        return SMOTEN(**options) if len(categorical) == columns else SMOTENC(categorical, **options)


def _level_groups(outputs: Sequence[Output]) -> list[list[int]]:
    """Return the positions of the columns that stand for each category together."""
    columns = [(output.source, column) for column, output in enumerate(outputs) if output.level]
    return [[column for _, column in group] for _, group in groupby(columns, key=lambda pair: pair[0])]


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
    sampler : SmoteMixed or an imbalanced-learn sampler
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
        log.info("%s leaves the rows as they are: already %.3g converters per other row", name, share)
        return X, y
    fitted = _with_neighbours(sampler, positives)
    try:
        arguments = (X, y, outputs) if isinstance(fitted, SmoteMixed) else (X, y)
        rows, labels = fitted.fit_resample(*arguments)
    except (ValueError, RuntimeError) as error:
        raise _refusal(name, y, f"{error}") from error
    if len(np.unique(labels)) < 2:  # samplers that clean may remove a whole class
        raise _refusal(name, y, "it would leave rows of one class only.")
    if np.array_equal(labels, y):
        log.warning("%s found nothing to do: the %d training rows are as they were", name, len(y))
    return rows, np.asarray(labels, dtype=np.int8)


def _refusal(name: str, y: NDArray[np.int8], reason: str) -> FitError:
    return FitError(
        f"sampler {name} cannot resample {len(y)} training rows with {int(y.sum())} positive ones: {reason} "
        "Use another sampler (random_over and random_under always work), or sampler=none."
    )


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
    log.warning("%s: neighbours lowered from %d to %d, one less than the positive rows", kind, wanted, positives - 1)
    if isinstance(sampler, SmoteMixed):
        return replace(sampler, k_neighbors=positives - 1)
    return clone(sampler).set_params(**{name: _smote(sampler, positives - 1) if name == "smote" else positives - 1})


def _smote(sampler: Any, neighbours: int) -> Any:  # noqa: ANN401
    from imblearn.over_sampling import SMOTE  # takes a second

    strategy, seed = sampler.sampling_strategy, sampler.random_state
    return SMOTE(sampling_strategy=strategy, random_state=seed, k_neighbors=neighbours)
