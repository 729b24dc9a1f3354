"""The metrics of a run and its baselines, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlsys.evaluation.formats import Numbers, bounds, point
from mlsys.evaluation.metric_table import find_metric, headline_metrics, split_name


@dataclass(frozen=True)
class MetricRow:
    """One metric and its baselines, as text; ``scale`` has the same numbers scaled to 0 to 1, for drawing."""

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


def metric_rows(metrics: Numbers, positives: str = "converters", currency: str = "") -> Iterable[MetricRow]:
    """Yield a row for each metric; value metrics are left out where the value of a positive is unknown."""
    baselines = metrics.get("baselines") or {}
    activity, chance = (baselines.get(name) or {} for name in ("activity", "chance"))
    versus = metrics.get("versus_activity") or {}
    for name, value in (metrics.get("overall") or {}).items():
        text = find_metric(name, positives, currency)
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
            difference_interval=text.difference_interval(versus.get(name)),
            higher_is_better=text.higher_is_better,
            scale=_scale(value, activity.get(name), chance.get(name)),
        )


def headline_rows(rows: Sequence[MetricRow], objectives: Sequence[str] = ()) -> tuple[MetricRow, ...]:
    """Return the metrics to decide by: headline metrics, a top-k metric with its first k only, and objectives."""
    first_rows = {split_name(row.name)[0].name: row.name for row in reversed(rows)}
    chosen = {first_rows[metric.name] for metric in headline_metrics() if metric.name in first_rows}
    return tuple(row for row in rows if row.name in chosen or row.name in objectives)


def _scale(value: object, activity: object, chance: object) -> Mapping[str, float]:
    """Scale a metric, its interval and its baselines to 0 to 1; empty if they are all equal or missing."""
    low, high = bounds(value) or (None, None)
    numbers = {"value": point(value), "low": low, "high": high, "activity": point(activity), "chance": point(chance)}
    known = {name: number for name, number in numbers.items() if number is not None}
    bottom, top = min(known.values(), default=0.0), max(known.values(), default=0.0)
    if "value" not in known or top <= bottom:
        return {}
    return {name: (number - bottom) / (top - bottom) for name, number in known.items()}
