"""The table of metrics: how each is computed, which direction is better, its title and its number format.

All other code takes its metrics from `METRICS`; to add a metric, add a function and a row here (docs/extending.md).
The module imports neither NumPy nor pandas, so that `mlsys runs` starts fast.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mlsys.errors import ConfigError, Problem, closest
from mlsys.evaluation.formats import MISSING, POINTS, bounds, percent, plain_number

if TYPE_CHECKING:
    from mlsys.evaluation.ranking import FloatArray
    from mlsys.evaluation.weighted_metrics import Sample

Group = Literal["ranking", "probabilities", "top_k", "cost"]
Input = Literal["score", "probability", "value", "timing"]
Kind = Literal["score", "rate", "times", "money", "milliseconds"]

PREDICT_MS = "predict_ms"
FALLBACK_OBJECTIVE = "log_loss"  # sorts runs that have none of the metrics they were optimised for


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: a row of `METRICS`.

    Attributes
    ----------
    name : str
        Key in ``metrics.json``; for a top-k metric the part before ``@k``.
    compute : callable or None
        Takes a `mlsys.evaluation.weighted_metrics.Sample` (a top-k metric also k) and returns an ndarray of float64 of
        shape (resamples,), NaN where undefined. None for a metric that is timed rather than computed from predictions:
        it can be an objective, but is not in ``metrics.json``, whose bytes must be reproducible.
    group : {"ranking", "probabilities", "top_k", "cost"}
        What the metric measures. A "top_k" row defines one metric for each list length k.
    title : str
        Name in tables; may contain ``{k}``.
    meaning : str
        One-line explanation without jargon; may contain ``{positives}`` and ``{k}``. The direction is appended.
    needs : {"score", "probability", "value", "timing"}
        Input of the metric. Metrics that need probabilities are left out for scores that are not probabilities (the
        activity baseline); metrics that need values are undefined where no revenue is known.
    higher_is_better : bool
        Whether higher values are better; False for losses, errors and costs.
    headline : bool
        Whether the metric is one of the few that the card, the report, comparisons and `mlsys runs` show first.
    kind : {"score", "rate", "times", "money", "milliseconds"}
        Whether values are formatted as plain numbers, percentages, multiples, amounts or times.
    decimals : int
        Number of decimals of a score; more are shown where the value would be rounded to zero.
    grows_when_resampled : bool
        Whether resampling rows can only increase the metric, because it adds noise: intervals are then shifted to be
        centred on the value, and cut off at 0.
    """

    name: str
    compute: Callable[..., FloatArray] | None
    group: Group
    title: str
    meaning: str
    needs: Input
    higher_is_better: bool
    headline: bool = False
    kind: Kind = "score"
    decimals: int = 3
    grows_when_resampled: bool = False

    @property
    def pattern(self) -> str:
        """The name, with ``@k`` for a top-k metric, as error messages list it.

        Examples
        --------
        >>> METRICS["lift"].pattern, METRICS["roc_auc"].pattern
        ('lift@k', 'roc_auc')
        """
        return f"{self.name}@k" if self.group == "top_k" else self.name

    @property
    def in_a_sentence(self) -> str:
        """The title as written within a sentence.

        Examples
        --------
        >>> METRICS["log_loss"].in_a_sentence, METRICS["roc_auc"].in_a_sentence
        ('log loss', 'ROC-AUC')
        """
        return self.title if self.title[1:2].isupper() else self.title[:1].lower() + self.title[1:]

    @property
    def explanation(self) -> str:
        """The meaning, with a note if lower values are better."""
        return self.meaning if self.higher_is_better else f"{self.meaning}; lower is better"

    def write(self, value: float | None) -> str:
        """Format a value.

        Examples
        --------
        >>> METRICS["roc_auc"].write(0.9), METRICS["lift"].write(17.2), METRICS["revenue"].write(1234.4)
        ('0.900', '17×', '1,234')
        >>> METRICS["average_precision"].write(0.00021), METRICS["recall"].write(None)
        ('0.00021', '–')
        >>> METRICS["ece"].write(1e-17), METRICS["predict_ms"].write(1.234), METRICS["predict_ms"].write(17.6)
        ('0.0000', '1.2 ms', '18 ms')
        """
        if value is None or not math.isfinite(value):
            return MISSING
        if self.kind == "rate":
            return percent(value)
        if self.kind == "times":
            return f"{value:.{0 if abs(value) >= 9.95 else 1}f}×"
        if self.kind == "money":
            return f"{value:,.0f}"
        if self.kind == "milliseconds":
            return f"{value:.2g} ms" if value < 10 else f"{value:.0f} ms"
        return plain_number(value, self.decimals)

    def interval(self, entry: object) -> str:
        """Format the interval of an entry of ``metrics.json``; an empty string if it has none.

        Examples
        --------
        >>> METRICS["average_precision"].interval({"value": 0.0769, "low": 0.05, "high": 0.16})
        '0.050 to 0.160'
        >>> METRICS["roc_auc"].interval(0.5)
        ''
        """
        interval = bounds(entry)
        return f"{self.write(interval[0])} to {self.write(interval[1])}" if interval else ""

    def difference(self, value: float | None) -> str:
        """Format the difference of two values with its sign; differences of percentages in percentage points.

        Examples
        --------
        >>> METRICS["roc_auc"].difference(0.131), METRICS["precision"].difference(-0.03)
        ('+0.131', '−3.0 points')
        """
        if value is None or not math.isfinite(value):
            return MISSING
        size = f"{abs(value) * 100:.1f}{POINTS}" if self.kind == "rate" else self.write(abs(value))
        return f"{'−' if value < 0 else '+'}{size}"


