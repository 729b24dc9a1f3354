"""The metrics of a run beside their baselines, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlsys.evaluation.formats import Numbers, bounds, point
from mlsys.evaluation.metric_table import Metric, find_metric, headline_metrics, split_name


@dataclass(frozen=True)
class MetricRow:
    """One metric beside its baselines, as text; ``scale`` places its numbers between 0 and 1 for drawing."""

    name: str
    title: str
    meaning: str
    value: str
    interval: str
    activity: str
    chance: str
    difference: str
    difference_interval: str
    higher_is_better: bool
    scale: Mapping[str, float]


def metric_rows(metrics: Numbers, positives: str) -> Iterable[MetricRow]:
    """Yield a row for each metric; none for amounts where nothing says what a positive row is worth."""
    baselines = metrics.get("baselines") or {}
    activity, chance = (baselines.get(name) or {} for name in ("activity", "chance"))
    versus = metrics.get("versus_activity") or {}
    for name, value in (metrics.get("overall") or {}).items():
        text = find_metric(name, positives)
        if text.needs == "value" and point(value) is None:
            continue
        yield MetricRow(
            name=name,
            title=text.title,
            meaning=text.explanation,
            value=text.write(point(value)),
            interval=text.interval(value),
            activity=text.write(point(activity.get(name))),
            chance=text.write(point(chance.get(name))),
            difference=text.difference(point(versus.get(name))),
            difference_interval=difference_interval(versus.get(name), text),
            higher_is_better=text.higher_is_better,
            scale=_scale(value, activity.get(name), chance.get(name)),
        )


def headline_rows(rows: Sequence[MetricRow]) -> tuple[MetricRow, ...]:
    """Return the numbers to read first; of a top-k metric that of the first k."""
    first_of = {split_name(row.name)[0].name: row for row in reversed(rows)}
    return tuple(first_of[metric.name] for metric in headline_metrics() if metric.name in first_of)


def difference_interval(metric: object, text: Metric) -> str:
    """Return the interval of a difference, as text; empty where there is none."""
    ends = bounds(metric)
    return f"{text.difference(ends[0])} to {text.difference(ends[1])}" if ends else ""


def _scale(value: object, activity: object, chance: object) -> Mapping[str, float]:
    """Place a metric, its interval and its baselines between 0 and 1; empty where there is nothing to compare."""
    low, high = bounds(value) or (None, None)
    places = {"value": point(value), "low": low, "high": high, "activity": point(activity), "chance": point(chance)}
    known = {name: place for name, place in places.items() if place is not None}
    bottom, top = min(known.values(), default=0.0), max(known.values(), default=0.0)
    if "value" not in known or top <= bottom:
        return {}
    return {name: (place - bottom) / (top - bottom) for name, place in known.items()}
