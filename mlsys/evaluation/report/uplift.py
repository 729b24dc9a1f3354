"""What an uplift model is good for: the Qini curve, and a sentence about whom to contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mlsys.evaluation.formats import Numbers, bounds, point
from mlsys.evaluation.metric_table import METRICS
from mlsys.evaluation.report.canvas import MODEL, PERCENT, Words, draw_no_data, new_axes
from mlsys.evaluation.report.curve_plots import AT_RANDOM, add_legend
from mlsys.evaluation.report.drawing import PlotData

CONTACTED = 0.3  # the fraction of rows that the sentence is about


def draw_uplift(figure: Figure, data: PlotData) -> Words:
    """Draw the gain from treating each fraction of the rows, the highest uplift first, with its interval."""
    curve: Sequence[Numbers] = data.metrics["uplift_curve"]
    known = [entry for entry in curve if point(entry) is not None]
    if not known or known[-1] is not curve[-1]:
        return draw_no_data(figure, "Qini curve", "Too few rows in an arm.")
    axes = new_axes(
        figure, f"fraction of {data.entities} treated, highest uplift first", f"additional {data.positives} per 1,000"
    )
    fractions = np.array([0.0, *(entry["fraction"] for entry in known)])
    gains = 1000 * np.array([0.0, *(point(entry) or 0.0 for entry in known)])
    ends = [(0.0, 0.0), *(bounds(entry) or (np.nan, np.nan) for entry in known)]
    low, high = 1000 * np.array(ends).T
    axes.fill_between(fractions, low, high, color=MODEL, alpha=0.15, linewidth=0)
    axes.plot(fractions, gains, color=MODEL, linewidth=2, marker="o", markersize=3, label="model", zorder=4)
    axes.plot([0, 1], [0, gains[-1]], label="at random", **AT_RANDOM)
    axes.axhline(0, color="#AEB5BD", linewidth=0.8, zorder=0)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PERCENT)
    add_legend(figure, axes)
    qini = (data.metrics.get("overall") or {}).get("qini")
    value, interval = METRICS["qini"].write(point(qini)), METRICS["qini"].interval(qini)
    shown = f"{value} ({interval})" if interval else value
    return Words(
        f"Qini coefficient {shown}",
        f"Qini curve. Of 1,000 {data.entities}, treating the {1000 * CONTACTED:.0f} with the highest uplift gains "
        f"{_per_thousand(_at(data.metrics, CONTACTED))} {data.positives}, treating all gains {gains[-1]:.1f}. "
        f"Qini coefficient {shown}.",
    )


def uplift_sentence(metrics: Numbers, audit: Numbers, entities: str, positives: str, level: str) -> str:
    """Return what to do with an uplift model, in one or two sentences.

    Parameters
    ----------
    metrics, audit : mapping
        Content of ``metrics.json``, with ``uplift_curve``, and of ``audit.json``.
    entities, positives : str
        Plural nouns for the rows and for the positive rows.
    level : str
        Confidence level of the intervals, such as "95%".

    Examples
    --------
    >>> metrics = {"overall": {"qini": {"value": 0.001, "low": -0.004, "high": 0.006}}, "uplift_curve": []}
    >>> uplift_sentence(metrics, {}, "accounts", "converters", "95%").partition(" (")[0]
    'No evidence that the model finds whom to contact'
    """
    qini = (metrics.get("overall") or {}).get("qini")
    interval = bounds(qini)
    if interval is None:
        if isinstance(qini, Mapping) and qini.get("too_few"):
            return f"Too few {positives} in an arm to tell whether the model finds whom to contact: test on more data."
        return (
            "Without intervals nobody can tell whether the model finds whom to contact: set "
            "metrics.bootstrap_resamples=1000."
        )
    metric = METRICS["qini"]
    numbers = f"Qini coefficient {metric.write(point(qini))}, {level} interval {metric.interval(qini)}"
    everyone = _at(metrics, 1.0)
    if interval[0] <= 0 <= interval[1]:
        change = bounds(everyone)
        if change is not None and change[1] < 0:
            return (
                f"No evidence that the model finds whom to contact ({numbers}), and contacting all {entities} "
                f"{_gains(point(everyone) or 0.0)} {positives} per 1,000: contact none of them."
            )
        return (
            f"No evidence that the model finds whom to contact ({numbers}): contact at random or all {entities}, or "
            "test on more data."
        )
    if interval[1] < 0:
        return (
            f"The model ranks the wrong {entities} first ({numbers}): do not contact by it; look for what went wrong."
        )
    gain = _at(metrics, CONTACTED)
    ends = bounds(gain)
    between = f" ({level} interval {1000 * ends[0]:.1f} to {1000 * ends[1]:.1f})" if ends else ""
    return (
        f"Of 1,000 {entities}, contacting the {1000 * CONTACTED:.0f} with the highest uplift "
        f"{_gains(point(gain) or 0.0)} {positives}{between}; contacting as many at random "
        f"{_gains(CONTACTED * (point(everyone) or 0.0))} ({numbers}){_bias(audit)}."
    )


def _gains(change: float) -> str:
    return f"{'loses' if change < 0 else 'gains'} {1000 * abs(change):.1f}"


def _bias(audit: Numbers) -> str:
    checks: Sequence[Numbers] = audit.get("checks") or []
    if any(check.get("name") == "treatment" and check.get("status") == "warn" for check in checks):
        return ", if the treatment was assigned at random, which the audit doubts"
    return ""


def _at(metrics: Numbers, fraction: float) -> Numbers:
    """Return the entry of the curve at a fraction."""
    return next((entry for entry in metrics["uplift_curve"] if abs(entry["fraction"] - fraction) < 1e-9), {})


def _per_thousand(entry: Numbers) -> str:
    return f"{1000 * (point(entry) or 0.0):.1f}"
