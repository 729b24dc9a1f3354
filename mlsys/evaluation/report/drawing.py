"""The individual plots of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlsys.evaluation.curves import Floats, Ranking, reliability
from mlsys.evaluation.formats import percent, point
from mlsys.evaluation.metric_table import METRICS
from mlsys.evaluation.report.canvas import (
    ACTIVITY,
    CHANCE,
    DASHED,
    INK,
    MODEL,
    PERCENT,
    RAW,
    Words,
    draw_no_data,
    draw_shares,
    log_axis,
    new_axes,
)
from mlsys.evaluation.report.curve_plots import (
    AT_RANDOM,
    FLOOR,
    RARE,
    CalibrationSeries,
    FoldSeries,
    Series,
    add_legend,
    calibration_bins,
    fold_axes,
    plot_by_fold,
    plot_calibration,
    plot_gain,
    plot_precision_recall,
    plot_roc,
)
from mlsys.pipeline.weights import mean
from mlsys.text import counted, joined

CONTACTED = 0.1  # the fraction of entities at which the gain is annotated
MAX_FEATURES, MAX_RUG = 20, 400


@dataclass(frozen=True)
class PlotFold:
    """One fold: its name, whether all its outcomes are known, and the rankings of the model and of the baseline."""

    name: str
    complete: bool
    model: Ranking
    activity: Ranking | None


@dataclass(frozen=True)
class PlotData:
    """The data of all plots.

    Attributes
    ----------
    folds : list of PlotFold
        Folds with both classes, in order.
    skipped : list of str
        Names of folds with only one class, for which no curve exists.
    score, probability, label : ndarray of float64, shape (n_rows,)
        Pooled over folds.
    weight : ndarray of float64, shape (n_rows,), or None
        Rows that each row stands for; None if each stands for itself.
    importances : DataFrame
        Columns feature and importance.
    metrics : mapping
        Content of ``metrics.json``.
    threshold : float or None
        The operating threshold (a probability).
    entities, positives : str
        Plural nouns for the rows and for the positive rows.
    """

    folds: list[PlotFold]
    skipped: list[str]
    score: Floats
    probability: Floats
    label: Floats
    weight: Floats | None
    importances: pd.DataFrame
    metrics: Mapping[str, Any]
    threshold: float | None
    entities: str
    positives: str

    @property
    def rare(self) -> bool:
        """Whether positives are so rare that probabilities need a log scale."""
        return bool(self.label.size) and mean(self.label, self.weight) < RARE

    @property
    def models(self) -> list[Ranking]:
        """The model's ranking in each fold."""
        return [fold.model for fold in self.folds]

    @property
    def activities(self) -> list[Ranking]:
        """The baseline's ranking in each fold; empty unless every fold has it."""
        rankings = [fold.activity for fold in self.folds if fold.activity is not None]
        return rankings if len(rankings) == len(self.folds) else []

    @property
    def curves(self) -> list[Series]:
        """The lines of the curve plots: the model, with faint lines for its folds, and the baseline."""
        name = "model" if len(self.folds) == 1 else f"model, mean of {len(self.folds)} folds"
        model = {"color": MODEL, "linewidth": 2, "label": name, "zorder": 4}
        activity = {"color": ACTIVITY, "linewidth": 1.5, "linestyle": DASHED, "label": "activity", "zorder": 3}
        return [
            Series(self.models, model, show_folds=True),
            *([Series(self.activities, activity)] if self.activities else []),
        ]

    def headline(self, metric: str, compute: Callable[[Ranking], float]) -> str:
        """Format the overall metric with its interval, or the mean over folds if the run lacks the metric."""
        overall = (self.metrics.get("overall") or {}).get(metric)
        value, interval = point(overall), METRICS[metric].interval(overall)
        if value is None:
            value = float(np.mean([compute(ranking) for ranking in self.models]))
        return METRICS[metric].write(value) + (f" ({interval})" if interval else "")

    def fold_note(self) -> str:
        """Describe which folds are drawn and which are not."""
        text = f"Mean of {counted(len(self.folds), 'fold')}."
        return text + (f" Not drawn, because there is only one class: {joined(self.skipped)}." if self.skipped else "")


def draw_gain(figure: Figure, data: PlotData) -> Words:
    """Draw the fraction of positives found against the fraction of entities contacted."""
    if not data.folds:
        return _no_data(figure, "Gain", data)
    axes = plot_gain(figure, data.curves, entities=data.entities, positives=data.positives)
    add_legend(figure, axes)
    contacted = np.asarray([CONTACTED])
    found, *others = (series.value(lambda ranking: float(ranking.gain_at(contacted)[0])) for series in data.curves)
    versus = f", ranking by activity {percent(others[0])}" if others else ""
    _annotate(axes, CONTACTED, list(zip([found, *others], (MODEL, ACTIVITY), strict=False)))
    return Words(
        f"The top {percent(CONTACTED)} of {data.entities} include {percent(found)} of {data.positives}",
        f"Gain curve. The top {percent(CONTACTED)} of {data.entities} ranked by the model include {percent(found)} "
        f"of all {data.positives}{versus}, a random choice {percent(CONTACTED)}. {data.fold_note()}",
    )


