"""Uplift metrics: how many more conversions a ranking by uplift gains than treating rows at random.

No row shows both what happens with the treatment and without it, so the metrics compare the conversion rates of the two
arms among the rows at the top of the ranking. They are meaningful where the treatment was assigned at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlsys.errors import DataError
from mlsys.evaluation import intervals
from mlsys.evaluation.bootstrap import bootstrap, mean_over_folds
from mlsys.evaluation.metric_table import uplift_metrics
from mlsys.evaluation.ranking import FloatArray, ratio

if TYPE_CHECKING:
    import pandas as pd

IntArray = npt.NDArray[np.intp]
Entry = dict[str, float | int | None]

COLUMNS = ("treated", "uplift")  # of the predictions of an uplift model
FRACTIONS = np.arange(1, 11) / 10  # of the rows, at which the curve is computed


class UpliftFold:
    """Rows of one fold in descending order of uplift, prepared for many sets of row weights.

    Parameters
    ----------
    label, treated : array-like of {0, 1}, shape (rows,)
        Labels, and whether each row was treated.
    uplift : array-like of float, shape (rows,)
        Predicted uplifts; rows with the same one are taken in random order.

    Attributes
    ----------
    order : ndarray of int, shape (rows,)
        Positions of the input rows in descending order of uplift. Weights must have this order.

    Raises
    ------
    DataError
        If an uplift or a treatment is missing.
    """

    def __init__(self, label: npt.ArrayLike, treated: npt.ArrayLike, uplift: npt.ArrayLike) -> None:
        labels, arms, scores = (np.asarray(column, dtype=np.float64) for column in (label, treated, uplift))
        if not (np.isfinite(scores).all() and np.isin(arms, (0, 1)).all()):
            raise DataError(
                "Uplift metrics need an uplift and a treatment, 0 or 1, in every row: leave the others out."
            )
        self.order: IntArray = np.argsort(-scores, kind="stable")
        self.labels, self.arms, scores = labels[self.order], arms[self.order], scores[self.order]
        self.starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))

    def sample(self, weights: FloatArray) -> UpliftSample:
        """Return the sums that metrics are computed from, under each set of weights, shape (resamples, rows)."""
        return UpliftSample(self, weights)

    def rarest(self, fraction: float) -> float:
        """Return the rows of the rarest combination of arm and class among the top fraction of the rows."""
        top = slice(0, max(1, round(fraction * len(self.labels))))
        cells = 2 * self.arms[top] + self.labels[top]
        return float(np.bincount(cells.astype(np.intp), minlength=4).min())


class UpliftSample:
    """Conversion rates of both arms at the top of a ranking by uplift, under many sets of weights.

    Parameters
    ----------
    fold : UpliftFold
    weights : ndarray of float64, shape (resamples, rows)
        Weights of the rows, in the order of ``fold.order``.
    """

    def __init__(self, fold: UpliftFold, weights: FloatArray) -> None:
        self.fold, self.weights = fold, weights

    @cached_property
    def curve(self) -> FloatArray:
        """Gain from treating each of `FRACTIONS` of the rows, in conversions per row, shape (resamples, 10).

        It is the fraction times the difference of the conversion rates of treated and of control rows among the top
        fraction by uplift: Gutierrez and Gérardy (2017), Causal inference and uplift modelling, PMLR 67, equation 5,
        divided by the number of rows. It equals the Qini curve of Radcliffe (2007), Using control groups to target on
        predicted lift, where the arms have the same size, and does not depend on their sizes otherwise. NaN where an
        arm has no rows among the top fraction.
        """
        fold = self.fold
        rows, treated, hits, control_hits = (
            self._running(columns)
            for columns in (None, fold.arms, fold.arms * fold.labels, (1 - fold.arms) * fold.labels)
        )
        gains = np.empty((len(self.weights), len(FRACTIONS)))
        for number in range(len(self.weights)):
            at = FRACTIONS * rows[number, -1]
            in_arm, positive, in_control = (
                np.interp(at, rows[number], sums[number]) for sums in (treated, hits, control_hits)
            )
            gains[number] = FRACTIONS * (ratio(positive, in_arm) - ratio(in_control, at - in_arm))
        return gains

    def uplift(self, fraction: float) -> FloatArray:
        """Return the difference of the conversion rates among the top fraction, one of `FRACTIONS`."""
        at: FloatArray = self.curve[:, round(10 * fraction) - 1] / fraction
        return at

    def qini(self) -> FloatArray:
        """Return the area between the curve and the straight line of random targeting, by trapezoids.

        It is not normalised by that of a perfect ranking, which nobody knows: it is the mean gain over random
        targeting, in conversions per row, over all list lengths.
        """
        above = self.curve - FRACTIONS * self.curve[:, -1:]
        area: FloatArray = above[:, :-1].sum(axis=1) / len(FRACTIONS)  # it is 0 at both ends
        return area

    def _running(self, numbers: FloatArray | None) -> FloatArray:
        """Return the sums of the weighted numbers through each group of ties, from 0, shape (resamples, groups + 1)."""
        weighted = self.weights if numbers is None else self.weights * numbers
        sums = np.cumsum(np.add.reduceat(weighted, self.fold.starts, axis=1), axis=1)
        return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)


def measure_uplift(fold: UpliftFold, weights: FloatArray) -> dict[str, FloatArray]:
    """Compute every uplift metric, and the gains of the curve by its fractions, under each set of weights.

    Parameters
    ----------
    fold : UpliftFold
    weights : ndarray of float64, shape (resamples, rows)
        Weights of the rows, in the order of ``fold.order``.

    Examples
    --------
    >>> fold = UpliftFold([1, 0, 0, 1], [1, 0, 1, 0], [0.5, 0.5, 0.1, 0.1])  # the treatment works in the first two rows
    >>> {name: value.round(2).tolist() for name, value in measure_uplift(fold, np.ones((1, 4))).items()}["qini"]
    [0.25]
    """
    sample = fold.sample(weights)
    numbers = {}
    for metric in uplift_metrics():
        assert metric.compute is not None
        numbers[metric.name] = metric.compute(sample)
    return numbers | {_gain(fraction): sample.curve[:, step] for step, fraction in enumerate(FRACTIONS)}


def has_uplift(predictions: pd.DataFrame) -> bool:
    """Return whether predictions are those of an uplift model, with the columns ``treated`` and ``uplift``."""
    return all(column in predictions for column in COLUMNS)


def fold_uplift_metrics(predictions: pd.DataFrame) -> dict[str, float | None]:
    """Return the uplift metrics of one fold; empty if the predictions have no uplift."""
    if not has_uplift(predictions):
        return {}
    fold = _fold(predictions)
    numbers = measure_uplift(fold, np.ones((1, len(fold.order))))
    return {metric.name: _json(numbers[metric.name][0]) for metric in uplift_metrics()}


@dataclass(frozen=True)
class UpliftResults:
    """Uplift metrics in the form of metrics.json.

    Attributes
    ----------
    overall, chance : dict of str to {"value", "low", "high"}
        Metrics of the model, and of random targeting, whose uplift is the average effect of the treatment.
    folds : list of dict
        Metrics of each fold, in order.
    curve : list of {"fraction", "value", "low", "high"}
        Gain in conversions per row from treating each fraction of the rows, the highest uplift first.
    """

    overall: dict[str, Entry]
    chance: dict[str, Entry]
    folds: list[dict[str, float | None]]
    curve: list[Entry]


def evaluate_uplift(
    predictions: pd.DataFrame, *, bootstrap_resamples: int, seed: int, confidence: float
) -> UpliftResults:
    """Evaluate the uplifts of out-of-fold predictions.

    Parameters
    ----------
    predictions : DataFrame
        Rows with the columns ``id``, ``fold``, ``label``, ``treated`` (0 or 1) and ``uplift``.
    bootstrap_resamples, seed, confidence
        As for `mlsys.evaluation.metrics.evaluate`.

    Notes
    -----
    Intervals are t intervals on the bootstrap standard error, with as many degrees of freedom as the rarest combination
    of arm and class has rows among the top fraction, minus one for each fold. With too few, there is no interval.
    """
    coded = predictions.assign(entity=predictions["id"].factorize(sort=True)[0])
    parts = [part for _, part in coded.groupby("fold", sort=True)]
    folds = [_fold(part) for part in parts]
    entities = [part["entity"].to_numpy(dtype=np.intp)[fold.order] for part, fold in zip(parts, folds, strict=True)]
    values = [measure_uplift(fold, np.ones((1, len(fold.order)))) for fold in folds]
    samples = (
        bootstrap([partial(measure_uplift, fold) for fold in folds], entities, resamples=bootstrap_resamples, seed=seed)
        if bootstrap_resamples
        else [dict.fromkeys(value, np.empty(0)) for value in values]
    )
    entries = {
        name: _entry(
            np.stack([fold[name] for fold in values]),
            np.stack([fold[name] for fold in samples]),
            sum(fold.rarest(_top(name)) for fold in folds) - len(folds),
            confidence,
        )
        for name in values[0]
    }
    names = [metric.name for metric in uplift_metrics()]
    average = entries[_gain(1.0)]
    none: Entry = (
        {"value": 0.0, "low": 0.0, "high": 0.0} if bootstrap_resamples else {"value": 0.0, "low": None, "high": None}
    )
    return UpliftResults(
        overall={name: entries[name] for name in names},
        chance={name: none if name == "qini" else average for name in names},
        folds=[{name: _json(fold[name][0]) for name in names} for fold in values],
        curve=[_at(float(fraction), entries[_gain(fraction)]) for fraction in FRACTIONS],
    )


def with_uplift(numbers: dict[str, Any], predictions: pd.DataFrame, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the content of metrics.json with the uplift metrics, if the predictions have an uplift.

    Parameters
    ----------
    numbers : dict
        Content of metrics.json.
    predictions : DataFrame
    **settings
        See `evaluate_uplift`.
    """
    if not has_uplift(predictions):
        return numbers
    results = evaluate_uplift(predictions, **settings)
    chance = numbers["baselines"]["chance"] | results.chance
    return numbers | {
        "overall": numbers["overall"] | results.overall,
        "folds": [fold | more for fold, more in zip(numbers["folds"], results.folds, strict=True)],
        "baselines": numbers["baselines"] | {"chance": chance},
        "uplift_curve": results.curve,
    }


