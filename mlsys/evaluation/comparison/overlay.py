"""The plots of a comparison, with the curves of all runs overlaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.comparison.comparison import Comparison
from mlsys.evaluation.comparison.rows import with_weights
from mlsys.evaluation.curves import Floats, Ranking, reliability
from mlsys.evaluation.fold_names import fold_name, fold_order, fold_times
from mlsys.evaluation.formats import percent
from mlsys.evaluation.metric_table import METRICS
from mlsys.evaluation.report.canvas import DASHED, INK, Words, house_style, render_png
from mlsys.evaluation.report.curve_plots import (
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
from mlsys.text import counted

# The Okabe-Ito palette, with different line styles and markers. Further runs are grey: more colours look too similar.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B07D00", "#4A9CC9", INK)
STYLES: tuple[Any, ...] = ("-", DASHED, (0, (6, 1.5, 1, 1.5)), (0, (2, 1)), "-", DASHED, (0, (6, 1.5, 1, 1.5)))
MARKERS = "osD^vPX"
OTHERS = "#B9C0C7"


@dataclass(frozen=True)
class Line:
    """The data and style of one run in the plots."""

    key: str
    label: str
    number: int
    folds: Mapping[str, Ranking]
    incomplete: frozenset[str]
    probability: Floats
    outcome: Floats
    weight: Floats | None

    @property
    def style(self) -> dict[str, Any]:
        """Matplotlib line properties: colour, line style, label and drawing order."""
        if self.number >= len(COLOURS):
            return {"color": OTHERS, "linewidth": 0.9, "label": f"_{self.key}", "zorder": 2}
        width = 2.0 if self.number == 0 else 1.6
        style = {"color": COLOURS[self.number], "linestyle": STYLES[self.number], "linewidth": width}
        return style | {"label": self.label, "zorder": 20 - self.number}

    @property
    def series(self) -> Series:
        """The run as a line of a curve plot."""
        return Series(list(self.folds.values()), self.style)


def draw_overlays(comparison: Comparison) -> dict[str, bytes]:
    """Draw gain, precision-recall, ROC and calibration curves and metrics by fold, with a line for each run.

    Returns
    -------
    dict of str to bytes
        PNG files by name; empty if no run has predictions to draw.
    """
    lines = [line for line in _lines(comparison) if line.folds]
    if not lines:
        return {}
    plots: dict[str, Callable[[Figure], Words]] = {
        "gain": lambda figure: draw_gain(figure, lines),
        "pr": lambda figure: draw_precision_recall(figure, lines),
        "roc": lambda figure: draw_roc(figure, lines),
        "calibration": lambda figure: draw_calibration(figure, lines),
        "folds": lambda figure: draw_folds(figure, lines),
    }
    with house_style():
        return {name: render_png(draw) for name, draw in plots.items()}


def draw_gain(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw the fraction of positives found against the fraction of entities contacted."""
    axes = plot_gain(figure, [line.series for line in lines], entities="entities", positives="positives")
    _add_legend(figure, axes, lines)
    contacted = np.asarray([0.1])
    return _words("Found in the top 10%", lines, lambda ranking: float(ranking.gain_at(contacted)[0]), percent)


