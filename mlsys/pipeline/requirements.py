"""How columns must look for an estimator behind a sampler, and which prior its class weights make it learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.pipeline.traits import SamplerTraits, sampler_traits_of, traits_of

NO_SAMPLER = SamplerTraits(only_selects_rows=True)


@dataclass(frozen=True)
class InputRequirements:
    """How columns must look for an estimator and a sampler.

    Attributes
    ----------
    categories : bool
        Takes pandas category columns as they are.
    missing : bool
        Takes NaN in number columns.
    missing_categories : bool
        Takes a missing value in category columns.
    scaled : bool
        Learns best from standardised numbers.
    """

    categories: bool
    missing: bool
    missing_categories: bool
    scaled: bool


def requirements_of(estimator: object, sampler: object | None) -> InputRequirements:
    """Return what an estimator behind a sampler can be given.

    Samplers that interpolate take neither missing numbers nor, but for SMOTENC, categories.
    """
    traits = traits_of(estimator)
    sampling = NO_SAMPLER if sampler is None else sampler_traits_of(sampler)
    untouched = sampling.only_selects_rows
    return InputRequirements(
        categories=traits.takes_categories and (untouched or sampling.takes_categories),
        missing=bool(traits.takes_missing) and untouched,
        missing_categories=traits.takes_missing_categories and untouched,
        scaled=traits.needs_scaling or not untouched,
    )


def learned_prior(estimator: Any, labels: NDArray[np.int8]) -> float:  # noqa: ANN401 - any scikit-learn estimator
    """Return the share of positive rows that an estimator believes in, after its class weights.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Its weights are those of its traits.
    labels : ndarray of int8, shape (n_rows,)
        What it was fitted on, after resampling.

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
    positives = float(np.count_nonzero(labels == 1))
    negatives = float(len(labels) - positives)
    up, down = traits_of(estimator).class_weights(estimator, positives, negatives)
    return positives * up / (positives * up + negatives * down)
