"""What each plot of a run shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlsys.evaluation.canvas import (
    ACTIVITY,
    CHANCE,
    DASHED,
    DOTTED,
    INK,
    LEFT,
    MODEL,
    PERCENT,
    RAW,
    RIGHT,
    Words,
    draw_shares,
    fold_ticks,
    log_axis,
    name_lines,
    name_y,
    new_axes,
    percent_axes,
    say_nothing,
)
from mlsys.evaluation.curves import Floats, Ranking, Reliability, reliability
from mlsys.evaluation.formats import percent, point
from mlsys.evaluation.metric_table import METRICS

GRID = np.linspace(0.0, 1.0, 501)  # every curve is drawn through these points, however many rows there are
CONTACTED = 0.1  # the share at which the gain is written out
RARE = 0.05  # below this base rate, probabilities are drawn on a log scale
FLOOR = 1e-6  # where a probability of zero is drawn on a log scale
MOST_FEATURES, MOST_RUG = 20, 400


@dataclass(frozen=True)
class Fold:
    """One fold as the plots need it: its name, whether its outcomes are all known, and its two rankings."""

    name: str
    complete: bool
    model: Ranking
    activity: Ranking | None


@dataclass(frozen=True)
class Evidence:
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


def draw_gain(figure: Figure, evidence: Evidence) -> Words:
    """Draw the share of positives caught against the share of entities contacted."""
    if not evidence.folds:
        return _nothing(figure, "Gain", evidence)
    axes = new_axes(
        figure, f"share of {evidence.entities} contacted, best first", f"share of {evidence.positives} caught"
    )
    _draw_curves(axes, evidence, lambda ranking: ranking.gain_at(GRID))
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="at random", zorder=2)
    percent_axes(axes)
    name_lines(figure, axes)
    at = np.asarray([CONTACTED])
    caught = float(np.mean([ranking.gain_at(at)[0] for ranking in evidence.models]))
    marks, versus = [(caught, MODEL)], ""
    if evidence.activities:
        by_activity = float(np.mean([ranking.gain_at(at)[0] for ranking in evidence.activities]))
        marks.append((by_activity, ACTIVITY))
        versus = f", ranking by activity {percent(by_activity)}"
    _mark(axes, CONTACTED, marks)
    return Words(
        f"The first {percent(CONTACTED)} of {evidence.entities} hold {percent(caught)} of {evidence.positives}",
        f"Gain curve. The {percent(CONTACTED)} of {evidence.entities} ranked first by the model hold {percent(caught)} "
        f"of all {evidence.positives}{versus}, a random choice {percent(CONTACTED)}. {evidence.fold_words()}",
    )


def draw_precision_recall(figure: Figure, evidence: Evidence) -> Words:
    """Draw precision against recall."""
    if not evidence.folds:
        return _nothing(figure, "Precision and recall", evidence)
    axes = new_axes(figure, f"recall: share of {evidence.positives} caught", "precision: share that is right")
    _draw_curves(axes, evidence, lambda ranking: ranking.precision_at(GRID))
    base = float(np.mean([ranking.base_rate for ranking in evidence.models]))
    axes.axhline(base, color=CHANCE, linewidth=1.2, linestyle=DOTTED, label=f"at random {percent(base)}", zorder=2)
    percent_axes(axes)
    axes.set_ylim(0, _precision_top(evidence, base))
    name_lines(figure, axes)
    value = evidence.headline("average_precision", Ranking.average_precision)
    return Words(
        f"Average precision {value}",
        f"Precision-recall curve. Average precision {value}; precision at random {percent(base)}. "
        f"{evidence.fold_words()}",
    )


def draw_roc(figure: Figure, evidence: Evidence) -> Words:
    """Draw the true positive rate against the false positive rate."""
    if not evidence.folds:
        return _nothing(figure, "ROC", evidence)
    axes = new_axes(figure, "false positive rate", "true positive rate")
    _draw_curves(axes, evidence, lambda ranking: ranking.sensitivity_at(GRID))
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="at random", zorder=2)
    percent_axes(axes)
    name_lines(figure, axes)
    value = evidence.headline("roc_auc", Ranking.roc_auc)
    return Words(f"ROC-AUC {value}", f"ROC curve. Area under it {value}; at random 0.5. {evidence.fold_words()}")


def draw_calibration(figure: Figure, evidence: Evidence) -> Words:
    """Draw observed against predicted rates, before and after calibration."""
    if not evidence.label.any():
        return _nothing(figure, "Calibration", evidence)
    axes = new_axes(figure, "predicted probability", "observed rate, with 95% interval")
    bins = int(np.clip(evidence.label.sum() // 6, 4, 10))
    after = reliability(evidence.probability, evidence.label, bins)
    before = reliability(evidence.score, evidence.label, bins) if _was_calibrated(evidence) else None
    low = low_end([after, *([before] if before else [])]) if evidence.rare else 0.0
    axes.plot([low, 1], [low, 1], color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="perfect", zorder=2)
    if before is not None:
        draw_reliability(axes, before, RAW, "before calibration", low, marker="s")
    draw_reliability(axes, after, MODEL, "model" if before is None else "after calibration", low, marker="o")
    if evidence.rare:
        log_axis(axes, "x", low, 1.0)
        log_axis(axes, "y", low, 1.0)
    else:
        percent_axes(axes)
    name_lines(figure, axes)
    title = _calibration_title(evidence.metrics, before is not None)
    return Words(
        title,
        f"Calibration plot of {after.rows.size} bins. {title}. Lowest bin: predicted {percent(after.predicted[0])}, "
        f"observed {percent(after.observed[0])}. Highest bin: predicted {percent(after.predicted[-1])}, observed "
        f"{percent(after.observed[-1])}.",
    )


def draw_scores(figure: Figure, evidence: Evidence) -> Words:
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
    name_lines(figure, axes)
    words = f"{medians[evidence.positives]} for {evidence.positives}, {medians['others']} for others"
    return Words(f"Median {words}", f"Distribution of the predicted probability by outcome: median {words}.")


def draw_folds(figure: Figure, evidence: Evidence) -> Words:
    """Draw average precision and ROC-AUC fold by fold."""
    if not evidence.folds:
        return _nothing(figure, "Folds", evidence)
    upper, lower = (figure.add_axes((LEFT, bottom, RIGHT - LEFT, 0.24)) for bottom in (0.5, 0.15))
    chance = [ranking.base_rate for ranking in evidence.models]
    ours, theirs = _draw_by_fold(upper, evidence, Ranking.average_precision, chance, "average precision")
    _draw_by_fold(lower, evidence, Ranking.roc_auc, [0.5] * len(chance), "ROC-AUC")
    upper.set_ylim(bottom=0)
    upper.tick_params(labelbottom=False)
    name_lines(figure, upper)
    write = METRICS["average_precision"].write
    title = f"Average precision {write(min(ours))} to {write(max(ours))} by fold"
    if len(ours) == 1:
        title = f"Average precision {write(ours[0])} in the one fold"
    elif theirs:
        ahead = sum(our > their for our, their in zip(ours, theirs, strict=True))
        title = f"Average precision: ahead of activity in {ahead} of {len(ours)} folds"
    values = ", ".join(f"{fold.name} {write(value)}" for fold, value in zip(evidence.folds, ours, strict=True))
    return Words(title, f"Metrics by fold. {title}. Average precision: {values}.")


def draw_importances(figure: Figure, evidence: Evidence) -> Words:
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


def _nothing(figure: Figure, title: str, evidence: Evidence, reason: str = "") -> Words:
    return say_nothing(
        figure, title, reason or f"No fold holds both {evidence.positives} and others,\nso there is nothing to draw."
    )


def _draw_curves(axes: Axes, evidence: Evidence, curve: Callable[[Ranking], Floats]) -> None:
    """Draw a curve: each fold faintly, their mean boldly (as overall metrics are means), the baseline's mean dashed."""
    curves = [curve(ranking) for ranking in evidence.models]
    if len(curves) > 1:
        axes.plot(GRID, np.transpose(curves), color=MODEL, linewidth=0.7, alpha=0.28, label="_folds")
    name = "model" if len(curves) == 1 else f"model, mean of {len(curves)} folds"
    axes.plot(GRID, np.mean(curves, axis=0), color=MODEL, linewidth=2, label=name, zorder=4)
    if evidence.activities:
        mean = np.mean([curve(ranking) for ranking in evidence.activities], axis=0)
        axes.plot(GRID, mean, color=ACTIVITY, linewidth=1.5, linestyle=DASHED, label="activity", zorder=3)