def draw_precision_recall(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw precision against recall."""
    _add_legend(figure, plot_precision_recall(figure, [line.series for line in lines], positives="positives"), lines)
    return _words("Average precision", lines, Ranking.average_precision, METRICS["average_precision"].write)


def draw_roc(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw the true positive rate against the false positive rate."""
    _add_legend(figure, plot_roc(figure, [line.series for line in lines]), lines)
    return _words("ROC-AUC", lines, Ranking.roc_auc, METRICS["roc_auc"].write)


def draw_calibration(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw observed against predicted rates, in bins with the same expected number of positives."""
    named = [line for line in lines if line.number < len(COLOURS)]
    bins, intervals = calibration_bins(lines[0].outcome), len(named) <= 2
    curves = [reliability(line.probability, line.outcome, bins, line.weight) for line in named]
    series = [
        CalibrationSeries(curve, COLOURS[line.number], line.label, MARKERS[line.number], intervals)
        for line, curve in zip(named, curves, strict=True)
    ]
    rare = mean(lines[0].outcome, lines[0].weight) < RARE
    _add_legend(figure, plot_calibration(figure, series, rare=rare), lines)
    highest = "; ".join(
        f"{line.label} predicted {percent(curve.predicted[-1])}, observed {percent(curve.observed[-1])}"
        for line, curve in zip(named, curves, strict=True)
    )
    return Words(
        "Predicted and observed rates", f"Calibration plot of {counted(len(named), 'run')}. Highest bin: {highest}."
    )


def draw_folds(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw average precision and ROC-AUC by fold."""
    upper, lower = fold_axes(figure)
    names = sorted({name for line in lines for name in line.folds}, key=fold_order)
    for axes, metric, title in (
        (upper, Ranking.average_precision, "average precision"),
        (lower, Ranking.roc_auc, "ROC-AUC"),
    ):
        plot_by_fold(axes, [_by_fold(line, names, metric) for line in reversed(lines)], names, title)
    upper.set_ylim(bottom=0)
    _add_legend(figure, upper, lines)
    title = _ahead(lines, names)
    values = "; ".join(
        f"{line.label} "
        + ", ".join(f"{name} {ranking.average_precision():.3f}" for name, ranking in line.folds.items())
        for line in lines
    )
    return Words(title, f"Metrics by fold. {title}. Average precision: {values}.")


def _by_fold(line: Line, names: Sequence[str], metric: Callable[[Ranking], float]) -> FoldSeries:
    marker = MARKERS[line.number] if line.number < len(MARKERS) else ""
    return FoldSeries(
        positions=[names.index(name) for name in line.folds],
        values=[metric(ranking) for ranking in line.folds.values()],
        style={**line.style, "marker": marker, "markersize": 4},
        incomplete=[index for index, name in enumerate(line.folds) if name in line.incomplete] if marker else (),
    )


def _ahead(lines: Sequence[Line], names: Sequence[str]) -> str:
    """Describe which run is ahead in most of the folds that several runs have."""
    values = {
        name: {line.label: line.folds[name].average_precision() for line in lines if name in line.folds}
        for name in names
    }
    winners = [max(scores, key=scores.__getitem__) for scores in values.values() if len(scores) > 1]
    if not winners:
        return "Average precision by fold"
    best, wins = Counter(winners).most_common(1)[0]
    return f"Average precision: {best} ahead in {wins} of {counted(len(winners), 'fold')}"


def _add_legend(figure: Figure, axes: Axes, lines: Sequence[Line]) -> None:
    """Add a legend in the order of the runs, regardless of the drawing order."""
    order = {line.label: line.number for line in lines}
    add_legend(figure, axes, order=lambda name: order.get(name, len(order)))


def _words(
    metric_name: str, lines: Sequence[Line], metric: Callable[[Ranking], float], write: Callable[[float], str]
) -> Words:
    values = {line.label: line.series.value(metric) for line in lines}
    listed = ", ".join(f"{label} {write(value)}" for label, value in values.items())
    shown = ", ".join(f"{line.key} {write(values[line.label])}" for line in lines[:4])
    more = f" and {len(lines) - 4} more" if len(lines) > 4 else ""
    return Words(f"{metric_name}: {shown}{more}", f"{metric_name}, mean over folds: {listed}.")


def _lines(comparison: Comparison) -> list[Line]:
    lines = []
    for number, run in enumerate(comparison.runs):
        rows = run.candidate.predictions
        if rows is None:
            continue
        if number in comparison.common:
            rows = with_weights(rows.iloc[comparison.common[number]], comparison.common_weights)
        lines.append(_line(run.key, label(run.key, run.candidate.name), number, rows))
    return lines


def _line(key: str, name: str, number: int, rows: pd.DataFrame) -> Line:
    folds: dict[str, Ranking] = {}
    incomplete = set()
    for fold, part in rows.groupby("fold", sort=True):
        title = fold_name(fold_times(part["as_of"].to_numpy(dtype="datetime64[us]")) | {"fold": fold})
        ranking = Ranking.of(part["probability"], part["label"], part.get(SAMPLING_WEIGHT))
        if ranking.drawable:
            folds[title] = ranking
        if not part["label_complete"].all():
            incomplete.add(title)
    probability, outcome = (rows[column].to_numpy(dtype=np.float64) for column in ("probability", "label"))
    weight = rows[SAMPLING_WEIGHT].to_numpy(dtype=np.float64) if SAMPLING_WEIGHT in rows else None
    return Line(key, name, number, folds, frozenset(incomplete), probability, outcome, weight)


def label(key: str, name: str, max_length: int = 14) -> str:
    """Return the legend label of a run: its letter and the end of its name.

    Examples
    --------
    >>> label("A", "xgboost"), label("B", "2026-11-20/10-15-00-123456")
    ('A xgboost', 'B …-15-00-123456')
    """
    return f"{key} {name}" if len(name) <= max_length else f"{key} …{name[-max_length + 1 :]}"
