"""What each plot of a run shows."""

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

CONTACTED = 0.1  # the share at which the gain is written out
MOST_FEATURES, MOST_RUG = 20, 400


@dataclass(frozen=True)
class Fold:
    """One fold as the plots need it: its name, whether its outcomes are all known, and its two rankings."""

    name: str
    complete: bool
    model: Ranking
    activity: Ranking | None


@dataclass(frozen=True)
class PlotData:
    """All that the plots draw.

    Attributes
    ----------
    folds : list of Fold
        Those with both classes, in the order of their number.
    skipped : list of str
        Names of the folds with one class only, which no curve can show.
    score, probability, label : ndarray of float64, shape (n_rows,)
        Pooled over the folds.
    importances : DataFrame
        Columns feature and importance.
    metrics : mapping
        The shape of ``metrics.json``.
    threshold : float or None
        The operating threshold, a probability.
    entities, positives : str
        What all rows and the positive rows are called, in the plural.
    """

    folds: list[Fold]
    skipped: list[str]
    score: Floats
    probability: Floats
    label: Floats
    importances: pd.DataFrame
    metrics: Mapping[str, Any]
    threshold: float | None
    entities: str
    positives: str

    @property
    def rare(self) -> bool:
        """Whether positives are so few that only a log scale shows anything."""
        return bool(self.label.size) and float(self.label.mean()) < RARE

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
        """The lines of the plots: the model, each fold faintly, and the baseline."""
        name = "model" if len(self.folds) == 1 else f"model, mean of {len(self.folds)} folds"
        model = {"color": MODEL, "linewidth": 2, "label": name, "zorder": 4}
        activity = {"color": ACTIVITY, "linewidth": 1.5, "linestyle": DASHED, "label": "activity", "zorder": 3}
        return [
            Series(self.models, model, show_folds=True),
            *([Series(self.activities, activity)] if self.activities else []),
        ]

    def headline(self, metric: str, compute: Callable[[Ranking], float]) -> str:
        """Return the overall metric with its interval, or the folds' mean where the run has no such metric."""
        overall = (self.metrics.get("overall") or {}).get(metric)
        value, interval = point(overall), METRICS[metric].interval(overall)
        if value is None:
            value = float(np.mean([compute(ranking) for ranking in self.models]))
        return METRICS[metric].write(value) + (f" ({interval})" if interval else "")

    def fold_words(self) -> str:
        """Return how many folds are drawn, and which are not."""
        text = "One fold." if len(self.folds) == 1 else f"Mean of {len(self.folds)} folds."
        return text + (f" Not drawn, for want of a class: {', '.join(self.skipped)}." if self.skipped else "")


def draw_gain(figure: Figure, evidence: PlotData) -> Words:
    """Draw the share of positives caught against the share of entities contacted."""
    if not evidence.folds:
        return _nothing(figure, "Gain", evidence)
    axes = plot_gain(figure, evidence.curves, entities=evidence.entities, positives=evidence.positives)
    add_legend(figure, axes)
    at = np.asarray([CONTACTED])
    caught, *others = (series.value(lambda ranking: float(ranking.gain_at(at)[0])) for series in evidence.curves)
    versus = f", ranking by activity {percent(others[0])}" if others else ""
    _mark(axes, CONTACTED, list(zip([caught, *others], (MODEL, ACTIVITY), strict=False)))
    return Words(
        f"The first {percent(CONTACTED)} of {evidence.entities} hold {percent(caught)} of {evidence.positives}",
        f"Gain curve. The {percent(CONTACTED)} of {evidence.entities} ranked first by the model hold {percent(caught)} "
        f"of all {evidence.positives}{versus}, a random choice {percent(CONTACTED)}. {evidence.fold_words()}",
    )


def draw_precision_recall(figure: Figure, evidence: PlotData) -> Words:
    """Draw precision against recall."""
    if not evidence.folds:
        return _nothing(figure, "Precision and recall", evidence)
    add_legend(figure, plot_precision_recall(figure, evidence.curves, positives=evidence.positives))
    base = evidence.curves[0].value(lambda ranking: ranking.base_rate)
    value = evidence.headline("average_precision", Ranking.average_precision)
    return Words(
        f"Average precision {value}",
        f"Precision-recall curve. Average precision {value}; precision at random {percent(base)}. "
        f"{evidence.fold_words()}",
    )


