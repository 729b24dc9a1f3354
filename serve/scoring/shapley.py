"""Reasons for a model that is a closed box: sampled Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.input_column import InputColumn
from mlsys.runs.logistic import logit
from serve.scoring.fields import Block, Categories, Numbers
from serve.scoring.reasons import Explained

ORDERS = 8  # in which fields are changed

Record: TypeAlias = tuple[Numbers, Categories]


def sampled_shapley(
    scores: Callable[[Block], NDArray[np.float64]], fields: Sequence[InputColumn], typical: Record, record: Record
) -> Explained:
    """Let a typical record become another one field by field, in several orders, and average what each change adds.

    Parameters
    ----------
    scores : callable
        From a block to the score of each row.
    fields : sequence of InputColumn
    typical, record : tuple of numbers and categories

    Notes
    -----
    Štrumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature contributions".
    The orders are the same each time. Along each of them the changes add up, and so do their means.
    """
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(fields)).tolist() for _ in range(ORDERS)]
    records = [step for order in orders for step in _steps(fields, typical, record, order)]
    margins = logit(scores(Block.of(records))).reshape(ORDERS, len(fields) + 1)
    parts = np.zeros(len(fields))
    for order, changes in zip(orders, np.diff(margins, axis=1), strict=True):
        parts[order] += changes / ORDERS
    named = {field.name: part for field, part in zip(fields, parts.tolist(), strict=True)}
    return Explained(float(margins[0, 0]), named, log_odds=True)


def _steps(fields: Sequence[InputColumn], typical: Record, record: Record, order: Sequence[int]) -> list[Record]:
    """Return the typical record, and it after each change."""
    numbers, categories = list(typical[0]), list(typical[1])
    steps: list[Record] = [(tuple(numbers), tuple(categories))]
    for place in order:
        position = sum(field.number == fields[place].number for field in fields[:place])
        if fields[place].number:
            numbers[position] = record[0][position]
        else:
            categories[position] = record[1][position]
        steps.append((tuple(numbers), tuple(categories)))
    return steps