def draw_precision_recall(figure: Figure, data: PlotData) -> Words:
    """Draw precision against recall."""
    if not data.folds:
        return _no_data(figure, "Precision and recall", data)
    add_legend(figure, plot_precision_recall(figure, data.curves, positives=data.positives))
    base = data.curves[0].value(lambda ranking: ranking.base_rate)
    value = data.headline("average_precision", Ranking.average_precision)
    return Words(
        f"Average precision {value}",
        f"Precision-recall curve. Average precision {value}; precision at random {percent(base)}. {data.fold_note()}",
    )


def draw_roc(figure: Figure, data: PlotData) -> Words:
    """Draw the true positive rate against the false positive rate."""
    if not data.folds:
        return _no_data(figure, "ROC", data)
    add_legend(figure, plot_roc(figure, data.curves))
    value = data.headline("roc_auc", Ranking.roc_auc)
    return Words(f"ROC-AUC {value}", f"ROC curve. Area under the curve {value}; at random 0.5. {data.fold_note()}")


def draw_calibration(figure: Figure, data: PlotData) -> Words:
    """Draw observed against predicted rates, before and after calibration."""
    if not data.label.any():
        return _no_data(figure, "Calibration", data)
    bins = calibration_bins(data.label)
    after = reliability(data.probability, data.label, bins, data.weight)
    series = [CalibrationSeries(after, MODEL, "model", "o")]
    if calibrated := _was_calibrated(data):
        before = reliability(data.score, data.label, bins, data.weight)
        series = [
            CalibrationSeries(before, RAW, "before calibration", "s"),
            CalibrationSeries(after, MODEL, "after calibration", "o"),
        ]
    add_legend(figure, plot_calibration(figure, series, rare=data.rare))
    title = _calibration_title(data.metrics, calibrated)
    return Words(
        title,
        f"Calibration plot with {counted(after.rows.size, 'bin')}. {title}. Lowest bin: predicted "
        f"{percent(after.predicted[0])}, observed {percent(after.observed[0])}. Highest bin: predicted "
        f"{percent(after.predicted[-1])}, observed {percent(after.observed[-1])}.",
    )


def draw_scores(figure: Figure, data: PlotData) -> Words:
    """Draw the distribution of the probabilities in each class."""
    if not data.label.size:
        return _no_data(figure, "Scores", data)
    axes = new_axes(figure, "predicted probability", "fraction of each group")
    edges = _score_edges(data)
    values = np.clip(data.probability, edges[0], edges[-1])
    medians = {}
    for positive, colour, name in ((False, CHANCE, "others"), (True, MODEL, data.positives)):
        group = values[(data.label == 1) == positive]
        medians[name] = percent(float(np.median(group))) if group.size else "none"
        if group.size:
            _draw_distribution(axes, group, edges, colour, f"{name} ({group.size:,})", rug=positive)
    if data.rare:
        log_axis(axes, "x", edges[0], edges[-1])
    else:
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PERCENT)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PERCENT)
    if data.threshold is not None and edges[0] <= data.threshold <= edges[-1]:
        axes.axvline(data.threshold, color=INK, linewidth=1, linestyle=DASHED, label="threshold")
    add_legend(figure, axes)
    text = f"{medians[data.positives]} for {data.positives}, {medians['others']} for others"
    return Words(f"Median {text}", f"Distribution of the predicted probability by outcome: median {text}.")


def draw_folds(figure: Figure, data: PlotData) -> Words:
    """Draw average precision and ROC-AUC by fold."""
    if not data.folds:
        return _no_data(figure, "Folds", data)
    upper, lower = fold_axes(figure)
    chance = [ranking.base_rate for ranking in data.models]
    ours, theirs = _draw_by_fold(upper, data, Ranking.average_precision, chance, "average precision")
    _draw_by_fold(lower, data, Ranking.roc_auc, [0.5] * len(chance), "ROC-AUC")
    upper.set_ylim(bottom=0)
    add_legend(figure, upper)
    write = METRICS["average_precision"].write
    title = f"Average precision {write(min(ours))} to {write(max(ours))} by fold"
    if len(ours) == 1:
        title = f"Average precision {write(ours[0])} in one fold"
    elif theirs:
        ahead = sum(our > their for our, their in zip(ours, theirs, strict=True))
        title = f"Average precision: ahead of activity in {ahead} of {len(ours)} folds"
    values = ", ".join(f"{fold.name} {write(value)}" for fold, value in zip(data.folds, ours, strict=True))
    return Words(title, f"Metrics by fold. {title}. Average precision: {values}.")