def _fold(predictions: pd.DataFrame) -> UpliftFold:
    return UpliftFold(predictions["label"], predictions["treated"], predictions["uplift"])


def _entry(value: FloatArray, sample: FloatArray, freedom: float, confidence: float) -> Entry:
    """Return the mean over the folds with its interval; value and sample have the shape (folds, resamples)."""
    used = ~np.isnan(value[:, 0])
    mean = float(mean_over_folds(value)[0])
    known = intervals.Uncertainty(mean_over_folds(sample), confidence, int(freedom))
    low, high = intervals.NONE
    if known.defined.size > 1 and known.freedom >= intervals.MIN_FREEDOM and known.error > 0:
        low, high = intervals.t_interval(mean, known)
    entry: Entry = {"value": _json(mean), "low": _json(low), "high": _json(high)}
    if known.defined.size > 1 and np.isnan(low):
        entry["too_few"] = True
    return entry if used.all() else entry | {"folds_used": int(used.sum())}


def _at(fraction: float, entry: Entry) -> Entry:
    return Entry(fraction=fraction) | entry


def _gain(fraction: float) -> str:
    return f"gain_{100 * fraction:.0f}"


def _top(name: str) -> float:
    """Return the fraction of the rows that a metric or a gain is about."""
    number = name.rpartition("_")[2]
    return int(number) / 100 if number.isdigit() else 1.0


def _json(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
