"""interpret's explainable boosting machine: a sum of table look-ups, without its library."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.ebm_terms import Bins, bin_count, bins_of_term, check_terms
from mlsys.runs.logistic import scalar_sigmoid, sigmoid
from serve.scoring.encoding import Encoding, native_codes
from serve.scoring.fields import Categories, Numbers, RecordBlock
from serve.scoring.reasons import Explained, folded
from serve.scoring.skops_reader import Node

MISSING = 0  # the bin of missing values

Floats: TypeAlias = NDArray[np.float64]


class EbmPath:
    """An explainable boosting machine, summed in interpret's order and precision.

    Parameters
    ----------
    model : Node
        The saved ExplainableBoostingClassifier.
    encoder : Node
        The encoder in front of it.
    encoding : Encoding
        The same encoder as tables.

    Raises
    ------
    RunError
        If a term does not fit the columns of the encoder.
    """

    def __init__(self, model: Node, encoder: Node, encoding: Encoding) -> None:
        check_terms(model.state)
        if int(model["n_features_in_"]) != encoding.width:
            raise ValueError(f"{model['n_features_in_']} columns instead of {encoding.width}")
        self._encoding, self._intercept = encoding, float(model["intercept_"][0])
        labels = _labels(encoder, encoding)
        self._binnings: list[_Binning] = []
        self._terms: list[_Term] = []
        known: dict[tuple[int, int], int] = {}
        for columns, scores in zip(model["term_features_"], model["term_scores_"], strict=True):
            positions = []
            for column in map(int, columns):
                bins = bins_of_term(model["bins_"][column], columns)
                if (column, id(bins)) not in known:
                    known[column, id(bins)] = len(self._binnings)
                    self._binnings.append(_Binning.of(column, bins, labels.get(column)))
                positions.append(known[column, id(bins)])
            self._terms.append(_Term(tuple(map(int, columns)), tuple(positions), scores, scores.ravel().tolist()))
        weights = model["bin_weights_"]
        self._shapley = [shapley_values(term.scores, each) for term, each in zip(self._terms, weights, strict=True)]

    def one(self, numbers: Numbers, categories: Categories) -> float:
        """Return the score of one record."""
        bins, margin = self._bins(numbers, categories), self._intercept
        for term in self._terms:
            margin += term.part(bins)
        return scalar_sigmoid(margin)

    def many(self, block: RecordBlock) -> NDArray[np.float64]:
        """Return the score of each row."""
        rows = self._encoding.rows(block, np.float64)
        bins = [binning.bins(rows[:, binning.column]) for binning in self._binnings]
        margins = np.full(len(block), self._intercept)
        for term in self._terms:
            margins += term.scores[tuple(bins[position] for position in term.binnings)]
        return sigmoid(margins)

    def explain(self, numbers: Numbers, categories: Categories) -> Explained:
        """Return the Shapley values of the terms, added up by field.

        They compare with training rows whose columns are independent; the base is the mean log odds of such rows.
        """
        bins = self._bins(numbers, categories)
        columns: list[int] = []
        parts: list[float] = []
        for term, (_, values) in zip(self._terms, self._shapley, strict=True):
            cell = tuple(bins[position] for position in term.binnings)
            columns += term.columns
            parts += [float(value[cell]) for value in values]
        base = self._intercept + sum(mean for mean, _ in self._shapley)
        return Explained(base, folded([self._encoding.sources[column] for column in columns], parts), log_odds=True)

    def _bins(self, numbers: Numbers, categories: Categories) -> list[int]:
        row = self._encoding.row(numbers, categories)
        return [binning.bin(row[binning.column]) for binning in self._binnings]


def shapley_values(scores: Floats, weights: Floats) -> tuple[float, list[Floats]]:
    """Divide what a term adds among its columns.

    Parameters
    ----------
    scores : ndarray of float64
        What the term adds, by the bins of its columns.
    weights : ndarray of float64
        Weight of the training rows in each cell, with the shape of ``scores``.

    Returns
    -------
    mean : float
        What the term adds on average if its columns are independent.
    values : list of ndarray
        Shapley values of each column, each with the shape of ``scores``; ``mean`` and all of them add up to ``scores``.

    Notes
    -----
    Štrumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature contributions".

    Examples
    --------
    >>> mean, (first, second) = shapley_values(np.array([[0.0, 0.0], [0.0, 4.0]]), np.ones((2, 2)))
    >>> mean, first.tolist(), second.tolist()
    (1.0, [[-0.5, -1.5], [0.5, 1.5]], [[-0.5, 0.5], [-1.5, 1.5]])
    """
    axes = range(scores.ndim)
    shares = [weights.sum(axis=tuple(other for other in axes if other != axis), keepdims=True) for axis in axes]
    means: dict[frozenset[int], Floats] = {}  # by the columns that are known
    for known in (frozenset(each) for count in range(scores.ndim + 1) for each in combinations(axes, count)):
        mean = scores
        for axis in set(axes) - known:
            mean = (mean * shares[axis]).sum(axis=axis, keepdims=True) / weights.sum()
        means[known] = mean
    values = []
    for axis in axes:
        value = np.zeros_like(scores)
        for known in (each for each in means if axis not in each):
            orders = comb(scores.ndim - 1, len(known)) * scores.ndim
            value = value + (means[known | {axis}] - means[known]) / orders
        values.append(value)
    return float(means[frozenset()].item()), values


@dataclass(frozen=True)
class _Binning:
    """How one column is divided into bins, 0 being that of missing values.

    Attributes
    ----------
    column : int
    cuts : list of float
        Smallest values of the bins of a number, from the second on.
    codes : list of int or None
        The bin of each code of a native category; None for a number.
    """

    column: int
    cuts: list[float]
    codes: list[int] | None

    @classmethod
    def of(cls, column: int, bins: Bins, labels: Sequence[str] | None) -> _Binning:
        if isinstance(bins, Mapping):
            if labels is None:
                raise ValueError(f"column {column} is no category of the encoder")
            return cls(column, [], [bins.get(label, bin_count(bins) - 1) for label in labels])
        if labels is not None:
            raise ValueError(f"column {column} is a category of the encoder")
        return cls(column, bins.tolist(), None)

    def bin(self, value: float) -> int:
        if value != value:  # only NaN differs from itself
            return MISSING
        return bisect_right(self.cuts, value) + 1 if self.codes is None else self.codes[int(value)]

    def bins(self, values: Floats) -> NDArray[np.intp]:
        missing = np.isnan(values)
        if self.codes is None:
            found = np.searchsorted(self.cuts, values, side="right") + 1
        else:
            found = np.array(self.codes, dtype=np.intp)[np.where(missing, 0, values).astype(np.intp)]
        return np.where(missing, MISSING, found)


@dataclass(frozen=True)
class _Term:
    """One additive term.

    Attributes
    ----------
    columns, binnings : tuple of int
        Its encoded columns, and their positions among the binnings.
    scores : ndarray of float64
        What it adds, by the bins of its columns.
    flat : list of float
        The same in one list, which is faster to read for a single record.
    """

    columns: tuple[int, ...]
    binnings: tuple[int, ...]
    scores: Floats
    flat: list[float]

    def part(self, bins: Sequence[int]) -> float:
        index = 0
        for position, size in zip(self.binnings, self.scores.shape, strict=True):
            index = index * size + bins[position]
        return self.flat[index]


def _labels(encoder: Node, encoding: Encoding) -> dict[int, list[str]]:
    """Return the labels of each native category column, in the order of their codes, by encoded column."""
    if encoder.kind != "mlsys.NativeColumns":
        return {}
    first = encoding.width - len(encoder["categories_"])
    return {first + offset: list(native_codes(encoder, name)) for offset, name in enumerate(encoder["categories_"])}