def draw_importances(figure: Figure, data: PlotData) -> Words:
    """Draw the most important features, as fractions of the total importance."""
    table = data.importances
    values = table["importance"].to_numpy(dtype=np.float64, na_value=0.0) if "importance" in table else np.empty(0)
    total = float(np.abs(values).sum())
    if not total:
        return _no_data(figure, "Importances", data, "This model has no feature importances.")
    order = np.argsort(-np.abs(values), kind="stable")[:MAX_FEATURES]
    names = [" ".join(str(name).split()) for name in table["feature"].iloc[order]]
    fractions = values[order] / total
    draw_shares(figure, names, fractions)
    top = f"Top {len(names)} of " if len(values) > len(names) else ""
    title = f"{top}{counted(len(values), 'feature')}, by fraction of total importance"
    listed = ", ".join(f"{name} {percent(float(part))}" for name, part in zip(names[:5], fractions, strict=False))
    return Words(title, f"{title}: {listed}.")


def _no_data(figure: Figure, title: str, data: PlotData, reason: str = "") -> Words:
    return draw_no_data(
        figure, title, reason or f"No fold has both {data.positives} and others,\nso there is nothing to plot."
    )


def _annotate(axes: Axes, x: float, marks: Sequence[tuple[float, str]]) -> None:
    """Annotate curves with their values at ``x``, keeping the labels apart where the curves meet."""
    heights = [value - 0.03 for value, _ in marks]
    if len(heights) == 2 and abs(heights[0] - heights[1]) < 0.09:
        middle, up = sum(heights) / 2, 0.045 if heights[0] >= heights[1] else -0.045
        heights = [middle + up, middle - up]
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "boxstyle": "square,pad=0.15"}
    for (value, colour), height in zip(marks, heights, strict=True):
        axes.plot([x], [value], marker="o", markersize=4.5, color=colour, markeredgecolor="white", zorder=5)
        text = axes.text(x + 0.025, height, percent(value), color=colour, va="center", bbox=box, zorder=5)
        text.set_fontweight("bold")


def _was_calibrated(data: PlotData) -> bool:
    """Return whether the raw scores are probabilities and calibration changed them."""
    score = data.score
    if np.isnan(score).any() or score.min() < 0 or score.max() > 1:
        return False
    return not np.allclose(score, data.probability, rtol=1e-3, atol=0)


def _calibration_title(metrics: Mapping[str, Any], calibrated: bool) -> str:
    write, errors = METRICS["ece"].write, metrics.get("calibration") or {}
    before, after = (point((errors.get(when) or {}).get("ece")) for when in ("before", "after"))
    if after is None:
        return "Predicted and observed rates"
    return (
        f"Calibration error {write(before)} before, {write(after)} after"
        if calibrated
        else (f"Calibration error {write(after)}")
    )


def _score_edges(data: PlotData, bins: int = 25) -> Floats:
    if not data.rare:
        return np.linspace(0.0, 1.0, bins + 1)
    probability = data.probability
    low = max(FLOOR, float(np.nanmin(probability)))
    return np.geomspace(low * 0.9, min(1.0, max(low, float(np.nanmax(probability))) * 1.1), bins + 1)


def _draw_distribution(axes: Axes, group: Floats, edges: Floats, colour: str, name: str, *, rug: bool) -> None:
    fractions = np.histogram(group, edges)[0] / group.size
    axes.stairs(fractions, edges, fill=True, color=colour, alpha=0.22)
    axes.stairs(fractions, edges, color=colour, linewidth=1.4)
    axes.plot([], [], color=colour, linewidth=2, label=name)
    if rug and group.size <= MAX_RUG:
        ticks: dict[str, Any] = {"linewidth": 0, "marker": "|", "markersize": 7, "markeredgewidth": 0.8}
        height = np.full(group.size, 0.025)  # as a fraction of the axes: just above the x axis
        axes.plot(group, height, color=colour, transform=axes.get_xaxis_transform(), label="_rug", **ticks)


def _draw_by_fold(
    axes: Axes, data: PlotData, metric: Callable[[Ranking], float], chance: Sequence[float], name: str
) -> tuple[list[float], list[float]]:
    """Draw a metric of the model, the baseline and chance by fold; return the values of the first two."""
    positions = range(len(data.folds))
    ours, theirs = ([metric(ranking) for ranking in rankings] for rankings in (data.models, data.activities))
    incomplete = [number for number, fold in enumerate(data.folds) if not fold.complete]
    activity = {"color": ACTIVITY, "linewidth": 1.2, "linestyle": DASHED, "marker": "s", "markersize": 4}
    model = {"color": MODEL, "linewidth": 1.6, "marker": "o", "markersize": 5, "zorder": 3, "label": "model"}
    at_random = {**AT_RANDOM, "label": "at random", "marker": "_" if len(positions) == 1 else ""}
    series = [
        *([FoldSeries(positions, theirs, activity | {"label": "activity"})] if theirs else []),
        FoldSeries(positions, ours, model, incomplete, "incomplete outcomes"),
        FoldSeries(positions, chance, at_random),
    ]
    plot_by_fold(axes, series, [fold.name for fold in data.folds], name)
    return ours, theirs
