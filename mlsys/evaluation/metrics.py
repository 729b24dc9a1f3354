"""Values of all metrics on one fold, and the numbers of metrics.json with intervals and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlsys.errors import DataError, closest
from mlsys.evaluation.intervals import bootstrap, mean_over_folds, percentile_interval
from mlsys.evaluation.metric_table import expanded, metric_names, split_name
from mlsys.evaluation.ranking import FloatArray
from mlsys.evaluation.weighted_metrics import IntArray, ScoredFold

if TYPE_CHECKING:
    import pandas as pd

Entry = dict[str, float | int | None]


def measure(fold: ScoredFold, weights: FloatArray) -> dict[str, FloatArray]:
    """Compute every metric that the fold's scores allow, under each set of weights.

    Parameters
    ----------
    fold : ScoredFold
    weights : ndarray of float64, shape (resamples, rows)
        How often each row is in the sample, rows in the order of ``fold.order``.

    Returns
    -------
    dict of str to ndarray of float64, shape (resamples,)
        NaN where a metric is undefined: roc_auc without positives or without negatives; average_precision, recall@k and
        lift@k without positives; revenue@k without known values; all of them without rows.

    Examples
    --------
    >>> fold = ScoredFold([0, 1, 0], [0.2, 0.9, 0.4], [0, 50, 0], at=[1])
    >>> once_each_and_two_of_the_hit = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    >>> measure(fold, once_each_and_two_of_the_hit)["brier"].round(4).tolist()
    [0.07, 0.02]
    """
    sample, numbers = fold.sample(weights), {}
    for name, metric, k in expanded(fold.top_k):
        if metric.needs == "probability" and not fold.is_probability:
            continue
        if metric.needs == "value" and not fold.has_values:
            numbers[name] = np.full(len(weights), np.nan)
        else:
            assert metric.compute is not None
            numbers[name] = metric.compute(sample) if k is None else metric.compute(sample, k)
    return numbers


def fold_metrics(
    label: npt.ArrayLike, probability: npt.ArrayLike, value: npt.ArrayLike | None, *, top_k: Sequence[int]
) -> dict[str, float | None]:
    """Measure the predictions of one fold.

    Parameters
    ----------
    label : array-like of {0, 1}, shape (rows,)
        What happened.
    probability : array-like of float, shape (rows,)
        Predicted probability of label 1; rows are ranked by it too.
    value : array-like of float, shape (rows,), or None
        Revenue of a row if its label is 1, in currency per month; NaN (unknown) counts 0. None: no revenue is known.
    top_k : sequence of int
        The list lengths k of the top-k metrics. A k past the rows uses all rows.

    Returns
    -------
    dict of str to float or None
        Every name of `metric_names`; None where a metric is undefined, as for roc_auc with one class only.

    Raises
    ------
    DataError
        Where there are no rows, or columns that cannot be measured.

    See Also
    --------
    mlsys.evaluation.metric_table : how each metric is defined.
    mlsys.evaluation.weighted_metrics.Sample : how ties count.

    Examples
    --------
    >>> fold = fold_metrics([0, 1, 0, 0], [0.1, 0.6, 0.6, 0.2], [0, 80, 0, 0], at=[1])
    >>> fold["roc_auc"], fold["precision@1"], fold["revenue@1"]
    (0.8333333333333334, 0.5, 40.0)
    """
    fold = ScoredFold(label, probability, value, top_k=top_k)
    numbers = measure(fold, np.ones((1, len(fold.order))))
    return {name: _json(numbers[name][0]) for name in metric_names(top_k)}


def evaluate(
    predictions: pd.DataFrame, *, top_k: Sequence[int], bootstrap_resamples: int, seed: int, confidence: float = 0.95
) -> dict[str, Any]:
    """Measure out-of-fold predictions: the content of metrics.json.

    Parameters
    ----------
    predictions : DataFrame
        One row per scored row, with the columns

        - ``id``: entity, the unit that is resampled;
        - ``as_of`` (datetime64; NaT where there is no time), ``fold`` (int);
        - ``label`` (0 or 1), ``label_complete`` (bool), ``probability`` (float64, in [0, 1]);
        - ``value`` (float64, currency per month; NaN is unknown; optional);
        - ``activity`` (float64, optional): the score of the `activity` baseline; NaN ranks last, all NaN is none;
        - ``prevalence`` (float64, optional, one value a fold): what chance predicts, known from the training rows; the
          fold's own share of positives if absent.
    top_k : sequence of int
        The list lengths k of the top-k metrics.
    bootstrap_resamples : int
        Samples of the bootstrap clustered on ``id``; 0 leaves the intervals empty.
    seed : int
        Seed of the bootstrap.
    confidence : float, default 0.95
        Share of the draws inside each interval.

    Returns
    -------
    dict
        ``overall``: name to ``{value, low, high}``, the unweighted mean over the folds, with ``folds_used`` where the
        metric is undefined on some; ``folds``: a dict per fold, in order; ``baselines``: ``chance`` (a constant
        prediction) and ``activity`` (ranking metrics only, since it has no probabilities; empty if not given), each
        like ``overall``; ``versus_activity``: overall minus activity, like ``overall``, each draw compared with
        itself. None stands for what is undefined. The same input gives the same bytes.

    Raises
    ------
    DataError
        Where there are no rows, a column is missing or holds what cannot be measured.

    Notes
    -----
    An interval holds the middle of the draws. Only for ``ece`` (`Metric.grows_when_resampled`) are the draws first
    shifted to have the value as their mean: drawing rows again adds noise to the rate in every bin, and their distance
    to the predictions can only grow by it, so that the value of a well calibrated model would lie below its own
    interval. Its low end is at least 0.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame(
    ...     {"id": [1, 2, 3, 4], "as_of": pd.Timestamp("2020-02-24"), "fold": 0, "label": [0, 1, 0, 1],
    ...      "label_complete": True, "probability": [0.1, 0.7, 0.8, 0.9], "value": [None, 50.0, None, 30.0]})
    >>> numbers = evaluate(rows, at=[1], draws=100, seed=0)
    >>> numbers["overall"]["roc_auc"]["value"], numbers["baselines"]["chance"]["precision@1"]["value"]
    (0.75, 0.5)
    """
    frame = _checked(predictions, ["id", "as_of", "fold", "label", "label_complete", "probability"])
    folds = _split(frame, [score for score in ("probability", "prevalence", "activity") if score in frame])
    is_probability = {"probability": True, "prevalence": True} | ({"activity": False} if "activity" in frame else {})
    measured = _measure(folds, is_probability, top_k=top_k, bootstrap_resamples=bootstrap_resamples, seed=seed)
    overall, activity = measured["probability"], measured.get("activity")
    return {
        "overall": overall.summary(confidence),
        "folds": [fold.facts() | overall.of_fold(number) for number, fold in enumerate(folds)],
        "baselines": {
            "chance": measured["prevalence"].summary(confidence),
            "activity": activity.summary(confidence) if activity else {},
        },
        "versus_activity": overall.minus(activity).summary(confidence) if activity else {},
    }


def paired_difference(
    predictions: pd.DataFrame,
    first: str,
    second: str,
    *,
    top_k: Sequence[int],
    bootstrap_resamples: int,
    seed: int,
    confidence: float = 0.95,
    is_probability: bool = True,
) -> dict[str, Entry]:
    """Compare two scores of the same rows, on the same draws.

    What makes a sample easy or hard moves both scores, and drops out of their difference: its interval is narrower than
    two separate ones suggest.

    Parameters
    ----------
    predictions : DataFrame
        The columns ``id``, ``fold``, ``label``, optionally ``value``, and the two scores, as for `evaluate`.
    first, second : str
        The columns of the two scores.
    top_k, bootstrap_resamples, seed, confidence
        As for `evaluate`.
    is_probability : bool, default True
        Whether both are probabilities, so that log_loss, brier and ece are compared too.

    Returns
    -------
    dict of str to {"value", "low", "high"}
        First minus second, mean over the folds.

    Raises
    ------
    DataError
        Where there are no rows, a column is missing or holds what cannot be measured.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"id": range(4), "fold": 0, "label": [0, 1, 0, 1], "a": [0.1, 0.7, 0.2, 0.9], "b": 0.5})
    >>> paired_difference(rows, "a", "b", at=[2], draws=50, seed=0)["roc_auc"]
    {'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    against = {first: is_probability, second: is_probability}
    measured = _measured(predictions, against, top_k=top_k, bootstrap_resamples=bootstrap_resamples, seed=seed)
    return measured[first].minus(measured[second]).summary(confidence)


@dataclass(frozen=True)
class ScoreComparison:
    """One score beside the first of several on the same rows.

    Attributes
    ----------
    overall, difference : dict of str to {"value", "low", "high"}
        Its metrics, and its metrics minus the first score's.
    """

    overall: dict[str, Entry]
    difference: dict[str, Entry]


def compare_scores(
    predictions: pd.DataFrame,
    scores: Sequence[str],
    *,
    top_k: Sequence[int],
    bootstrap_resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> dict[str, ScoreComparison]:
    """Measure several probabilities of the same rows on the same draws, each beside the first.

    Parameters
    ----------
    predictions : DataFrame
        The columns ``id``, ``fold``, ``label``, optionally ``value``, and the scores, as for `evaluate`.
    scores : sequence of str
        Columns of probabilities, the one to compare with first.
    top_k, bootstrap_resamples, seed, confidence
        As for `evaluate`.

    Returns
    -------
    dict of str to Beside
        One for each of `scores`; the difference of the first is zero.

    See Also
    --------
    paired_difference : the same for two.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"id": range(4), "fold": 0, "label": [0, 1, 0, 1], "a": [0.1, 0.7, 0.2, 0.9], "b": 0.5})
    >>> side_by_side(rows, ["b", "a"], at=[2], draws=50, seed=0)["a"].difference["roc_auc"]
    {'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    measured = _measured(
        predictions, dict.fromkeys(scores, True), top_k=top_k, bootstrap_resamples=bootstrap_resamples, seed=seed
    )
    first = measured[scores[0]]
    return {
        name: ScoreComparison(each.summary(confidence), each.minus(first).summary(confidence))
        for name, each in measured.items()
    }


def _measured(
    predictions: pd.DataFrame, scores: Mapping[str, bool], *, top_k: Sequence[int], bootstrap_resamples: int, seed: int
) -> dict[str, _Measured]:
    folds = _split(_checked(predictions, ["id", "fold", "label", *scores]), list(scores))
    return _measure(folds, scores, top_k=top_k, bootstrap_resamples=bootstrap_resamples, seed=seed)


@dataclass(frozen=True)
class _Measured:
    """One score's metrics on every fold: as they are, and in every draw of the bootstrap."""

    value: Mapping[str, FloatArray]  # name: shape (folds, 1)
    sample: Mapping[str, FloatArray]  # name: shape (folds, resamples)
    is_difference: bool = False

    def minus(self, other: _Measured) -> _Measured:
        both = [name for name in self.value if name in other.value]
        return _Measured(
            {name: self.value[name] - other.value[name] for name in both},
            {name: self.sample[name] - other.sample[name] for name in both},
            is_difference=True,
        )

    def summary(self, confidence: float) -> dict[str, Entry]:
        return {name: self._entry(name, confidence) for name in self.value}

    def of_fold(self, number: int) -> dict[str, float | None]:
        return {name: _json(values[number, 0]) for name, values in self.value.items()}

    def _entry(self, name: str, confidence: float) -> Entry:
        value = float(mean_over_folds(self.value[name])[0])
        biased = split_name(name)[0].grows_when_resampled
        samples = mean_over_folds(self.sample[name])
        low, high = percentile_interval(samples, confidence, centre=value if biased else None)
        if biased and not self.is_difference:
            low = float(np.maximum(low, 0.0))
        entry: Entry = {"value": _json(value), "low": _json(low), "high": _json(high)}
        used = int((~np.isnan(self.value[name])).sum())
        return entry if used == len(self.value[name]) else entry | {"folds_used": used}


@dataclass(frozen=True)
class _Fold:
    """The columns of one fold."""

    number: int
    as_of: npt.NDArray[np.datetime64] | None
    label_complete: bool
    entity: IntArray
    label: FloatArray
    value: FloatArray | None
    score: Mapping[str, FloatArray]

    def facts(self) -> dict[str, Any]:
        known = np.unique([] if self.as_of is None else self.as_of[~np.isnat(self.as_of)])
        return {
            "as_of": _day(known[0]) if known.size else None,
            **({"as_of_last": _day(known[-1])} if known.size > 1 else {}),
            "fold": self.number,
            "rows": len(self.label),
            "positives": int(self.label.sum()),
            "label_complete": self.label_complete,
        }


def _measure(
    folds: Sequence[_Fold],
    is_probability: Mapping[str, bool],
    *,
    top_k: Sequence[int],
    bootstrap_resamples: int,
    seed: int,
) -> dict[str, _Measured]:
    """Measure scores on every fold, as it is and in every draw; all scores see the same draws."""
    scored = [
        ScoredFold(fold.label, fold.score[score], fold.value, top_k=top_k, is_probability=probability)
        for score, probability in is_probability.items()
        for fold in folds
    ]
    entities = [folds[number % len(folds)].entity[rows.order] for number, rows in enumerate(scored)]
    values = [measure(rows, np.ones((1, len(rows.order)))) for rows in scored]
    nothing = [dict.fromkeys(value, np.empty(0)) for value in values]
    statistics = [partial(measure, rows) for rows in scored]
    samples = (
        bootstrap(statistics, entities, resamples=bootstrap_resamples, seed=seed) if bootstrap_resamples else nothing
    )
    measured = {}
    for number, score in enumerate(is_probability):
        own = slice(number * len(folds), (number + 1) * len(folds))
        measured[score] = _Measured(_by_name(values[own], top_k), _by_name(samples[own], top_k))
    return measured


def _by_name(numbers: Sequence[Mapping[str, FloatArray]], top_k: Sequence[int]) -> dict[str, FloatArray]:
    return {name: np.stack([fold[name] for fold in numbers]) for name in metric_names(top_k) if name in numbers[0]}


def _split(frame: pd.DataFrame, scores: Sequence[str]) -> list[_Fold]:
    """Return the folds in order of their number."""
    numbers = frame["fold"].to_numpy()
    coded = frame.assign(
        entity=frame["id"].factorize(sort=True)[0]
    )  # sorted: the draws do not depend on the rows' order
    return [_fold(coded[numbers == number], int(number), scores) for number in np.unique(numbers)]


def _fold(frame: pd.DataFrame, number: int, scores: Sequence[str]) -> _Fold:
    label = _floats(frame, "label")
    score = {column: _floats(frame, column) for column in scores}
    score.setdefault("prevalence", np.full(len(label), label.mean()))
    if "activity" in score:
        score["activity"] = np.where(np.isnan(score["activity"]), -np.inf, score["activity"])
    return _Fold(
        number=number,
        as_of=frame["as_of"].to_numpy(dtype="datetime64[us]") if "as_of" in frame else None,
        label_complete="label_complete" not in frame or bool(frame["label_complete"].all()),
        entity=frame["entity"].to_numpy(dtype=np.intp),
        label=label,
        value=_floats(frame, "value") if "value" in frame else None,
        score=score,
    )


def _checked(predictions: pd.DataFrame, required: Sequence[str]) -> pd.DataFrame:
    """Return the predictions without optional columns that hold nothing."""
    missing = [column for column in required if column not in predictions]
    if missing:
        near = ", ".join(filter(None, (closest(column, map(str, predictions.columns)) for column in missing)))
        raise DataError(
            f"The predictions lack {', '.join(missing)}; they have {', '.join(map(str, predictions.columns))}"
            f"{f' (closest: {near})' if near else ''}. Give one column of each name."
        )
    if predictions.empty:
        raise DataError("The predictions have no rows, so there is nothing to measure: check the split's folds.")
    unnamed = int(predictions["id"].isna().sum())
    if unnamed:
        raise DataError(f"{unnamed} of {len(predictions)} predictions have no id, but entities are what is resampled.")
    empty = [column for column in ("value", "activity") if column in predictions and predictions[column].isna().all()]
    return predictions.drop(columns=empty)


def _floats(frame: pd.DataFrame, column: str) -> FloatArray:
    try:
        return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"Column {column} of the predictions must hold numbers: {error}") from error


def _day(moment: np.datetime64) -> str:
    """Write a date, with its time unless that is midnight."""
    return str(moment.astype("datetime64[s]")).removesuffix("T00:00:00")


def _json(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
