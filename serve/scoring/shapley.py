"""Sampled Shapley values, which explain any model as a black box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.input_column import InputColumn
from mlsys.runs.logistic import logit
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.reasons import Explained

ORDERS = 8  # number of random orders in which the fields are changed

Record: TypeAlias = tuple[Numbers, Categories]


def sampled_shapley(
    scores: Callable[[RecordBlock], NDArray[np.float64]], fields: Sequence[InputColumn], typical: Record, record: Record
) -> Explained:
    """Turn a typical record into another one field by field, in several orders, and average what each change adds.

    Parameters
    ----------
    scores : callable
        Function that returns the score of each row of a block.
    fields : sequence of InputColumn
    typical, record : tuple of numbers and categories

    Notes
    -----
    Štrumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature contributions".
    The orders are the same in every call. The changes along each order add up to the difference of the two scores; so
    do their means.
    """
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(fields)).tolist() for _ in range(ORDERS)]
    records = [step for order in orders for step in _steps(fields, typical, record, order)]
    margins = logit(scores(RecordBlock.of(records))).reshape(ORDERS, len(fields) + 1)
    parts = np.zeros(len(fields))
    for order, changes in zip(orders, np.diff(margins, axis=1), strict=True):
        parts[order] += changes / ORDERS
    named = {field.name: part for field, part in zip(fields, parts.tolist(), strict=True)}
    return Explained(float(margins[0, 0]), named, log_odds=True)


def _steps(fields: Sequence[InputColumn], typical: Record, record: Record, order: Sequence[int]) -> list[Record]:
    """Return the typical record, then the record after each change."""
    numbers, categories = list(typical[0]), list(typical[1])
    steps: list[Record] = [(tuple(numbers), tuple(categories))]
    for index in order:
        position = sum(field.number == fields[index].number for field in fields[:index])
        if fields[index].number:
            numbers[position] = record[0][position]
        else:
            categories[position] = record[1][position]
        steps.append((tuple(numbers), tuple(categories)))
    return steps
