"""Gain, precision-recall, ROC and calibration curves, and metrics by fold, of one model or of several runs.

The report of a run and the comparison of runs draw with these; titles and descriptions are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import pandas as pd

GRID = np.linspace(0.0, 1.0, 501)  # every curve is drawn through these points, however many rows there are
RARE = 0.05  # below this base rate, probabilities are drawn on a log scale
FLOOR = 1e-6  # where a probability of zero is drawn on a log scale
LEGEND_ROW = 0.055  # of the height: what each row of a legend after the first takes from the plot
AT_RANDOM: Mapping[str, Any] = {"color": CHANCE, "linewidth": 1.2, "linestyle": DOTTED, "zorder": 1}


@dataclass(frozen=True)
class Series:
    """One line of a plot: a ranking per fold, drawn as the mean of their curves, as overall metrics are means.

    Attributes
    ----------
    rankings : sequence of Ranking
        At least one, each with both classes.
    style : mapping
        Matplotlib's properties of the line, its label included.
    show_folds : bool, default False
        Whether each fold's own curve is drawn too, faintly.
    """

    rankings: Sequence[Ranking]
    style: Mapping[str, Any]
    show_folds: bool = False

    def mean(self, curve: Callable[[Ranking], Floats]) -> Floats:
        """Return a curve's mean over the folds."""
        mean: Floats = np.mean([curve(ranking) for ranking in self.rankings], axis=0)
        return mean

    def value(self, metric: Callable[[Ranking], float]) -> float:
        """Return a metric's mean over the folds."""
        return float(np.mean([metric(ranking) for ranking in self.rankings]))


@dataclass(frozen=True)
class CalibrationSeries:
    """One line of a calibration plot.

    Attributes
    ----------
    curve : Reliability
    colour, label, marker : str
        As matplotlib takes them.
    intervals : bool, default True
        Whether the intervals of the observed rates are drawn.
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
    places : sequence of int
        Position of each value among the folds of the plot.
    values : sequence of float
        The metric in each of these folds.
    style : mapping
        Matplotlib's properties of the line, marker and label included.
    incomplete : sequence of int
        Which of the values, by index, are of folds whose outcomes are not all known: they get a hollow marker.
    incomplete_label : str
        The legend's name for these; one that begins with an underscore is not shown.
    """

    places: Sequence[int]
    values: Sequence[float]
    style: Mapping[str, Any]
    incomplete: Sequence[int] = ()
    incomplete_label: str = "_incomplete"


def fold_label(as_of: pd.Series[Any], number: object) -> str:
    """Return what a fold is called: its as-of, or its number where its rows have none or several.

    Examples
    --------
    >>> import pandas as pd
    >>> fold_label(pd.Series(pd.to_datetime(["2020-02-24"] * 2)), 0), fold_label(pd.Series([pd.NaT]), 3)
    ('2020-02-24', 'fold 3')
    """
    days = as_of.dropna().unique()
    return f"{days[0]:%Y-%m-%d}" if len(days) == 1 else f"fold {number}"


def plot_gain(figure: Figure, series: Sequence[Series], *, entities: str, positives: str) -> Axes:
    """Plot the share of positives caught against the share of entities contacted.

    Parameters
    ----------
    figure : Figure
    series : sequence of Series
    entities, positives : str
        What all rows and the positive rows are called, in the plural.
    """
    axes = new_axes(figure, f"share of {entities} contacted, best first", f"share of {positives} caught")
    _plot_means(axes, series, lambda ranking: ranking.gain_at(GRID))
    axes.plot([0, 1], [0, 1], label="at random", **AT_RANDOM)
    percent_axes(axes)
    return axes


