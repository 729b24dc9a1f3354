"""The plots of a comparison: every run's curve in one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlsys.evaluation.canvas import (
    CHANCE,
    DASHED,
    DOTTED,
    INK,
    LEFT,
    RIGHT,
    Words,
    fold_ticks,
    house_style,
    log_axis,
    name_lines,
    name_y,
    new_axes,
    percent_axes,
    picture,
)
from mlsys.evaluation.comparison.compare import Comparison
from mlsys.evaluation.curves import Floats, Ranking, reliability
from mlsys.evaluation.drawing import GRID, RARE, draw_reliability, low_end
from mlsys.evaluation.formats import percent
from mlsys.evaluation.metric_table import METRICS

# Okabe and Ito's palette; line styles and markers differ as well. Later runs are grey: more lines cannot be told apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B07D00", "#4A9CC9", INK)
STYLES: tuple[Any, ...] = ("-", DASHED, (0, (6, 1.5, 1, 1.5)), (0, (2, 1)), "-", DASHED, (0, (6, 1.5, 1, 1.5)))
MARKERS = "osD^vPX"
OTHERS = "#B9C0C7"


@dataclass(frozen=True)
class Line:
    """One run as the plots draw it."""

    key: str
    label: str
    number: int
    folds: Mapping[str, Ranking]
    incomplete: frozenset[str]
    probability: Floats
    outcome: Floats

    @property
    def style(self) -> dict[str, Any]:
        """Colour, line style and order."""
        if self.number >= len(COLOURS):
            return {"color": OTHERS, "linewidth": 0.9, "label": f"_{self.key}", "zorder": 2}
        width = 2.0 if self.number == 0 else 1.6
        style = {"color": COLOURS[self.number], "linestyle": STYLES[self.number], "linewidth": width}
        return style | {"label": self.label, "zorder": 20 - self.number}

    def mean(self, curve: Callable[[Ranking], Floats]) -> Floats:
        """Return a curve's mean over the folds."""
        mean: Floats = np.mean([curve(ranking) for ranking in self.folds.values()], axis=0)
        return mean

    def value(self, metric: Callable[[Ranking], float]) -> float:
        """Return a metric's mean over the folds."""
        return float(np.mean([metric(ranking) for ranking in self.folds.values()]))


def draw_overlays(comparison: Comparison) -> dict[str, bytes]:
    """Draw gain, precision and recall, ROC, calibration, and metrics by fold, with a line for each run.

    Returns
    -------
    dict of str to bytes
        PNG files by name; none where no run has predictions to draw.
    """
    lines = [line for line in _lines(comparison) if line.folds]
    if not lines:
        return {}
    draws: dict[str, Callable[[Figure], Words]] = {
        "gain": lambda figure: draw_gain(figure, lines),
        "pr": lambda figure: draw_precision_recall(figure, lines),
        "roc": lambda figure: draw_roc(figure, lines),
        "calibration": lambda figure: draw_calibration(figure, lines),
        "folds": lambda figure: draw_folds(figure, lines),
    }
    with house_style():
        return {name: picture(draw) for name, draw in draws.items()}


