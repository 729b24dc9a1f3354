"""The verdict of a run, in sentences: how good it is, next to its baselines, and what the numbers leave open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlsys.evaluation.formats import Numbers, as_float, bounds, count, point
from mlsys.evaluation.metric_table import METRICS, Metric, find_metric, headline_metrics
from mlsys.evaluation.report.metric_rows import difference_interval


def verdict(config: Numbers, metrics: Numbers, entities: str, positives: str) -> Iterable[str]:
    """Yield the sentences.

    Parameters
    ----------
    config, metrics : mapping
        Content of config.yaml and metrics.json.
    entities, positives : str
        Words for the rows and the positive rows, in the plural.
    """
    yield from _measured(metrics, entities, positives)
    yield from _calibrated(metrics)
    yield from _searched(config)


def _measured(metrics: Numbers, entities: str, positives: str) -> Iterable[str]:
    folds: Sequence[Numbers] = metrics.get("folds") or []
    overall, baselines = metrics.get("overall") or {}, metrics.get("baselines") or {}
    activity, chance = (baselines.get(name) or {} for name in ("activity", "chance"))
    tops = [name for name, value in overall.items() if name.startswith("precision@") and point(value) is not None]
    top = next((name for name in tops if name.partition("@")[2].isdecimal()), None)
    if top:
        at_a_date = bool(folds) and all(fold.get("as_of") and not fold.get("as_of_last") for fold in folds)
        who = f"{entities} that it ranks first{' on a test date' if at_a_date else ''}"
        yield _top_k_sentence(top, overall, activity, chance, who, positives)
    versus = metrics.get("versus_activity") or {}
    for name in (metric.name for metric in headline_metrics() if metric.group != "top_k"):
        ends, text = bounds(versus.get(name)), find_metric(name, positives)
        if ends is None:
            continue
        numbers = f"{text.write(point(overall.get(name)))} against {text.write(point(activity.get(name)))}"
        gap = f"{text.difference(point(versus[name]))}, 95% interval {difference_interval(versus[name], text)}"
        yield f"{text.title}: {_comparison(ends, text)} ({numbers}; difference {gap})."
    if not overall:
        yield "This run has no metrics."
    elif len(folds) == 1:
        yield "All numbers come from one split, so nothing shows how much they vary over time."


def _calibrated(metrics: Numbers) -> Iterable[str]:
    """Say what calibration fixed, where the scores taken as probabilities were clearly further off."""
    found = metrics.get("calibration") or {}
    before, after = (as_float((found.get(when) or {}).get("ece")) for when in ("before", "after"))
    if before is None or after is None or before < 2 * after:
        return
    write = METRICS["ece"].write
    yield f"Probabilities: as they came, the scores were off by {write(before)}; after calibration by {write(after)}."


def _searched(config: Numbers) -> Iterable[str]:
    """Say how many configurations this one was chosen from: the best of many is better than it will do."""
    search = config.get("search") or {}
    tried, objective = search.get("selected_from"), config.get("objective", [])
    if not tried:
        return
    names = [objective] if isinstance(objective, str) else objective
    by = " and ".join(find_metric(name).in_a_sentence for name in names)
    yield f"Chosen from {count(tried)} configurations that a search tried, by {by} on {count(search['folds'])} folds."
    if search.get("holdout_folds"):
        yield f"The numbers here are of {count(search['holdout_folds'])} later folds, which the search did not see."
    else:
        yield "The numbers here are of those same folds, so they flatter it: search.holdout_folds holds some out."


def _top_k_sentence(name: str, overall: Numbers, activity: Numbers, chance: Numbers, who: str, positives: str) -> str:
    k = name.partition("@")[2]

    def write(share: float) -> str:
        size = share * int(k)
        return f"{size:.2g}" if size < 1 else f"{size:.{1 if size < 10 else 0}f}"

    ends, found = bounds(overall[name]), write(point(overall[name]) or 0.0)
    interval = f" (95% interval {write(ends[0])} to {write(ends[1])})" if ends else ""
    text = f"Of the {k} {who}, {found} are {positives} on average{interval}"
    others = [(point(activity.get(name)), "ranking by activity"), (point(chance.get(name)), "picking at random")]
    known = [f"{way} finds {write(share)}" for share, way in others if share is not None]
    return f"{text}; {', '.join(known)}." if known else f"{text}."


def _comparison(ends: tuple[float, float], metric: Metric) -> str:
    if ends[0] <= 0 <= ends[1]:
        return "cannot be told apart from ranking by activity"
    return f"{'better' if (ends[0] > 0) == metric.higher_is_better else 'worse'} than ranking by activity"
