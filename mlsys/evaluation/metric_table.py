"""The table of metrics: how each is computed, and its row with direction, wording and number format.

All other code takes its metrics from `METRICS`; to add a metric, add a function and a row here (docs/extending.md).
The module imports neither NumPy nor pandas, so that `mlsys runs` starts fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlsys.errors import ConfigError, Problem, closest
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.uplift_metrics import UPLIFT_METRICS

if TYPE_CHECKING:
    from mlsys.evaluation.ranking import FloatArray
    from mlsys.evaluation.weighted_metrics import Sample

PREDICT_MS = "predict_ms"
FALLBACK_OBJECTIVE = "log_loss"  # sorts runs that have none of the metrics they were optimised for


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


def of_the_list(rows: FloatArray, positives: FloatArray, k: int) -> tuple[float, float]:  # noqa: ARG001 - a precision
    """Return the rows in all lists, and 1: a precision is a proportion of these."""
    return float(rows.clip(max=k).sum()), 1.0


def of_the_positives(rows: FloatArray, positives: FloatArray, k: int) -> tuple[float, float]:  # noqa: ARG001 - a recall
    """Return all positives, and 1: a recall is a proportion of these."""
    return float(positives.sum()), 1.0


def of_the_best_lift(rows: FloatArray, positives: FloatArray, k: int) -> tuple[float, float]:
    """Return all positives, and the lift if all of them are in the list: a lift is that times a recall."""
    return float(positives.sum()), float((rows / rows.clip(max=k)).mean())


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
        interval_method="logit",
        corrects_error=True,
    ),
    Metric(
        name="average_precision",
        compute=average_precision,
        by_rank=True,
        group="ranking",
        title="Average precision",
        meaning="precision averaged down the ranking; rewards a good top of the list",
        needs="score",
        higher_is_better=True,
        headline=True,
        interval_method="logit",
        difference_method="percentile",
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
        interval_method="log",
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
        interval_method="logit",
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
    ),
    Metric(
        name="precision",
        compute=precision,
        by_rank=True,
        group="top_k",
        title="Precision@{k}",
        meaning="fraction of {positives} among the top {k}",
        needs="score",
        higher_is_better=True,
        headline=True,
        kind="rate",
        interval_method="proportion",
        proportion=of_the_list,
    ),
    Metric(
        name="recall",
        compute=recall,
        by_rank=True,
        group="top_k",
        title="Recall@{k}",
        meaning="fraction of all {positives} found in the top {k}",
        needs="score",
        higher_is_better=True,
        kind="rate",
        interval_method="proportion",
        proportion=of_the_positives,
    ),
    Metric(
        name="lift",
        compute=lift,
        by_rank=True,
        group="top_k",
        title="Lift@{k}",
        meaning="precision@{k} relative to picking at random",
        needs="score",
        higher_is_better=True,
        kind="times",
        interval_method="proportion",
        proportion=of_the_best_lift,
    ),
    Metric(
        name="revenue",
        compute=revenue,
        by_rank=True,
        group="top_k",
        title="Revenue@{k}",
        meaning="total value (such as MRR) of the {positives} in the top {k}",
        needs="value",
        higher_is_better=True,
        headline=True,
        kind="money",
        interval_method="log",
        difference_method="percentile",
    ),
    *UPLIFT_METRICS,
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
    """Yield the metrics of every model in ``metrics.json``, in order: full name, row, and k of a top-k metric.

    Parameters
    ----------
    top_k : sequence of int
        List lengths k of the top-k metrics.
    """
    computed = [metric for metric in METRICS.values() if metric.compute is not None and metric.needs != "uplift"]
    yield from ((metric.name, metric, None) for metric in computed if metric.group != "top_k")
    families = [metric for metric in computed if metric.group == "top_k"]
    yield from ((f"{metric.name}@{k}", metric, k) for k in top_k for metric in families)


def uplift_metrics() -> list[Metric]:
    """Return the metrics that models with an uplift have in addition, in order."""
    return [metric for metric in METRICS.values() if metric.needs == "uplift"]


def metric_names(top_k: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the metrics of every model in ``metrics.json``, in its order.

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


def objective_names(top_k: Sequence[int], *, uplift: bool = False) -> tuple[str, ...]:
    """Return the names of everything that a search can optimise: all metrics, and the prediction time.

    Parameters
    ----------
    top_k : sequence of int
        List lengths k of the top-k metrics.
    uplift : bool
        Whether the model has uplift metrics.
    """
    more = [metric.name for metric in uplift_metrics()] if uplift else []
    return (*metric_names(top_k), *more, *(metric.name for metric in METRICS.values() if metric.compute is None))


def configured_objectives(config: Mapping[str, Any]) -> list[str]:
    """Return the objectives of a config, which are one name or a list.

    Examples
    --------
    >>> configured_objectives({"objective": "log_loss"}), configured_objectives({"objective": None})
    (['log_loss'], [])
    """
    objective = config.get("objective")
    return [objective] if isinstance(objective, str) else list(objective or [])


def headline_metrics() -> list[Metric]:
    """Return the metrics to show first, in the order of the table."""
    return [metric for metric in METRICS.values() if metric.headline]


def headline_columns() -> tuple[str, ...]:
    """Return the names of the headline metrics that every run has: they depend on no list length k and no treatment.

    Examples
    --------
    >>> headline_columns()
    ('roc_auc', 'average_precision', 'log_loss')
    """
    return tuple(metric.name for metric in headline_metrics() if metric.group not in ("top_k", "uplift"))


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


def find_metric(name: str, positives: str = "converters", currency: str = "") -> Metric:
    """Return the row of a metric with its placeholders filled in.

    Parameters
    ----------
    name : str
        Key of ``metrics.json``, such as ``"roc_auc"`` or ``"precision@10"``, or ``predict_ms``.
    positives : str
        Plural noun for the positive rows.
    currency : str
        ISO 4217 code of amounts, from ``metrics.currency``; empty if unknown.

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
    >>> find_metric("revenue@10", currency="EUR").write(1234.4)
    '1,234 EUR'
    """
    metric, k = split_name(name)
    fields = {"k": k, "positives": positives}
    title, meaning = metric.title.format(**fields), metric.meaning.format(**fields)
    return replace(metric, name=name, title=title, meaning=meaning, positives=positives, currency=currency)


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
