"""Encoders: transform the panel's number and category columns into model input.

An encoder is a small factory: ``build`` makes a scikit-learn transformer for given columns and a given model. Levels,
medians and scales are learned in ``fit``, from training rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from sklearn.base import TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from mlsys.pipeline.outputs import Output
from mlsys.pipeline.requirements import InputRequirements
from mlsys.pipeline.transformers import AsText, FillEmpty, NativeColumns, scaling_steps
from mlsys.runs.levels import MISSING


class Encoder(Protocol):
    """Interface of the components in the ``encoder`` config group."""

    def build(
        self, numbers: Sequence[str], categories: Sequence[str], requirements: InputRequirements
    ) -> TransformerMixin:
        """Return an unfitted transformer from panel columns to model input."""
        ...


@dataclass(frozen=True)
class Native:
    """Keep categories as category columns; one-hot encode them for models without native category support.

    Parameters
    ----------
    max_categories : int
        Maximum number of levels per column; all rarer levels are merged into one.
    min_rows : int
        Minimum number of training rows of a level; levels with fewer rows are merged into one.
    """

    max_categories: PositiveInt = 50
    min_rows: PositiveInt = 10

    def build(
        self, numbers: Sequence[str], categories: Sequence[str], requirements: InputRequirements
    ) -> TransformerMixin:
        """Return `NativeColumns` for a model with native category support, else the transformer of `OneHot`."""
        if not requirements.categories:
            return OneHot(self.max_categories, self.min_rows).build(numbers, categories, requirements)
        return NativeColumns(
            numbers=list(numbers),
            categories=list(categories),
            max_categories=self.max_categories,
            min_rows=self.min_rows,
            impute=not requirements.missing,
            name_missing=not requirements.missing_categories,
            scaled=requirements.scaled,
        )


@dataclass(frozen=True)
class OneHot:
    """One-hot encoding: unseen levels are all zeros, and a missing value is its own level."""

    max_categories: PositiveInt = 50
    min_rows: PositiveInt = 10

    def build(
        self, numbers: Sequence[str], categories: Sequence[str], requirements: InputRequirements
    ) -> TransformerMixin:
        """Return a ColumnTransformer."""
        levels = OneHotEncoder(
            handle_unknown="ignore",
            sparse_output=False,
            min_frequency=self.min_rows,
            max_categories=self.max_categories,
        )
        return _columns(numbers, categories, requirements, levels)


@dataclass(frozen=True)
class Ordinal:
    """Ordinal encoding in sort order: unseen levels are -1, and a missing value is its own level."""

    max_categories: PositiveInt = 50
    min_rows: PositiveInt = 10

    def build(
        self, numbers: Sequence[str], categories: Sequence[str], requirements: InputRequirements
    ) -> TransformerMixin:
        """Return a ColumnTransformer."""
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            min_frequency=self.min_rows,
            max_categories=self.max_categories,
        )
        return _columns(numbers, categories, requirements, codes)


@dataclass(frozen=True)
class TargetRate:
    """Target encoding: replace each level by its smoothed, cross-fitted positive rate; unseen levels get the mean.

    Parameters
    ----------
    folds : int
        Number of folds for cross-fitting on training rows (Micci-Barreca 2001; scikit-learn's TargetEncoder).
    seed : int
        Seed of the random folds.
    """

    folds: Annotated[int, Field(ge=2)] = 5
    seed: int = 0

    def build(
        self, numbers: Sequence[str], categories: Sequence[str], requirements: InputRequirements
    ) -> TransformerMixin:
        """Return a ColumnTransformer."""
        folds = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
        rates = TargetEncoder(target_type="binary", cv=folds)
        return _columns(numbers, categories, requirements, rates)


def _columns(
    numbers: Sequence[str], categories: Sequence[str], requirements: InputRequirements, levels: TransformerMixin
) -> ColumnTransformer:
    steps: list[tuple[str, Any]] = [("empty", FillEmpty())]
    if not requirements.missing:
        steps.append(("impute", SimpleImputer(strategy="median", add_indicator=True)))
    if requirements.scaled:
        steps += scaling_steps()
    fill = SimpleImputer(strategy="constant", fill_value=MISSING, missing_values=np.nan, keep_empty_features=True)
    return ColumnTransformer(
        [
            ("numbers", Pipeline(steps), list(numbers)),
            ("categories", Pipeline([("text", AsText()), ("impute", fill), ("levels", levels)]), list(categories)),
        ],
        verbose_feature_names_out=False,
        sparse_threshold=0,
    )


def outputs_of(encoder: Any) -> list[Output]:  # noqa: ANN401 - a NativeColumns or a ColumnTransformer of this module
    """Return the source of each output column of a fitted encoder.

    Parameters
    ----------
    encoder : NativeColumns or ColumnTransformer
        Fitted transformer that an encoder of this module has built.

    Returns
    -------
    list of Output
        One entry per output column, in order.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"users": [1.0, None, 3.0], "plan": ["free", "pro", "free"]})
    >>> requirements = InputRequirements(categories=False, missing=False, missing_categories=False, scaled=False)
    >>> encoder = OneHot(min_rows=1).build(["users"], ["plan"], requirements).fit(rows)
    >>> [output.source for output in outputs_of(encoder)]
    ['users', 'users', 'plan', 'plan']
    """
    if isinstance(encoder, NativeColumns):
        numbers, categories = map(str, encoder.numbers_), map(str, encoder.categories_)
        return [*(Output(name, False) for name in numbers), *(Output(name, True) for name in categories)]
    (_, numbers, number_names), (_, categories, category_names) = encoder.transformers_[:2]
    outputs = [Output(name, False) for name in number_names]
    if number_names and "impute" in numbers.named_steps:
        flagged = numbers["impute"].indicator_.features_
        outputs += [Output(number_names[i], False, indicator=True) for i in flagged]
    if not category_names:
        return outputs
    levels = categories["levels"]
    positions = [str(i) for i in range(len(category_names))]
    names = levels.get_feature_names_out(positions)  # "2_free", or "2" if a column has a single output
    is_level = not isinstance(levels, TargetEncoder)
    return outputs + [Output(category_names[int(name.partition("_")[0])], is_level) for name in names]
