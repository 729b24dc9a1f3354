"""The main findings of a run in sentences: how good it is compared with its baselines, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mlsys.evaluation.formats import Numbers, as_float, bounds, point
from mlsys.evaluation.metric_table import METRICS, configured_objectives, find_metric, headline_metrics, split_name
from mlsys.text import counted, joined


def verdict(config: Numbers, metrics: Numbers, entities: str, positives: str, level: str) -> Iterable[str]:
    """Yield the sentences.

    Parameters
    ----------
    config, metrics : mapping
        Content of config.yaml and metrics.json.
    entities, positives : str
        Plural nouns for the rows and for the positive rows.
    level : str
        Confidence level of the intervals, such as "95%".
    """
    yield from _performance(metrics, entities, positives, level)
    if calibration := calibration_text(metrics):
        yield calibration
    yield from _selection(config)


def _performance(metrics: Numbers, entities: str, positives: str, level: str) -> Iterable[str]:
    folds: Sequence[Numbers] = metrics.get("folds") or []
    overall, baselines = metrics.get("overall") or {}, metrics.get("baselines") or {}
    activity, chance = (baselines.get(name) or {} for name in ("activity", "chance"))
    shortest = min((fold.get("stands_for", fold.get("rows", math.inf)) for fold in folds), default=math.inf)
    lists = [(name, split_name(name)[1] or 0) for name in overall if split_name(name)[0].name == "precision"]
    # With a k longer than a fold, precision@k times k would be more positives than there are.
    first = next((name for name, k in lists if k <= shortest and point(overall[name]) is not None), None)
    if first:
        by_date = bool(folds) and all(fold.get("as_of") and not fold.get("as_of_last") for fold in folds)
        who = f"{entities}{' on a test date' if by_date else ''}"
        yield _top_k_sentence(first, overall, activity, chance, who, positives, level)
    versus = metrics.get("versus_activity") or {}
    for metric in (metric for metric in headline_metrics() if metric.group != "top_k"):
        entry = versus.get(metric.name)
        verdict = metric.verdict(entry)
        if not verdict:
            continue
        against = "no clear difference from" if verdict == "same" else f"{verdict} than"
        values = f"{metric.write(point(overall.get(metric.name)))} vs {metric.write(point(activity.get(metric.name)))}"
        gap = f"{metric.difference(point(entry))}, {level} interval {metric.difference_interval(entry)}"
        yield f"{metric.title}: {against} ranking by activity ({values}; difference {gap})."
    if not overall:
        yield "This run has no metrics."
    elif len(folds) == 1:
        yield "All metrics come from a single split, so they do not show how much performance varies over time."


def calibration_text(metrics: Numbers) -> str:
    """Describe the effect of calibration, if it at least halved or doubled its error; otherwise an empty string."""
    errors = metrics.get("calibration") or {}
    before, after = (as_float((errors.get(when) or {}).get("ece")) for when in ("before", "after"))
    if before is None or after is None:
        return ""
    values = f"from {METRICS['ece'].write(before)} to {METRICS['ece'].write(after)}"
    if after > 2 * before:
        return f"Calibration raised the calibration error {values}: use another calibration, or calibration=none."
    return f"Calibration reduced the calibration error {values}." if before >= 2 * after else ""


def _selection(config: Numbers) -> Iterable[str]:
    """Describe how this configuration was selected: the best of many looks better than it will do."""
    if selection := config.get("selection"):
        among = sum(candidate is not None for candidate in selection["candidates"].values())
        yield f"The model was chosen by model=auto among {counted(among, 'candidate')}."
        yield "The metrics here are from folds that the choice did not use."
    search = config.get("search") or {}
    selected_from = search.get("selected_from")
    if not selected_from:
        return
    metrics = joined([find_metric(name).in_a_sentence for name in configured_objectives(config)])
    trials = counted(int(selected_from), "configuration")
    yield f"Selected from {trials} tried in a search, by {metrics} on {counted(int(search['folds']), 'fold')}."
    if search.get("holdout_folds"):
        later = counted(int(search["holdout_folds"]), "later fold")
        yield f"The metrics here are from {later} that the search did not use."
    else:
        yield "The metrics here are from the same folds, so they are optimistic; search.holdout_folds holds folds out."


def _top_k_sentence(
    name: str, overall: Numbers, activity: Numbers, chance: Numbers, who: str, positives: str, level: str
) -> str:
    k = int(name.partition("@")[2])

    def write(precision: float) -> str:
        hits = precision * k
        return f"{hits:.0f}" if hits >= 9.95 else f"{hits:.1f}" if hits >= 0.995 or not hits else f"{hits:.2g}"

    interval = bounds(overall[name])
    between = f" ({level} interval {write(interval[0])} to {write(interval[1])})" if interval else ""
    subject = f"The top {k} {who} include" if k > 1 else f"The top 1 of the {who} includes"
    text = f"{subject} {write(point(overall[name]) or 0.0)} {positives} on average{between}"
    baselines = [(point(activity.get(name)), "when ranked by activity"), (point(chance.get(name)), "at random")]
    known = [f"{write(precision)} {how}" for precision, how in baselines if precision is not None]
    return f"{text}, compared with {joined(known)}." if known else f"{text}."