def _precision_top(evidence: Evidence, base: float) -> float:
    """Return where a precision axis ends: the mean curves must fit, a single fold may leave the plot at the top."""
    inner = GRID[GRID.size // 50 :]  # the very first rows reach 100 % by luck alone
    means = [
        np.mean([ranking.precision_at(inner) for ranking in rankings], axis=0).max()
        for rankings in (evidence.models, evidence.activities)
        if rankings
    ]
    return float(min(1.01, max(1.6 * max(means), 2 * base)))


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


def _was_calibrated(evidence: Evidence) -> bool:
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


def low_end(curves: Sequence[Reliability]) -> float:
    """Return where a log axis starts: at half of the lowest value drawn."""
    drawn = np.concatenate([np.append(curve.predicted, curve.observed) for curve in curves])
    return float(max(FLOOR, 0.5 * drawn[drawn > 0].min(initial=1.0)))


def draw_reliability(
    axes: Axes, curve: Reliability, colour: str, name: str, low: float, marker: str, *, intervals: bool = True
) -> None:
    """Draw observed against predicted rates; what was never observed lies at ``low``, where a log scale starts."""
    x = np.maximum(curve.predicted, low)
    if intervals:
        axes.vlines(x, np.maximum(curve.low, low), np.maximum(curve.high, low), color=colour, linewidth=1, alpha=0.45)
    seen = (curve.observed > 0) | (low == 0)
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4}
    axes.plot(x[seen], curve.observed[seen], linewidth=1.3, label=name, zorder=3, **style)
    if not seen.all():  # on a log scale zero is nowhere: a hollow mark at the floor says "none seen"
        floor = np.full(int((~seen).sum()), low)
        axes.plot(x[~seen], floor, linewidth=0, markerfacecolor="white", clip_on=False, label="_none", **style)


