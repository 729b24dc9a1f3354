"""Compute all metrics of a fold, and the content of metrics.json with intervals and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.errors import DataError, closest
from mlsys.evaluation import intervals
from mlsys.evaluation.bootstrap import bootstrap, mean_over_folds
from mlsys.evaluation.fold_names import fold_times
from mlsys.evaluation.metric_table import expanded, metric_names, split_name
from mlsys.evaluation.ranking import FloatArray
from mlsys.evaluation.timing import outcomes_by_day
from mlsys.evaluation.uplift import with_uplift
from mlsys.evaluation.weighted_metrics import IntArray, ScoredFold
from mlsys.pipeline.weights import mean
from mlsys.text import counted, joined

if TYPE_CHECKING:
    import pandas as pd

Entry = dict[str, float | int | None]


def measure(fold: ScoredFold, weights: FloatArray, only: str | None = None) -> dict[str, FloatArray]:
    """Compute every metric that is defined for the fold's scores, under each set of weights.

    Parameters
    ----------
    fold : ScoredFold
        Labels and scores.
    weights : ndarray of float64, shape (resamples, rows)
        Weights of the rows, in the order of ``fold.order``.
    only : str, optional
        Name of a single metric to compute.

    Returns
    -------
    dict of str to ndarray of float64, shape (resamples,)
        Values by metric, NaN if undefined: roc_auc without positives or without negatives; average_precision, recall@k
        and lift@k without positives; revenue@k without known values; metrics of the head of a list that a sample is too
        coarse for, see `ScoredFold.resolves`; all metrics without rows.

    Examples
    --------
    >>> fold = ScoredFold([0, 1, 0], [0.2, 0.9, 0.4], [0, 50, 0], top_k=[1])
    >>> weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])  # all rows once; the positive twice, one negative
    >>> measure(fold, weights)["brier"].round(4).tolist()
    [0.07, 0.02]
    """
    sample, numbers = fold.sample(weights), {}
    for name, metric, k in expanded(fold.top_k):
        if (metric.needs == "probability" and not fold.is_probability) or only not in (None, name):
            continue
        if (metric.needs == "value" and not fold.has_values) or (metric.by_rank and not fold.resolves(k)):
            numbers[name] = np.full(len(weights), np.nan)
        else:
            assert metric.compute is not None
            numbers[name] = metric.compute(sample) if k is None else metric.compute(sample, k)
    return numbers


def fold_metrics(
    label: npt.ArrayLike,
    probability: npt.ArrayLike,
    value: npt.ArrayLike | None,
    *,
    top_k: Sequence[int],
    weight: npt.ArrayLike | None = None,
) -> dict[str, float | None]:
    """Compute all metrics of one fold.

    Parameters
    ----------
    label : array-like of {0, 1}, shape (rows,)
        Labels.
    probability : array-like of float, shape (rows,)
        Predicted probabilities of label 1, which also rank the rows.
    value : array-like of float, shape (rows,), or None
        Revenue of each row if its label is 1, in currency per month; NaN (unknown) counts as 0. None: revenue is
        unknown for all rows.
    top_k : sequence of int
        List lengths k of the top-k metrics. A k larger than the fold uses all rows.
    weight : array-like of float, shape (rows,), optional
        Rows that each row stands for.

    Returns
    -------
    dict of str to float or None
        Value of each of `metric_names`; None if undefined, such as roc_auc with a single class.

    Raises
    ------
    DataError
        If there are no rows, or labels or probabilities are invalid.

    See Also
    --------
    mlsys.evaluation.metric_table : definitions of the metrics.
    mlsys.evaluation.weighted_metrics.Sample : treatment of ties.

    Examples
    --------
    >>> fold = fold_metrics([0, 1, 0, 0], [0.1, 0.6, 0.6, 0.2], [0, 80, 0, 0], top_k=[1])
    >>> fold["roc_auc"], fold["precision@1"], fold["revenue@1"]
    (0.8333333333333334, 0.5, 40.0)
    """
    fold = ScoredFold(label, probability, value, top_k=top_k, weight=weight)
    numbers = measure(fold, np.ones((1, len(fold.order))))
    return {name: _json(numbers[name][0]) for name in metric_names(top_k)}


def evaluate(
    predictions: pd.DataFrame, *, top_k: Sequence[int], bootstrap_resamples: int, seed: int, confidence: float = 0.95
) -> dict[str, Any]:
    """Evaluate out-of-fold predictions; return the content of metrics.json.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold rows with the columns

        - ``id``: entity, the unit that is resampled;
        - ``as_of`` (datetime64; NaT without a time), ``fold`` (int);
        - ``label`` (0 or 1), ``label_complete`` (bool), ``probability`` (float64, in [0, 1]);
        - ``value`` (float64, currency per month; NaN if unknown; optional);
        - ``activity`` (float64, optional): score of the `activity` baseline; NaN ranks last, and without any value
          there is no such baseline;
        - ``prevalence`` (float64, optional, constant per fold): prediction of the `chance` baseline, which is the
          fraction of positives in the training rows; by default that of the fold itself;
        - ``sampling_weight`` (float64, optional): rows that each row stands for, if negatives were sampled;
        - ``treated`` (0 or 1) and ``uplift`` (float64), optional: for the uplift metrics.
    top_k : sequence of int
        List lengths k of the top-k metrics.
    bootstrap_resamples : int
        Number of bootstrap resamples, clustered on ``id``; with 0 the intervals are empty.
    seed : int
        Seed of the bootstrap.
    confidence : float, default 0.95
        Fraction of the resamples inside each interval.

    Returns
    -------
    dict
        ``overall``: ``{value, low, high}`` by metric, the unweighted mean over the folds, with ``folds_used`` if the
        metric is undefined in some; ``folds``: one dict per fold, in order; ``baselines``: ``chance`` (a constant
        prediction) and ``activity`` (ranking metrics only, because its scores are not probabilities; empty without
        such scores), both like ``overall``; ``versus_activity``: overall minus activity, like ``overall``, paired by
        resample; what `outcomes_by_day` returns; for an uplift model ``uplift_curve``: the gain at each tenth of the
        rows. None marks undefined values. The same input gives the same bytes.

    Raises
    ------
    DataError
        If there are no rows, or a column is missing or has invalid values.

    Notes
    -----
    An interval covers the expected value of a metric: its mean over future folds of the same sizes, of entities from
    the same process. See `mlsys.evaluation.intervals` for the methods, which differ by metric. With too few positives
    (or negatives) for any of them, ``low`` and ``high`` are None, and ``too_few`` is true.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame(
    ...     {"id": [1, 2, 3, 4], "as_of": pd.Timestamp("2020-02-24"), "fold": 0, "label": [0, 1, 0, 1],
    ...      "label_complete": True, "probability": [0.1, 0.7, 0.8, 0.9], "value": [None, 50.0, None, 30.0]})
    >>> numbers = evaluate(rows, top_k=[1], bootstrap_resamples=100, seed=0)
    >>> numbers["overall"]["roc_auc"]["value"], numbers["baselines"]["chance"]["precision@1"]["value"]
    (0.75, 0.5)
    """
    frame = _checked(predictions, ["id", "as_of", "fold", "label", "label_complete", "probability"])
    folds = _split(frame, [score for score in ("probability", "prevalence", "activity") if score in frame])
    is_probability = {"probability": True, "prevalence": True} | ({"activity": False} if "activity" in frame else {})
    measured = _measure(folds, is_probability, top_k=top_k, bootstrap_resamples=bootstrap_resamples, seed=seed)
    overall, activity = measured["probability"], measured.get("activity")
    numbers = {
        "overall": overall.summary(confidence),
        "folds": [fold.summary() | overall.of_fold(number) for number, fold in enumerate(folds)],
        "baselines": {
            "chance": measured["prevalence"].summary(confidence),
            "activity": activity.summary(confidence) if activity else {},
        },
        "versus_activity": overall.minus(activity).summary(confidence) if activity else {},
    } | outcomes_by_day(predictions)
    settings = {"bootstrap_resamples": bootstrap_resamples, "seed": seed, "confidence": confidence}
    return with_uplift(numbers, frame, **settings)


@dataclass(frozen=True)
class ScoreComparison:
    """Metrics of one score, and their difference from those of a reference score on the same rows.

    Attributes
    ----------
    overall : dict of str to {"value", "low", "high"}
        Metrics of the score.
    difference : dict of str to {"value", "low", "high"}
        Metrics of the score minus those of the reference score.
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
    only: str | None = None,
) -> dict[str, ScoreComparison]:
    """Evaluate several probabilities of the same rows on the same resamples, and compare each with the first.

    Hard and easy resamples affect two scores alike, which cancels in their difference: its interval is narrower than
    the two separate intervals suggest.

    Parameters
    ----------
    predictions : DataFrame
        Rows with the columns ``id``, ``fold``, ``label``, optionally ``value``, and the scores, as for `evaluate`.
    scores : sequence of str
        Names of the probability columns; the first is the reference.
    top_k, bootstrap_resamples, seed, confidence
        As for `evaluate`.
    only : str, optional
        Name of a single metric to compare.

    Returns
    -------
    dict of str to ScoreComparison
        One entry for each of `scores`; the difference of the first is zero.

    Raises
    ------
    DataError
        If there are no rows, or a column is missing or has invalid values.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"id": range(12), "fold": 0, "label": [0, 1] * 6, "a": [0.1, 0.7] * 6, "b": 0.5})
    >>> compare_scores(rows, ["b", "a"], top_k=[2], bootstrap_resamples=50, seed=0)["a"].difference["roc_auc"]
    {'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    folds = _split(_checked(predictions, ["id", "fold", "label", *scores]), list(scores))
    measured = _measure(
        folds, dict.fromkeys(scores, True), top_k=top_k, bootstrap_resamples=bootstrap_resamples, seed=seed, only=only
    )
    first = measured[scores[0]]
    return {
        name: ScoreComparison(each.summary(confidence), each.minus(first).summary(confidence))
        for name, each in measured.items()
    }


@dataclass(frozen=True)
class _Counts:
    """What the folds consist of."""

    rows: FloatArray  # shape (folds,)
    size: FloatArray  # rows that these stand for, shape (folds,)
    positives: FloatArray  # shape (folds,)
    entities: int  # distinct, with a row of the rarer class

    @classmethod
    def of(cls, folds: Sequence[_Fold]) -> _Counts:
        rows = np.array([len(fold.label) for fold in folds], dtype=np.float64)
        size = np.array([fold.size for fold in folds], dtype=np.float64)
        positives = np.array([fold.label.sum() for fold in folds])
        rarer = float(2 * positives.sum() <= rows.sum())
        entities = np.unique(np.concatenate([fold.entity[fold.label == rarer] for fold in folds]))
        return cls(rows, size, positives, len(entities))

    def freedom(self, used: npt.NDArray[np.bool_]) -> int:
        return intervals.degrees_of_freedom(self.rows[used], self.positives[used], self.entities)


@dataclass(frozen=True)
class _Measured:
    """Metrics of one score in every fold: on the original rows, and in every bootstrap resample."""

    value: Mapping[str, FloatArray]  # name: shape (folds, 1)
    sample: Mapping[str, FloatArray]  # name: shape (folds, resamples)
    counts: _Counts
    is_difference: bool = False

    def minus(self, other: _Measured) -> _Measured:
        both = [name for name in self.value if name in other.value]
        return _Measured(
            {name: self.value[name] - other.value[name] for name in both},
            {name: self.sample[name] - other.sample[name] for name in both},
            self.counts,
            is_difference=True,
        )

    def summary(self, confidence: float) -> dict[str, Entry]:
        return {name: self._entry(name, confidence) for name in self.value}

    def of_fold(self, number: int) -> dict[str, float | None]:
        return {name: _json(values[number, 0]) for name, values in self.value.items()}

    def _entry(self, name: str, confidence: float) -> Entry:
        value = float(mean_over_folds(self.value[name])[0])
        used = ~np.isnan(self.value[name][:, 0])
        known = intervals.Uncertainty(mean_over_folds(self.sample[name]), confidence, self.counts.freedom(used))
        low, high = intervals.NONE
        if known.defined.size > 1 and known.freedom >= intervals.MIN_FREEDOM:
            low, high = self._interval(name, value, known, used)
        entry: Entry = {"value": _json(value), "low": _json(low), "high": _json(high)}
        if known.defined.size > 1 and np.isnan(low):
            entry["too_few"] = True
        return entry if used.all() else entry | {"folds_used": int(used.sum())}

    def _interval(
        self, name: str, value: float, known: intervals.Uncertainty, used: npt.NDArray[np.bool_]
    ) -> intervals.Interval:
        metric, k = split_name(name)
        if self.is_difference:
            return (
                intervals.percentile_interval(known)
                if metric.difference_method == "percentile"
                else intervals.t_interval(value, known)
            )
        match metric.interval_method:
            case "logit":
                folds = int(used.sum()) if metric.corrects_error else 0
                return intervals.logit_interval(value, known, folds=folds)
            case "log":
                return intervals.log_interval(value, known)
            case "proportion":
                assert metric.proportion is not None
                assert k is not None
                trials, scale = metric.proportion(self.counts.size[used], self.counts.positives[used], k)
                return intervals.proportion_interval(value, known, trials=trials, scale=scale)
            case "shifted":
                return intervals.shifted_interval(value, known)
            case "t":
                return intervals.t_interval(value, known)


@dataclass(frozen=True)
class _Fold:
    """Columns of one fold."""

    number: int
    as_of: npt.NDArray[np.datetime64] | None
    label_complete: bool
    entity: IntArray
    label: FloatArray
    value: FloatArray | None
    weight: FloatArray | None
    score: Mapping[str, FloatArray]

    @property
    def size(self) -> float:
        """Number of rows that the rows stand for."""
        return len(self.label) if self.weight is None else float(self.weight.sum())

    def summary(self) -> dict[str, Any]:
        times = fold_times(np.empty(0, dtype="datetime64[us]") if self.as_of is None else self.as_of)
        return (
            times
            | {
                "fold": self.number,
                "rows": len(self.label),
                "positives": int(self.label.sum()),
                "label_complete": self.label_complete,
            }
            | ({} if self.weight is None else {"stands_for": round(self.size)})
        )


def _measure(
    folds: Sequence[_Fold],
    is_probability: Mapping[str, bool],
    *,
    top_k: Sequence[int],
    bootstrap_resamples: int,
    seed: int,
    only: str | None = None,
) -> dict[str, _Measured]:
    """Evaluate scores in every fold, on the original rows and in every resample; all scores use the same resamples."""
    scored = [
        ScoredFold(
            fold.label, fold.score[score], fold.value, top_k=top_k, is_probability=probability, weight=fold.weight
        )
        for score, probability in is_probability.items()
        for fold in folds
    ]
    entities = [folds[number % len(folds)].entity[rows.order] for number, rows in enumerate(scored)]
    values = [measure(rows, np.ones((1, len(rows.order))), only) for rows in scored]
    empty = [dict.fromkeys(value, np.empty(0)) for value in values]
    statistics = [partial(measure, rows, only=only) for rows in scored]
    samples = (
        bootstrap(statistics, entities, resamples=bootstrap_resamples, seed=seed) if bootstrap_resamples else empty
    )
    measured, counts = {}, _Counts.of(folds)
    for number, score in enumerate(is_probability):
        own = slice(number * len(folds), (number + 1) * len(folds))
        measured[score] = _Measured(_by_name(values[own], top_k), _by_name(samples[own], top_k), counts)
    return measured


def _by_name(numbers: Sequence[Mapping[str, FloatArray]], top_k: Sequence[int]) -> dict[str, FloatArray]:
    return {name: np.stack([fold[name] for fold in numbers]) for name in metric_names(top_k) if name in numbers[0]}


def _split(frame: pd.DataFrame, scores: Sequence[str]) -> list[_Fold]:
    """Return the folds, ordered by number."""
    numbers = frame["fold"].to_numpy()
    # Sorted codes make the resamples independent of the order of the rows.
    coded = frame.assign(entity=frame["id"].factorize(sort=True)[0])
    return [_fold(coded[numbers == number], int(number), scores) for number in np.unique(numbers)]


def _fold(frame: pd.DataFrame, number: int, scores: Sequence[str]) -> _Fold:
    label = _floats(frame, "label")
    score = {column: _floats(frame, column) for column in scores}
    weight = _floats(frame, SAMPLING_WEIGHT) if SAMPLING_WEIGHT in frame else None
    score.setdefault("prevalence", np.full(len(label), mean(label, weight)))
    if "activity" in score:
        score["activity"] = np.where(np.isnan(score["activity"]), -np.inf, score["activity"])
    return _Fold(
        number=number,
        as_of=frame["as_of"].to_numpy(dtype="datetime64[us]") if "as_of" in frame else None,
        label_complete="label_complete" not in frame or bool(frame["label_complete"].all()),
        entity=frame["entity"].to_numpy(dtype=np.intp),
        label=label,
        value=_floats(frame, "value") if "value" in frame else None,
        weight=weight,
        score=score,
    )


def _checked(predictions: pd.DataFrame, required: Sequence[str]) -> pd.DataFrame:
    """Return the predictions without empty optional columns."""
    missing = [column for column in required if column not in predictions]
    if missing:
        similar = ", ".join(filter(None, (closest(column, map(str, predictions.columns)) for column in missing)))
        raise DataError(
            f"The predictions lack {joined(missing)}; they have {', '.join(map(str, predictions.columns))}"
            f"{f' (closest: {similar})' if similar else ''}. Add the missing columns."
        )
    if predictions.empty:
        raise DataError("There are no predictions to evaluate. Check the folds of the split.")
    without_id = int(predictions["id"].isna().sum())
    if without_id:
        raise DataError(
            f"{without_id:,} of {counted(len(predictions), 'prediction')} {'has' if without_id == 1 else 'have'} no "
            "id, which the bootstrap needs to resample entities. Fill in the missing ids."
        )
    empty = [column for column in ("value", "activity") if column in predictions and predictions[column].isna().all()]
    return predictions.drop(columns=empty)


def _floats(frame: pd.DataFrame, column: str) -> FloatArray:
    try:
        return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"Column {column} of the predictions must be numeric: {error}") from error


def _json(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