def plot_precision_recall(figure: Figure, series: Sequence[Series], *, positives: str) -> Axes:
    """Plot precision against recall; precision at random is that of the first series."""
    axes = new_axes(figure, f"recall: share of {positives} caught", "precision: share that is right")
    means = _plot_means(axes, series, lambda ranking: ranking.precision_at(GRID))
    base = series[0].value(lambda ranking: ranking.base_rate)
    rate = f" {percent(base)}" if len(series) <= 2 else ""  # a legend of more lines has no space for it
    axes.axhline(base, label=f"at random{rate}", **AT_RANDOM)
    percent_axes(axes)
    # The mean curves must fit, but for the very first rows, which reach 100 % by luck alone; a fold's own curve may
    # leave the plot at the top.
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
    """Return how many bins a calibration plot has: about six positives in each."""
    return int(np.clip(label.sum() // 6, 4, 10))


def plot_calibration(figure: Figure, series: Sequence[CalibrationSeries], *, rare: bool) -> Axes:
    """Plot observed against predicted rates.

    Parameters
    ----------
    figure : Figure
    series : sequence of CalibrationSeries
    rare : bool
        Whether positives are so rare that only a log scale shows anything.
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
    """Return two axes, one above the other, for two metrics by fold."""
    upper, lower = (figure.add_axes((LEFT, bottom, RIGHT - LEFT, 0.24)) for bottom in (0.5, 0.15))
    upper.tick_params(labelbottom=False)
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
        What the y axis is called.
    """
    for each in series:
        axes.plot(each.places, each.values, **each.style)
        if len(each.incomplete):
            hollow = {"label": each.incomplete_label, "linewidth": 0, "markerfacecolor": "white", "zorder": 30}
            places, values = ([numbers[at] for at in each.incomplete] for numbers in (each.places, each.values))
            axes.plot(places, values, **{**each.style, **hollow})
    axes.set_xlim(-0.35, len(folds) - 0.65)
    step = -(-len(folds) // 6)
    axes.set_xticks(np.arange(len(folds))[::step], labels=fold_ticks(folds[::step]))
    name_y(axes, metric)


def add_legend(figure: Figure, axes: Axes, *, order: Callable[[str], int] | None = None) -> None:
    """Name the lines above a plot, which makes room where their names take more than one row."""
    rows = name_lines(figure, axes, order=order)
    if rows > 1:
        place = axes.get_position()
        axes.set_position((place.x0, place.y0, place.width, place.height - (rows - 1) * LEGEND_ROW))


def _plot_means(axes: Axes, series: Sequence[Series], curve: Callable[[Ranking], Floats]) -> list[Floats]:
    """Plot each series, and return its mean curve."""
    means = [each.mean(curve) for each in series]
    for each, mean in zip(series, means, strict=True):
        if each.show_folds and len(each.rankings) > 1:
            folds = np.transpose([curve(ranking) for ranking in each.rankings])
            axes.plot(GRID, folds, color=each.style["color"], linewidth=0.7, alpha=0.28, label="_folds")
        axes.plot(GRID, mean, **each.style)
    return means


def _low_end(curves: Sequence[Reliability]) -> float:
    """Return where a log axis starts: at half of the lowest value drawn."""
    drawn = np.concatenate([np.append(curve.predicted, curve.observed) for curve in curves])
    return float(max(FLOOR, 0.5 * drawn[drawn > 0].min(initial=1.0)))


def _plot_reliability(axes: Axes, series: CalibrationSeries, low: float) -> None:
    """Plot observed against predicted rates; what was never observed lies at ``low``, where a log scale starts."""
    curve, colour = series.curve, series.colour
    x = np.maximum(curve.predicted, low)
    if series.intervals:
        axes.vlines(x, np.maximum(curve.low, low), np.maximum(curve.high, low), color=colour, linewidth=1, alpha=0.45)
    seen = (curve.observed > 0) | (low == 0)
    style: dict[str, Any] = {"color": colour, "marker": series.marker, "markersize": 4}
    axes.plot(x[seen], curve.observed[seen], linewidth=1.3, label=series.label, zorder=3, **style)
    if not seen.all():  # on a log scale zero is nowhere: a hollow mark at the floor says "none seen"
        floor = np.full(int((~seen).sum()), low)
        axes.plot(x[~seen], floor, linewidth=0, markerfacecolor="white", clip_on=False, label="_none", **style)