def roc_auc(sample: Sample) -> FloatArray:
    """Compute the area under the ROC curve; undefined without positives or without negatives."""
    return sample.tie_groups.roc_auc()


def average_precision(sample: Sample) -> FloatArray:
    """Compute the average precision; undefined without positives."""
    return sample.tie_groups.average_precision()


def log_loss(sample: Sample) -> FloatArray:
    """Compute the mean negative log-likelihood of the labels."""
    return sample.mean(sample.fold.log_losses)


def brier(sample: Sample) -> FloatArray:
    """Compute the mean squared error of the probabilities (Brier 1950)."""
    return sample.mean(sample.fold.residuals**2)


def ece(sample: Sample) -> FloatArray:
    """Compute the expected calibration error in ten equal-mass bins."""
    return sample.calibration_error


def precision(sample: Sample, k: int) -> FloatArray:
    """Compute the fraction of positives among the k top-ranked rows."""
    return sample.ratio(sample.hits(k), sample.list_length(k))


def recall(sample: Sample, k: int) -> FloatArray:
    """Compute the fraction of all positives that are among the k top-ranked rows; undefined without positives."""
    return sample.ratio(sample.hits(k), sample.total_hits)


def lift(sample: Sample, k: int) -> FloatArray:
    """Compute precision@k divided by the fraction of positives among all rows; undefined without positives."""
    return sample.ratio(precision(sample, k) * sample.total, sample.total_hits)


def revenue(sample: Sample, k: int) -> FloatArray:
    """Compute the sum of the values of the positives among the k top-ranked rows, in currency per month."""
    return sample.revenue(k)


# In the order of metrics.json and of all tables. Top-k metrics come last, grouped by k.
ROWS: Sequence[Metric] = (
    Metric(
        name="roc_auc",
        compute=roc_auc,
        group="ranking",
        title="ROC-AUC",
        meaning="probability that one of the {positives} ranks above one of the others",
        needs="score",
        higher_is_better=True,
        headline=True,
    ),
    Metric(
        name="average_precision",
        compute=average_precision,
        group="ranking",
        title="Average precision",
        meaning="precision averaged down the ranking; rewards a good top of the list",
        needs="score",
        higher_is_better=True,
        headline=True,
    ),
    Metric(
        name="log_loss",
        compute=log_loss,
        group="probabilities",
        title="Log loss",
        meaning="how wrong the probabilities are",
        needs="probability",
        higher_is_better=False,
        headline=True,
        decimals=4,
    ),
    Metric(
        name="brier",
        compute=brier,
        group="probabilities",
        title="Brier score",
        meaning="mean squared error of the probabilities",
        needs="probability",
        higher_is_better=False,
        decimals=4,
    ),
    Metric(
        name="ece",
        compute=ece,
        group="probabilities",
        title="Calibration error",
        meaning="average gap between predicted and observed rates",
        needs="probability",
        higher_is_better=False,
        decimals=4,
        grows_when_resampled=True,
    ),
    Metric(
        name="precision",
        compute=precision,
        group="top_k",
        title="Precision@{k}",
        meaning="fraction of {positives} among the top {k}",
        needs="score",
        higher_is_better=True,
        headline=True,
        kind="rate",
    ),
    Metric(
        name="recall",
        compute=recall,
        group="top_k",
        title="Recall@{k}",
        meaning="fraction of all {positives} found in the top {k}",
        needs="score",
        higher_is_better=True,
        kind="rate",
    ),
    Metric(
        name="lift",
        compute=lift,
        group="top_k",
        title="Lift@{k}",
        meaning="precision@{k} relative to picking at random",
        needs="score",
        higher_is_better=True,
        kind="times",
    ),
    Metric(
        name="revenue",
        compute=revenue,
        group="top_k",
        title="Revenue@{k}",
        meaning="total value (such as MRR) of the {positives} in the top {k}",
        needs="value",
        higher_is_better=True,
        kind="money",
    ),
    Metric(
        name=PREDICT_MS,
        compute=None,
        group="cost",
        title="Prediction time",
        meaning="milliseconds to score 1,000 rows",
        needs="timing",
        higher_is_better=False,
        kind="milliseconds",
    ),
)