def draw_roc(figure: Figure, evidence: PlotData) -> Words:
    """Draw the true positive rate against the false positive rate."""
    if not evidence.folds:
        return _nothing(figure, "ROC", evidence)
    add_legend(figure, plot_roc(figure, evidence.curves))
    value = evidence.headline("roc_auc", Ranking.roc_auc)
    return Words(f"ROC-AUC {value}", f"ROC curve. Area under it {value}; at random 0.5. {evidence.fold_words()}")


def draw_calibration(figure: Figure, evidence: PlotData) -> Words:
    """Draw observed against predicted rates, before and after calibration."""
    if not evidence.label.any():
        return _nothing(figure, "Calibration", evidence)
    bins = calibration_bins(evidence.label)
    after = reliability(evidence.probability, evidence.label, bins)
    series = [CalibrationSeries(after, MODEL, "model", "o")]
    if calibrated := _was_calibrated(evidence):
        before = reliability(evidence.score, evidence.label, bins)
        series = [
            CalibrationSeries(before, RAW, "before calibration", "s"),
            CalibrationSeries(after, MODEL, "after calibration", "o"),
        ]
    add_legend(figure, plot_calibration(figure, series, rare=evidence.rare))
    title = _calibration_title(evidence.metrics, calibrated)
    return Words(
        title,
        f"Calibration plot of {after.rows.size} bins. {title}. Lowest bin: predicted {percent(after.predicted[0])}, "
        f"observed {percent(after.observed[0])}. Highest bin: predicted {percent(after.predicted[-1])}, observed "
        f"{percent(after.observed[-1])}.",
    )


def draw_scores(figure: Figure, evidence: PlotData) -> Words:
    """Draw how the probabilities are distributed in each class."""
    if not evidence.label.size:
        return _nothing(figure, "Scores", evidence)
    axes = new_axes(figure, "predicted probability", "share of each group")
    edges = _score_edges(evidence)
    values = np.clip(evidence.probability, edges[0], edges[-1])
    medians = {}
    for positive, colour, name in ((False, CHANCE, "others"), (True, MODEL, evidence.positives)):
        group = values[(evidence.label == 1) == positive]
        medians[name] = percent(float(np.median(group))) if group.size else "none"
        if group.size:
            _draw_distribution(axes, group, edges, colour, f"{name} ({group.size:,})", rug=positive)
    if evidence.rare:
        log_axis(axes, "x", edges[0], edges[-1])
    else:
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PERCENT)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PERCENT)
    if evidence.threshold is not None and edges[0] <= evidence.threshold <= edges[-1]:
        axes.axvline(evidence.threshold, color=INK, linewidth=1, linestyle=DASHED, label="threshold")
    add_legend(figure, axes)
    words = f"{medians[evidence.positives]} for {evidence.positives}, {medians['others']} for others"
    return Words(f"Median {words}", f"Distribution of the predicted probability by outcome: median {words}.")


def draw_folds(figure: Figure, evidence: PlotData) -> Words:
    """Draw average precision and ROC-AUC fold by fold."""
    if not evidence.folds:
        return _nothing(figure, "Folds", evidence)
    upper, lower = fold_axes(figure)
    chance = [ranking.base_rate for ranking in evidence.models]
    ours, theirs = _draw_by_fold(upper, evidence, Ranking.average_precision, chance, "average precision")
    _draw_by_fold(lower, evidence, Ranking.roc_auc, [0.5] * len(chance), "ROC-AUC")
    upper.set_ylim(bottom=0)
    add_legend(figure, upper)
    write = METRICS["average_precision"].write
    title = f"Average precision {write(min(ours))} to {write(max(ours))} by fold"
    if len(ours) == 1:
        title = f"Average precision {write(ours[0])} in the one fold"
    elif theirs:
        ahead = sum(our > their for our, their in zip(ours, theirs, strict=True))
        title = f"Average precision: ahead of activity in {ahead} of {len(ours)} folds"
    values = ", ".join(f"{fold.name} {write(value)}" for fold, value in zip(evidence.folds, ours, strict=True))
    return Words(title, f"Metrics by fold. {title}. Average precision: {values}.")


