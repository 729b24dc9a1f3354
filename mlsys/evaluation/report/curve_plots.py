"""Gain, precision-recall, ROC and calibration curves, and metrics by fold, for one model or several runs.

Shared by the report of a run and by the comparison of runs, which add titles and descriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlsys.evaluation.curves import Floats, Ranking, Reliability
from mlsys.evaluation.formats import percent
from mlsys.evaluation.report.canvas import (
    CHANCE,
    DOTTED,
    LEFT,
    RIGHT,
    fold_ticks,
    log_axis,
    name_lines,
    name_y,
    new_axes,
    percent_axes,
)

GRID = np.linspace(0.0, 1.0, 501)  # x values of all curves, regardless of the number of rows
RARE = 0.05  # base rate below which probabilities are drawn on a log scale
FLOOR = 1e-6  # where a probability of zero is drawn on a log scale
LEGEND_ROW = 0.055  # height of each legend row after the first, as a fraction of the figure
AT_RANDOM: Mapping[str, Any] = {"color": CHANCE, "linewidth": 1.2, "linestyle": DOTTED, "zorder": 1}


@dataclass(frozen=True)
class Series:
    """One line of a plot: the mean curve of one ranking per fold, as overall metrics are means over folds.

    Attributes
    ----------
    rankings : sequence of Ranking
        At least one, each with both classes.
    style : mapping
        Matplotlib line properties, including the label.
    show_folds : bool, default False
        Whether each fold's own curve is drawn as a faint line.
    """

    rankings: Sequence[Ranking]
    style: Mapping[str, Any]
    show_folds: bool = False

    def mean(self, curve: Callable[[Ranking], Floats]) -> Floats:
        """Return the mean of a curve over folds."""
        mean: Floats = np.mean([curve(ranking) for ranking in self.rankings], axis=0)
        return mean

    def value(self, metric: Callable[[Ranking], float]) -> float:
        """Return the mean of a metric over folds."""
        return float(np.mean([metric(ranking) for ranking in self.rankings]))


@dataclass(frozen=True)
class CalibrationSeries:
    """One line of a calibration plot.

    Attributes
    ----------
    curve : Reliability
    colour, label, marker : str
        Matplotlib colour, legend label and marker.
    intervals : bool, default True
        Whether to draw the intervals of the observed rates.
    """

    curve: Reliability
    colour: str
    label: str
    marker: str
    intervals: bool = True


@dataclass(frozen=True)
class FoldSeries:
    """One line of a plot by fold.

    Attributes
    ----------
    positions : sequence of int
        Position of each value among the folds of the plot.
    values : sequence of float
        The metric in each of these folds.
    style : mapping
        Matplotlib line properties, including marker and label.
    incomplete : sequence of int
        Indices of the values of folds with incomplete outcomes, which get a hollow marker.
    incomplete_label : str
        Legend label of these; hidden if it starts with an underscore.
    """

    positions: Sequence[int]
    values: Sequence[float]
    style: Mapping[str, Any]
    incomplete: Sequence[int] = ()
    incomplete_label: str = "_incomplete"


def plot_gain(figure: Figure, series: Sequence[Series], *, entities: str, positives: str) -> Axes:
    """Plot the fraction of positives found against the fraction of entities contacted.

    Parameters
    ----------
    figure : Figure
    series : sequence of Series
    entities, positives : str
        Plural nouns for the rows and for the positive rows.
    """
    axes = new_axes(figure, f"fraction of {entities} contacted, best first", f"fraction of {positives} found")
    _plot_means(axes, series, lambda ranking: ranking.gain_at(GRID))
    axes.plot([0, 1], [0, 1], label="at random", **AT_RANDOM)
    percent_axes(axes)
    return axes


def plot_precision_recall(figure: Figure, series: Sequence[Series], *, positives: str) -> Axes:
    """Plot precision against recall; precision at random is that of the first series."""
    axes = new_axes(figure, f"recall: fraction of {positives} found", "precision")
    means = _plot_means(axes, series, lambda ranking: ranking.precision_at(GRID))
    base = series[0].value(lambda ranking: ranking.base_rate)
    rate = f" {percent(base)}" if len(series) <= 2 else ""  # with more lines, the legend has no space for it
    axes.axhline(base, label=f"at random{rate}", **AT_RANDOM)
    percent_axes(axes)
    # Mean curves must fit, except for their first points, which can reach 100 % by luck; curves of single folds may be
    # cut off at the top.
    highest = max(float(mean[GRID.size // 50 :].max()) for mean in means)
    headroom = 1.6 if any(each.show_folds for each in series) else 1.3
    axes.set_ylim(0, min(1.01, max(headroom * highest, 2 * base)))
    return axes


def plot_roc(figure: Figure, series: Sequence[Series]) -> Axes:
    """Plot the true positive rate against the false positive rate."""
    axes = new_axes(figure, "false positive rate", "true positive rate")
    _plot_means(axes, series, lambda ranking: ranking.sensitivity_at(GRID))
    axes.plot([0, 1], [0, 1], label="at random", **AT_RANDOM)
    percent_axes(axes)
    return axes


def calibration_bins(label: Floats) -> int:
    """Return the number of bins of a calibration plot, with about six positives each."""
    return int(np.clip(label.sum() // 6, 4, 10))


def plot_calibration(figure: Figure, series: Sequence[CalibrationSeries], *, rare: bool) -> Axes:
    """Plot observed against predicted rates.

    Parameters
    ----------
    figure : Figure
    series : sequence of CalibrationSeries
    rare : bool
        Whether to use log scales, because positives are rare.
    """
    intervals = any(each.intervals for each in series)
    axes = new_axes(figure, "predicted probability", "observed rate" + ", with 95% interval" * intervals)
    low = _low_end([each.curve for each in series]) if rare else 0.0
    axes.plot([low, 1], [low, 1], label="perfect", **AT_RANDOM)
    for each in series:
        _plot_reliability(axes, each, low)
    if rare:
        log_axis(axes, "x", low, 1.0)
        log_axis(axes, "y", low, 1.0)
    else:
        percent_axes(axes)
    return axes


def fold_axes(figure: Figure) -> tuple[Axes, Axes]:
    """Return two stacked axes for two metrics by fold."""
    upper, lower = (figure.add_axes((LEFT, bottom, RIGHT - LEFT, 0.24)) for bottom in (0.5, 0.15))
    upper.tick_params(labelbottom=False)
    for axes in (upper, lower):
        axes.margins(y=0.12)  # room for whole markers at the highest and lowest value
    return upper, lower


def plot_by_fold(axes: Axes, series: Sequence[FoldSeries], folds: Sequence[str], metric: str) -> None:
    """Plot a metric by fold.

    Parameters
    ----------
    axes : Axes
    series : sequence of FoldSeries
    folds : sequence of str
        Names of the folds, from left to right.
    metric : str
        Label of the y axis.
    """
    for each in series:
        axes.plot(each.positions, each.values, **each.style)
        if len(each.incomplete):
            hollow = {"label": each.incomplete_label, "linewidth": 0, "markerfacecolor": "white", "zorder": 30}
            x, y = ([numbers[index] for index in each.incomplete] for numbers in (each.positions, each.values))
            axes.plot(x, y, **{**each.style, **hollow})
    axes.set_xlim(-0.35, len(folds) - 0.65)
    step = -(-len(folds) // 6)
    axes.set_xticks(np.arange(len(folds))[::step], labels=fold_ticks(folds[::step]))
    name_y(axes, metric)


def add_legend(figure: Figure, axes: Axes, *, order: Callable[[str], int] | None = None) -> None:
    """Add a legend above the plot, shrinking the plot if the legend takes more than one row."""
    rows = name_lines(figure, axes, order=order)
    if rows > 1:
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, box.width, box.height - (rows - 1) * LEGEND_ROW))


def _plot_means(axes: Axes, series: Sequence[Series], curve: Callable[[Ranking], Floats]) -> list[Floats]:
    """Plot each series; return their mean curves."""
    means = [each.mean(curve) for each in series]
    for each, mean in zip(series, means, strict=True):
        if each.show_folds and len(each.rankings) > 1:
            folds = np.transpose([curve(ranking) for ranking in each.rankings])
            axes.plot(GRID, folds, color=each.style["color"], linewidth=0.7, alpha=0.28, label="_folds")
        axes.plot(GRID, mean, **each.style)
    return means


def _low_end(curves: Sequence[Reliability]) -> float:
    """Return the start of a log axis: half of the lowest value drawn."""
    drawn = np.concatenate([np.append(curve.predicted, curve.observed) for curve in curves])
    return float(max(FLOOR, 0.5 * drawn[drawn > 0].min(initial=1.0)))


def _plot_reliability(axes: Axes, series: CalibrationSeries, low: float) -> None:
    """Plot observed against predicted rates; bins without positives are drawn at ``low``, where a log scale starts."""
    curve, colour = series.curve, series.colour
    x = np.maximum(curve.predicted, low)
    if series.intervals:
        axes.vlines(x, np.maximum(curve.low, low), np.maximum(curve.high, low), color=colour, linewidth=1, alpha=0.45)
    has_positives = (curve.observed > 0) | (low == 0)
    style: dict[str, Any] = {"color": colour, "marker": series.marker, "markersize": 4}
    axes.plot(x[has_positives], curve.observed[has_positives], linewidth=1.3, label=series.label, zorder=3, **style)
    if not has_positives.all():  # a log scale has no zero: use a hollow marker at its start
        floor = np.full(int((~has_positives).sum()), low)
        axes.plot(x[~has_positives], floor, linewidth=0, markerfacecolor="white", clip_on=False, label="_none", **style)