def _score_edges(evidence: Evidence, bins: int = 25) -> Floats:
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
    axes: Axes, evidence: Evidence, metric: Callable[[Ranking], float], chance: Sequence[float], name: str
) -> tuple[list[float], list[float]]:
    """Draw a metric of the model, the baseline and chance by fold; return the first two."""
    x = np.arange(len(evidence.folds))
    ours, theirs = ([metric(ranking) for ranking in rankings] for rankings in (evidence.models, evidence.activities))
    if theirs:
        dashed: dict[str, Any] = {"linewidth": 1.2, "linestyle": DASHED, "marker": "s", "markersize": 4}
        axes.plot(x, theirs, color=ACTIVITY, label="activity", **dashed)
    axes.plot(x, ours, color=MODEL, linewidth=1.6, marker="o", markersize=5, label="model", zorder=3)
    axes.plot(
        x, chance, color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="at random", marker="_" if len(x) == 1 else ""
    )
    partial = [number for number, fold in enumerate(evidence.folds) if not fold.complete]
    if partial:
        hollow: dict[str, Any] = {"linewidth": 0, "marker": "o", "markersize": 5, "markerfacecolor": "white"}
        values = [ours[number] for number in partial]
        axes.plot(partial, values, color=MODEL, zorder=4, label="outcomes incomplete", **hollow)
    axes.set_xlim(-0.35, len(x) - 0.65)
    step = -(-len(x) // 6)
    axes.set_xticks(x[::step], labels=fold_ticks([fold.name for fold in evidence.folds][::step]))
    name_y(axes, name)
    return ours, theirs