def draw_importances(figure: Figure, evidence: PlotData) -> Words:
    """Draw the features that matter most, as shares of all importance."""
    table = evidence.importances
    values = table["importance"].to_numpy(dtype=np.float64, na_value=0.0) if "importance" in table else np.empty(0)
    total = float(np.abs(values).sum())
    if not total:
        return _nothing(figure, "Importances", evidence, "This model tells no feature importances.")
    order = np.argsort(-np.abs(values), kind="stable")[:MOST_FEATURES]
    names = [" ".join(str(name).split()) for name in table["feature"].iloc[order]]
    shares = values[order] / total
    draw_shares(figure, names, shares)
    of_all = f"Top {len(names)} of {len(values)} features" if len(values) > len(names) else f"All {len(names)} features"
    listed = ", ".join(f"{name} {percent(float(share))}" for name, share in zip(names[:5], shares, strict=False))
    return Words(f"{of_all}, by share of importance", f"{of_all}, by share of all importance: first {listed}.")


def _nothing(figure: Figure, title: str, evidence: PlotData, reason: str = "") -> Words:
    return draw_no_data(
        figure, title, reason or f"No fold holds both {evidence.positives} and others,\nso there is nothing to draw."
    )


def _mark(axes: Axes, x: float, marks: Sequence[tuple[float, str]]) -> None:
    """Write values beside their curves at ``x``, keeping them apart where the curves meet."""
    heights = [value - 0.03 for value, _ in marks]
    if len(heights) == 2 and abs(heights[0] - heights[1]) < 0.09:
        middle, up = sum(heights) / 2, 0.045 if heights[0] >= heights[1] else -0.045
        heights = [middle + up, middle - up]
    behind = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "boxstyle": "square,pad=0.15"}
    for (value, colour), height in zip(marks, heights, strict=True):
        axes.plot([x], [value], marker="o", markersize=4.5, color=colour, markeredgecolor="white", zorder=5)
        words = axes.text(x + 0.025, height, percent(value), color=colour, va="center", bbox=behind, zorder=5)
        words.set_fontweight("bold")


def _was_calibrated(evidence: PlotData) -> bool:
    """Return whether the raw scores are probabilities that calibration changed."""
    score = evidence.score
    if np.isnan(score).any() or score.min() < 0 or score.max() > 1:
        return False
    return not np.allclose(score, evidence.probability, rtol=1e-3, atol=0)


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


def _score_edges(evidence: PlotData, bins: int = 25) -> Floats:
    if not evidence.rare:
        return np.linspace(0.0, 1.0, bins + 1)
    probability = evidence.probability
    low = max(FLOOR, float(np.nanmin(probability)))
    return np.geomspace(low * 0.9, min(1.0, max(low, float(np.nanmax(probability))) * 1.1), bins + 1)


def _draw_distribution(axes: Axes, group: Floats, edges: Floats, colour: str, name: str, *, rug: bool) -> None:
    shares = np.histogram(group, edges)[0] / group.size
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.22)
    axes.stairs(shares, edges, color=colour, linewidth=1.4)
    axes.plot([], [], color=colour, linewidth=2, label=name)
    if rug and group.size <= MOST_RUG:
        ticks: dict[str, Any] = {"linewidth": 0, "marker": "|", "markersize": 7, "markeredgewidth": 0.8}
        height = np.full(group.size, 0.025)  # of the axes, just above the line
        axes.plot(group, height, color=colour, transform=axes.get_xaxis_transform(), label="_rug", **ticks)


def _draw_by_fold(
    axes: Axes, evidence: PlotData, metric: Callable[[Ranking], float], chance: Sequence[float], name: str
) -> tuple[list[float], list[float]]:
    """Draw a metric of the model, the baseline and chance by fold; return the first two."""
    places = range(len(evidence.folds))
    ours, theirs = ([metric(ranking) for ranking in rankings] for rankings in (evidence.models, evidence.activities))
    incomplete = [number for number, fold in enumerate(evidence.folds) if not fold.complete]
    activity = {"color": ACTIVITY, "linewidth": 1.2, "linestyle": DASHED, "marker": "s", "markersize": 4}
    model = {"color": MODEL, "linewidth": 1.6, "marker": "o", "markersize": 5, "zorder": 3, "label": "model"}
    at_random = {**AT_RANDOM, "label": "at random", "marker": "_" if len(places) == 1 else ""}
    series = [
        *([FoldSeries(places, theirs, activity | {"label": "activity"})] if theirs else []),
        FoldSeries(places, ours, model, incomplete, "outcomes incomplete"),
        FoldSeries(places, chance, at_random),
    ]
    plot_by_fold(axes, series, [fold.name for fold in evidence.folds], name)
    return ours, theirs
