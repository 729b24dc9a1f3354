"""What an estimator and a sampler require of their input, and the class prior that an estimator learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.pipeline.traits import SamplerTraits, sampler_traits_of, traits_of
from mlsys.pipeline.weights import Weights, class_totals

NO_SAMPLER = SamplerTraits(only_selects_rows=True)


@dataclass(frozen=True)
class InputRequirements:
    """What an estimator and its sampler accept as input.

    Attributes
    ----------
    categories : bool
        Whether pandas category columns are accepted.
    missing : bool
        Whether NaN is accepted in number columns.
    missing_categories : bool
        Whether missing values are accepted in category columns.
    scaled : bool
        Whether numbers should be standardised.
    """

    categories: bool
    missing: bool
    missing_categories: bool
    scaled: bool


def requirements_of(estimator: object, sampler: object | None) -> InputRequirements:
    """Return the input requirements of an estimator that is fitted after a sampler.

    Samplers that interpolate accept neither missing numbers nor, except for SMOTENC, categories.
    """
    traits = traits_of(estimator)
    sampling = NO_SAMPLER if sampler is None else sampler_traits_of(sampler)
    only_selects = sampling.only_selects_rows
    return InputRequirements(
        categories=traits.takes_categories and (only_selects or sampling.takes_categories),
        missing=bool(traits.takes_missing) and only_selects,
        missing_categories=traits.takes_missing_categories and only_selects,
        scaled=traits.needs_scaling or not only_selects,
    )


def learned_prior(
    estimator: Any,  # noqa: ANN401 - any scikit-learn estimator
    labels: NDArray[np.int8],
    weights: Weights = None,
) -> float:
    """Return the class prior that an estimator learns: the fraction of positives, weighted by its class weights.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Estimator whose traits determine the class weights.
    labels : ndarray of int8, shape (n_rows,)
        Labels that it is fitted on, after resampling.
    weights : ndarray of float64, shape (n_rows,), optional
        Their weights.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> learned_prior(LogisticRegression(class_weight="balanced"), np.array([0, 0, 0, 1], dtype=np.int8))
    0.5
    """
    positives, negatives = class_totals(labels, weights)
    positive_weight, negative_weight = traits_of(estimator).class_weights(estimator, positives, negatives)
    return positives * positive_weight / (positives * positive_weight + negatives * negative_weight)
