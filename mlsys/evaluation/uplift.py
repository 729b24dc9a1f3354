"""Uplift metrics: how many more conversions a ranking by uplift gains than treating rows at random.

No row shows both what happens with the treatment and without it, so the metrics compare the conversion rates of the two
arms among the rows at the top of the ranking. They are meaningful where the treatment was assigned at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation import intervals
from mlsys.evaluation.bootstrap import bootstrap, mean_over_folds
from mlsys.evaluation.metric_table import uplift_metrics
from mlsys.evaluation.ranking import FloatArray
from mlsys.evaluation.uplift_sample import FRACTIONS, UpliftFold

if TYPE_CHECKING:
    import pandas as pd

Entry = dict[str, float | int | None]

COLUMNS = ("treated", "uplift")  # of the predictions of an uplift model


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
    weight = predictions.get(SAMPLING_WEIGHT)
    return UpliftFold(predictions["label"], predictions["treated"], predictions["uplift"], weight)


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
