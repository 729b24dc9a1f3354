"""What to do first with a run, in one sentence that says whether the model is better than what it would replace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlsys.evaluation.formats import Numbers, bounds, point
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.metric_table import METRICS, headline_metrics
from mlsys.evaluation.report.uplift import uplift_sentence
from mlsys.text import counted, joined


def recommend(metrics: Numbers, audit: Numbers, positives: str, level: str, entities: str = "accounts") -> str:
    """Return the sentence.

    For an uplift model, it says whom to contact. Any other model is called better or worse than ranking by activity if
    the interval of the difference excludes 0 for any headline metric of the whole ranking (ROC-AUC, average precision)
    and no other one contradicts it. Metrics of the top k are left out: with three or more chances, one would too often
    be clear by chance.

    Parameters
    ----------
    metrics, audit : mapping
        Content of ``metrics.json`` and ``audit.json``.
    positives : str
        Plural noun for the positive rows.
    level : str
        Confidence level of the intervals, such as "95%".
    entities : str
        Plural noun for the rows.

    Examples
    --------
    >>> gap = {"value": 0.1, "low": 0.05, "high": 0.15}
    >>> recommend({"versus_activity": {"roc_auc": gap}}, {}, "converters", "95%").partition(":")[0]
    'The model ranks better than activity (ROC-AUC +0.100, 95% interval +0.050 to +0.150)'
    """
    if failed := _checks(audit, "fail"):
        return f"Fix the leak first: the audit failed ({joined(failed)}), so the metrics are too good to be true."
    if metrics.get("uplift_curve"):
        return uplift_sentence(metrics, audit, entities, positives, level)
    versus: Mapping[str, object] = metrics.get("versus_activity") or {}
    compared = [metric for metric in _ranking_metrics() if bounds(versus.get(metric.name))]
    if not compared:
        return _versus_chance(metrics, audit, positives, level)
    if all(bounds(versus[metric.name]) == (0, 0) for metric in compared):
        return "This run ranks by activity itself: train a model, such as model=xgboost, and compare it with this run."
    verdicts = {metric.verdict(versus[metric.name]) for metric in compared}
    if verdicts == {"same"}:
        numbers = joined([f"{metric.in_a_sentence} {_versus(metrics, metric)}" for metric in compared])
        return (
            f"The model cannot be told apart from ranking by activity ({numbers}, {_sample(metrics, positives)}): rank "
            "by activity, or test on more data, before you deploy a model."
        )
    if {"better", "worse"} <= verdicts:
        return (
            f"The model is better than ranking by activity in some metrics and worse in others "
            f"({joined(list(_gaps(compared, versus, level)))}): decide which of them your use depends on."
        )
    gaps = joined(list(_gaps(compared, versus, level)))
    if "better" in verdicts:
        return f"The model ranks better than activity ({gaps}): {_next_step(audit, 'the model in use')}."
    return f"The model ranks worse than activity ({gaps}): rank by activity instead, and look for what went wrong."


def _ranking_metrics() -> list[Metric]:
    return [metric for metric in headline_metrics() if metric.group == "ranking"]


def _checks(audit: Numbers, status: str) -> list[str]:
    checks: Sequence[Numbers] = audit.get("checks") or []
    return [str(check["name"]).replace("_", " ") for check in checks if check.get("status") == status]


def _next_step(audit: Numbers, other: str) -> str:
    """Return what to do with a model that is better than its baseline."""
    warned = _checks(audit, "warn")
    first = f"look at the audit's {'warning' if len(warned) == 1 else 'warnings'} first ({joined(warned)}), then "
    return f"{first if warned else ''}compare it with {other}{'' if warned else ', then promote it'}"


def _versus_chance(metrics: Numbers, audit: Numbers, positives: str, level: str) -> str:
    auc = METRICS["roc_auc"]
    entry = (metrics.get("overall") or {}).get(auc.name)
    interval = bounds(entry)
    if interval is None:
        if isinstance(entry, Mapping) and entry.get("too_few"):
            return f"Too few {positives} to tell whether the model is any good: test on more data before you deploy it."
        return "Without intervals nobody can tell whether the model is any good: set metrics.bootstrap_resamples=1000."
    numbers = f"{auc.title} {auc.write(point(entry))}, {level} interval {auc.interval(entry)}"
    if interval[0] > 0.5:
        return f"The model ranks better than chance ({numbers}): {_next_step(audit, 'how you rank today')}."
    if interval[1] < 0.5:
        return f"The model ranks worse than chance ({numbers}): do not deploy it; look for what went wrong."
    if interval == (0.5, 0.5):
        return "This run ranks by chance: train a model, such as model=xgboost, and compare it with this run."
    return f"The model cannot be told apart from chance ({numbers}): do not deploy it; look for better features."


def _versus(metrics: Numbers, metric: Metric) -> str:
    activity = (metrics.get("baselines") or {}).get("activity") or {}
    overall = metrics.get("overall") or {}
    return f"{metric.write(point(overall.get(metric.name)))} vs {metric.write(point(activity.get(metric.name)))}"


def _sample(metrics: Numbers, positives: str) -> str:
    folds: Sequence[Numbers] = metrics.get("folds") or []
    return f"{sum(fold.get('positives', 0) for fold in folds):,} {positives} in {counted(len(folds), 'fold')}"


def _gaps(compared: Sequence[Metric], versus: Mapping[str, object], level: str) -> Iterator[str]:
    for metric in compared:
        entry = versus[metric.name]
        if metric.verdict(entry) != "same":
            gap = metric.difference(point(entry))
            yield f"{metric.in_a_sentence} {gap}, {level} interval {metric.difference_interval(entry)}"
