"""The main findings of a run in sentences: how good it is compared with its baselines, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlsys.evaluation.formats import Numbers, as_float, bounds, point
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.metric_table import METRICS, find_metric, headline_metrics
from mlsys.evaluation.report.metric_rows import difference_interval
from mlsys.text import counted, joined


def verdict(config: Numbers, metrics: Numbers, entities: str, positives: str) -> Iterable[str]:
    """Yield the sentences.

    Parameters
    ----------
    config, metrics : mapping
        Content of config.yaml and metrics.json.
    entities, positives : str
        Plural nouns for the rows and for the positive rows.
    """
    yield from _performance(metrics, entities, positives)
    yield from _calibration(metrics)
    yield from _selection(config)


def _performance(metrics: Numbers, entities: str, positives: str) -> Iterable[str]:
    folds: Sequence[Numbers] = metrics.get("folds") or []
    overall, baselines = metrics.get("overall") or {}, metrics.get("baselines") or {}
    activity, chance = (baselines.get(name) or {} for name in ("activity", "chance"))
    precisions = [name for name, value in overall.items() if name.startswith("precision@") and point(value) is not None]
    first = next((name for name in precisions if name.partition("@")[2].isdecimal()), None)
    if first:
        by_date = bool(folds) and all(fold.get("as_of") and not fold.get("as_of_last") for fold in folds)
        who = f"{entities}{' on a test date' if by_date else ''}"
        yield _top_k_sentence(first, overall, activity, chance, who, positives)
    versus = metrics.get("versus_activity") or {}
    for name in (metric.name for metric in headline_metrics() if metric.group != "top_k"):
        interval, text = bounds(versus.get(name)), find_metric(name, positives)
        if interval is None:
            continue
        values = f"{text.write(point(overall.get(name)))} vs {text.write(point(activity.get(name)))}"
        gap = f"{text.difference(point(versus[name]))}, 95% interval {difference_interval(versus[name], text)}"
        yield f"{text.title}: {_comparison(interval, text)} ({values}; difference {gap})."
    if not overall:
        yield "This run has no metrics."
    elif len(folds) == 1:
        yield "All metrics come from a single split, so they do not show how much performance varies over time."


def _calibration(metrics: Numbers) -> Iterable[str]:
    """Describe the effect of calibration, if it at least halved the calibration error."""
    errors = metrics.get("calibration") or {}
    before, after = (as_float((errors.get(when) or {}).get("ece")) for when in ("before", "after"))
    if before is None or after is None or before < 2 * after:
        return
    write = METRICS["ece"].write
    yield f"Calibration reduced the calibration error from {write(before)} to {write(after)}."


def _selection(config: Numbers) -> Iterable[str]:
    """Describe the search that selected this configuration: the best of many is better than it will do."""
    search = config.get("search") or {}
    selected_from, objective = search.get("selected_from"), config.get("objective", [])
    if not selected_from:
        return
    names = [objective] if isinstance(objective, str) else objective
    metrics = joined([find_metric(name).in_a_sentence for name in names])
    trials = counted(int(selected_from), "configuration")
    yield f"Selected from {trials} tried in a search, by {metrics} on {counted(int(search['folds']), 'fold')}."
    if search.get("holdout_folds"):
        later = counted(int(search["holdout_folds"]), "later fold")
        yield f"The metrics here are from {later} that the search did not use."
    else:
        yield "The metrics here are from the same folds, so they are optimistic; search.holdout_folds holds folds out."


def _top_k_sentence(name: str, overall: Numbers, activity: Numbers, chance: Numbers, who: str, positives: str) -> str:
    k = int(name.partition("@")[2])

    def write(precision: float) -> str:
        hits = precision * k
        return f"{hits:.0f}" if hits >= 9.95 else f"{hits:.1f}" if hits >= 0.995 or not hits else f"{hits:.2g}"

    interval = bounds(overall[name])
    between = f" (95% interval {write(interval[0])} to {write(interval[1])})" if interval else ""
    subject = f"The top {k} {who} include" if k > 1 else f"The top 1 of the {who} includes"
    text = f"{subject} {write(point(overall[name]) or 0.0)} {positives} on average{between}"
    baselines = [(point(activity.get(name)), "when ranked by activity"), (point(chance.get(name)), "at random")]
    known = [f"{write(precision)} {how}" for precision, how in baselines if precision is not None]
    return f"{text}, compared with {joined(known)}." if known else f"{text}."


def _comparison(interval: tuple[float, float], metric: Metric) -> str:
    if interval[0] <= 0 <= interval[1]:
        return "no clear difference from ranking by activity"
    return f"{'better' if (interval[0] > 0) == metric.higher_is_better else 'worse'} than ranking by activity"