def draw_gain(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw the share of positives caught against the share contacted."""
    axes = new_axes(figure, "share contacted, best first", "share of positives caught")
    for line in lines:
        axes.plot(GRID, line.mean(lambda ranking: ranking.gain_at(GRID)), **line.style)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="random", zorder=1)
    percent_axes(axes)
    _name_lines(figure, axes, lines)
    at = np.asarray([0.1])
    return _words("Gain: caught by the first 10%", lines, lambda ranking: float(ranking.gain_at(at)[0]), percent)


def draw_precision_recall(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw precision against recall."""
    axes = new_axes(figure, "recall: share of positives caught", "precision: share that is right")
    curves = [line.mean(lambda ranking: ranking.precision_at(GRID)) for line in lines]
    for line, curve in zip(lines, curves, strict=True):
        axes.plot(GRID, curve, **line.style)
    base = lines[0].value(lambda ranking: ranking.base_rate)
    axes.axhline(base, color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="random", zorder=1)
    percent_axes(axes)
    inner = GRID.size // 50  # the very first rows reach 100 % by luck alone
    axes.set_ylim(0, min(1.01, max(1.3 * max(curve[inner:].max() for curve in curves), 2 * base)))
    _name_lines(figure, axes, lines)
    return _words("Average precision", lines, Ranking.average_precision, METRICS["average_precision"].write)


def draw_roc(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw the true positive rate against the false positive rate."""
    axes = new_axes(figure, "false positive rate", "true positive rate")
    for line in lines:
        axes.plot(GRID, line.mean(lambda ranking: ranking.sensitivity_at(GRID)), **line.style)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="random", zorder=1)
    percent_axes(axes)
    _name_lines(figure, axes, lines)
    return _words("ROC-AUC", lines, Ranking.roc_auc, METRICS["roc_auc"].write)


def draw_calibration(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw observed against predicted rates, in bins of equally many expected positives."""
    axes = new_axes(figure, "predicted probability", "observed rate")
    named = [line for line in lines if line.number < len(COLOURS)]
    bins = int(np.clip(lines[0].outcome.sum() // 6, 4, 10))
    curves = [reliability(line.probability, line.outcome, bins) for line in named]
    rare = float(lines[0].outcome.mean()) < RARE
    low = low_end(curves) if rare else 0.0
    axes.plot([low, 1], [low, 1], color=CHANCE, linewidth=1.2, linestyle=DOTTED, label="perfect", zorder=1)
    for line, curve in zip(named, curves, strict=True):
        colour, marker = COLOURS[line.number], MARKERS[line.number]
        draw_reliability(axes, curve, colour, line.label, low, marker=marker, intervals=len(named) <= 2)
    if rare:
        log_axis(axes, "x", low, 1.0)
        log_axis(axes, "y", low, 1.0)
    else:
        percent_axes(axes)
    _name_lines(figure, axes, lines)
    highest = "; ".join(
        f"{line.label} predicted {percent(curve.predicted[-1])}, observed {percent(curve.observed[-1])}"
        for line, curve in zip(named, curves, strict=True)
    )
    return Words("Predicted and observed rates", f"Calibration plot of {len(named)} runs. Highest bin: {highest}.")


def draw_folds(figure: Figure, lines: Sequence[Line]) -> Words:
    """Draw average precision and ROC-AUC by fold."""
    upper, lower = (figure.add_axes((LEFT, bottom, RIGHT - LEFT, 0.24)) for bottom in (0.5, 0.15))
    names = sorted({name for line in lines for name in line.folds})
    _by_fold(upper, lines, names, Ranking.average_precision, "average precision")
    _by_fold(lower, lines, names, Ranking.roc_auc, "ROC-AUC")
    upper.set_ylim(bottom=0)
    upper.tick_params(labelbottom=False)
    _name_lines(figure, upper, lines)
    title = _ahead(lines, names)
    said = "; ".join(
        f"{line.label} "
        + ", ".join(f"{name} {ranking.average_precision():.3f}" for name, ranking in line.folds.items())
        for line in lines
    )
    return Words(title, f"Metrics by fold. {title}. Average precision: {said}.")


def _by_fold(
    axes: Axes, lines: Sequence[Line], names: Sequence[str], metric: Callable[[Ranking], float], title: str
) -> None:
    for line in reversed(lines):
        x = [names.index(name) for name in line.folds]
        values = [metric(ranking) for ranking in line.folds.values()]
        marker = MARKERS[line.number] if line.number < len(MARKERS) else ""
        axes.plot(x, values, **line.style, marker=marker, markersize=4)
        hollow = [at for at, name in zip(range(len(x)), line.folds, strict=True) if name in line.incomplete]
        if hollow and marker:
            axes.plot(
                [x[at] for at in hollow],
                [values[at] for at in hollow],
                **{**line.style, "label": "_incomplete", "linewidth": 0, "zorder": 30},
                marker=marker,
                markersize=4,
                markerfacecolor="white",
            )
    axes.set_xlim(-0.35, len(names) - 0.65)
    step = -(-len(names) // 6)
    axes.set_xticks(np.arange(len(names))[::step], labels=fold_ticks(names[::step]))
    name_y(axes, title)


def _ahead(lines: Sequence[Line], names: Sequence[str]) -> str:
    """Return which run is ahead in most of the folds that several runs have."""
    values = {
        name: {line.label: line.folds[name].average_precision() for line in lines if name in line.folds}
        for name in names
    }
    first = [max(found, key=found.__getitem__) for found in values.values() if len(found) > 1]
    if not first:
        return "Average precision by fold"
    most, wins = Counter(first).most_common(1)[0]
    return f"Average precision: {most} ahead in {wins} of {len(first)} folds"


def _name_lines(figure: Figure, axes: Axes, lines: Sequence[Line]) -> None:
    """Name the lines from the first to the last, in whichever order they were drawn."""
    order = {line.label: line.number for line in lines}
    if name_lines(figure, axes, order=lambda name: order.get(name, len(order))) > 1:
        place = axes.get_position()
        axes.set_position((place.x0, place.y0, place.width, place.height - 0.055))


def _words(
    what: str, lines: Sequence[Line], metric: Callable[[Ranking], float], write: Callable[[float], str]
) -> Words:
    values = {line.label: line.value(metric) for line in lines}
    said = ", ".join(f"{label} {write(value)}" for label, value in values.items())
    shown = ", ".join(f"{line.key} {write(values[line.label])}" for line in lines[:4])
    more = f" and {len(lines) - 4} more" if len(lines) > 4 else ""
    return Words(f"{what}: {shown}{more}", f"{what}, mean over the folds: {said}.")


def _lines(comparison: Comparison) -> list[Line]:
    lines = []
    for number, run in enumerate(comparison.runs):
        rows = run.candidate.predictions
        if rows is None:
            continue
        if number in comparison.common:
            rows = rows.iloc[comparison.common[number]]
        lines.append(_line(run.key, label(run.key, run.candidate.name), number, rows))
    return lines


def _line(key: str, name: str, number: int, rows: pd.DataFrame) -> Line:
    folds: dict[str, Ranking] = {}
    incomplete = set()
    for fold, part in rows.groupby("fold", sort=True):
        days = part["as_of"].dropna().unique()
        title = f"{pd.Timestamp(days[0]):%Y-%m-%d}" if len(days) == 1 else f"fold {fold}"
        ranking = Ranking.of(part["probability"], part["label"])
        if ranking.drawable:
            folds[title] = ranking
        if not part["label_complete"].all():
            incomplete.add(title)
    floats = [rows[column].to_numpy(dtype=np.float64) for column in ("probability", "label")]
    return Line(key, name, number, folds, frozenset(incomplete), *floats)


def label(key: str, name: str, most: int = 14) -> str:
    """Return what a run is called in a legend: its letter and the end of its name.

    Examples
    --------
    >>> label("A", "xgboost"), label("B", "2026-11-20/10-15-00-123456")
    ('A xgboost', 'B …-15-00-123456')
    """
    return f"{key} {name}" if len(name) <= most else f"{key} …{name[-most + 1 :]}"
