"""The typical training record, from reference.json, that explanations compare a record with."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.scoring.encoding import Encoding
from serve.scoring.fields import Categories, Inputs, Numbers


def typical_record(reference: Mapping[str, Any], inputs: Inputs) -> tuple[Numbers, Categories]:
    """Return the median of each number and the most frequent value of each category; null if unknown.

    Parameters
    ----------
    reference : mapping
        Content of reference.json, or empty.
    inputs : Inputs
    """
    features = reference.get("features", {})
    numbers = []
    for field in inputs.numbers:
        quantiles = features.get(field.name, {}).get("quantiles")
        numbers.append(float(quantiles[len(quantiles) // 2]) if quantiles else nan)
    return tuple(numbers), tuple(_most_frequent(features.get(field.name, {})) for field in inputs.categories)


def encoded_means(reference: Mapping[str, Any], inputs: Inputs, encoding: Encoding) -> NDArray[np.float64]:
    """Return the mean of each encoded column over the training rows; 0 for numbers, which are standardised.

    Parameters
    ----------
    reference : mapping
        Content of reference.json, or empty.
    inputs : Inputs
    encoding : Encoding
        An encoding that standardises numbers.
    """
    means = np.zeros(encoding.width)
    features = reference.get("features", {})
    for position, field in enumerate(inputs.categories):
        if not encoding.reads(position):
            continue
        feature = features.get(field.name, {})
        missing = float(feature.get("missing", 0.0))
        fractions: dict[str | None, float] = {
            text: fraction * (1 - missing) for text, fraction in _level_fractions(feature).items()
        }
        for text, fraction in (fractions | {None: missing}).items():
            column, value = encoding.cell(position, text)
            means[column] += fraction * value
    return means


def _level_fractions(feature: Mapping[str, Any]) -> dict[str, float]:
    return {str(text): float(fraction) for text, fraction in feature.get("levels", {}).items()}


def _most_frequent(feature: Mapping[str, Any]) -> str | None:
    missing = float(feature.get("missing", 0.0))
    fractions: dict[str | None, float] = {None: missing}
    fractions |= {text: fraction * (1 - missing) for text, fraction in _level_fractions(feature).items()}
    return max(fractions, key=lambda text: fractions[text])