def _by_name(rows: Sequence[Metric]) -> dict[str, Metric]:
    metrics = {metric.name: metric for metric in rows}
    if len(metrics) < len(rows):
        names = [metric.name for metric in rows]
        raise ValueError(f"Two rows have the same name: {next(name for name in names if names.count(name) > 1)}.")
    return metrics


METRICS = _by_name(ROWS)


def expanded(top_k: Sequence[int]) -> Iterator[tuple[str, Metric, int | None]]:
    """Yield the metrics of ``metrics.json`` in order: full name, row, and k of a top-k metric.

    Parameters
    ----------
    top_k : sequence of int
        List lengths k of the top-k metrics.
    """
    computed = [metric for metric in METRICS.values() if metric.compute is not None]
    yield from ((metric.name, metric, None) for metric in computed if metric.group != "top_k")
    families = [metric for metric in computed if metric.group == "top_k"]
    yield from ((f"{metric.name}@{k}", metric, k) for k in top_k for metric in families)


def metric_names(top_k: Sequence[int]) -> tuple[str, ...]:
    """Return the names of all metrics in ``metrics.json``, in its order.

    Parameters
    ----------
    top_k : sequence of int
        List lengths k of the top-k metrics.

    Examples
    --------
    >>> metric_names([10])[-4:]
    ('precision@10', 'recall@10', 'lift@10', 'revenue@10')
    """
    return tuple(name for name, _, _ in expanded(top_k))


def objective_names(top_k: Sequence[int]) -> tuple[str, ...]:
    """Return the names of everything that a search can optimise: all metrics, and the prediction time."""
    return (*metric_names(top_k), *(metric.name for metric in METRICS.values() if metric.compute is None))


def headline_metrics() -> list[Metric]:
    """Return the metrics to show first, in the order of the table."""
    return [metric for metric in METRICS.values() if metric.headline]


def headline_columns() -> tuple[str, ...]:
    """Return the names of the headline metrics that do not depend on a list length k, so that every run has them.

    Examples
    --------
    >>> headline_columns()
    ('roc_auc', 'average_precision', 'log_loss')
    """
    return tuple(metric.name for metric in headline_metrics() if metric.group != "top_k")


def split_name(name: str) -> tuple[Metric, int | None]:
    """Return the row of a metric, and its k or None.

    Raises
    ------
    ConfigError
        If there is no metric with this name.

    Examples
    --------
    >>> split_name("lift@10")[1], split_name("roc_auc")[1]
    (10, None)
    """
    family, at, k = name.partition("@")
    metric = METRICS.get(family)
    if metric is not None and (metric.group == "top_k") == bool(at) and (not at or re.fullmatch(r"[1-9]\d{0,8}", k)):
        return metric, int(k) if at else None
    known = [metric.pattern for metric in METRICS.values()]
    problem = Problem("metric", name, ", ".join(known), closest(name, known))
    raise ConfigError("The metric name", [problem], "Use one of these names, with a number for k.")


def is_metric(name: str) -> bool:
    """Return whether ``metrics.json`` can contain a metric with this name, for some list lengths k.

    Examples
    --------
    >>> is_metric("precision@10"), is_metric("precision"), is_metric("seconds"), is_metric("predict_ms")
    (True, False, False, False)
    """
    try:
        return split_name(name)[0].compute is not None
    except ConfigError:
        return False


def find_metric(name: str, positives: str = "converters") -> Metric:
    """Return the row of a metric with its placeholders filled in.

    Parameters
    ----------
    name : str
        Key of ``metrics.json``, such as ``"roc_auc"`` or ``"precision@10"``, or ``predict_ms``.
    positives : str
        Plural noun for the positive rows.

    Raises
    ------
    ConfigError
        If there is no metric with this name.

    Examples
    --------
    >>> find_metric("precision@10").meaning
    'fraction of converters among the top 10'
    >>> find_metric("log_loss").higher_is_better
    False
    """
    metric, k = split_name(name)
    fields = {"k": k, "positives": positives}
    return replace(metric, name=name, title=metric.title.format(**fields), meaning=metric.meaning.format(**fields))


def greater_is_better(name: str) -> bool:
    """Return whether higher values of the metric are better, for any k.

    Raises
    ------
    ConfigError
        If there is no metric with this name.

    Examples
    --------
    >>> greater_is_better("precision@10"), greater_is_better("log_loss")
    (True, False)
    """
    return split_name(name)[0].higher_is_better


def table_order(name: str) -> tuple[int, int]:
    """Return the sort key of a metric in tables: the position of its row, then its k.

    Examples
    --------
    >>> sorted(["lift@5", "precision@50", "precision@5", "roc_auc"], key=table_order)
    ['roc_auc', 'precision@5', 'precision@50', 'lift@5']
    """
    metric, k = split_name(name)
    return list(METRICS).index(metric.name), k or 0
