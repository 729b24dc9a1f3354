"""Parallel coordinates: each trial is a line through its parameters and objective values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial

from mlsys.evaluation.report.canvas import CHANCE, MODEL, WIDTH, Words, name_lines, shorten
from mlsys.sweep.analysis import Parameter, SweepAnalysis, format_value
from mlsys.text import counted

MAX_WIDTH = 9.0  # inches: the width of the page
MAX_AXES, MAX_BRANCHES, MAX_LINES = 12, 8, 500
MIN_LINES = 3  # trials that a branch needs to be drawn
CHARACTER_WIDTH = 0.085  # inches, at most


def drawn_branches(analysis: SweepAnalysis) -> list[tuple[list[Parameter], list[FrozenTrial]]]:
    """Return the first branch and all others with enough trials to be drawn, largest first."""
    others = [branch for branch in analysis.branches[1:] if len(branch[1]) >= MIN_LINES]
    return [*analysis.branches[:1], *others][:MAX_BRANCHES]


def draw_parallel_coordinates(
    figure: Figure, analysis: SweepAnalysis, parameters: Sequence[Parameter], trials: Sequence[FrozenTrial]
) -> Words:
    """Draw each trial as a line through its parameters and objective values, the best ones on top."""
    parameters = parameters[:MAX_AXES]
    n_axes = len(parameters) + len(analysis.objectives)
    width, height = float(np.clip(1.25 * n_axes + 0.8, WIDTH, MAX_WIDTH)), 3.2
    figure.set_size_inches(width, height)
    axes = figure.add_axes((0.45 / width, 0.5 / height, 1 - 0.9 / width, 1 - 1.2 / height))
    lines = _lines(analysis, parameters, trials)
    is_top = np.asarray([trial.number in analysis.top for trial in trials])
    others, tops = lines[~is_top][:: max(1, len(trials) // MAX_LINES)], lines[is_top][:MAX_LINES]
    alpha = float(np.clip(25 / max(len(others), 1), 0.12, 0.45))
    axes.add_collection(LineCollection(list(others), colors=CHANCE, linewidths=0.8, alpha=alpha))
    axes.add_collection(LineCollection(list(tops), colors=MODEL, linewidths=1.5, alpha=0.9, zorder=3))
    condition = _condition(parameters)
    _name_axes(axes, analysis, parameters, condition)
    if is_top.any():
        axes.plot([], [], color=MODEL, linewidth=2, label=_top_label(analysis, is_top))
    if len(others):
        axes.plot([], [], color=CHANCE, linewidth=2, label="others")
    name_lines(figure, axes)
    title = f"{counted(len(trials), 'trial')}{' with ' + condition if condition else ''}"
    ranges = [f"{each.label} {analysis.top_range(each, trials)}" for each in parameters]
    label = _top_label(analysis, is_top)
    best = (
        f"{label[0].upper()}{label[1:]}: {'; '.join(ranges)}."
        if is_top.any()
        else "None of the best trials is among them."
    )
    return Words(title, f"Parallel coordinates of {title}. {best}")


def jitter(parameter: Parameter, number: int) -> float:
    """Return the offset of a trial's mark, so that marks of the same choice do not overlap; the same in every plot."""
    return ((number * 0.618034) % 1 - 0.5) * 0.5 if parameter.choices else 0.0


def _lines(analysis: SweepAnalysis, parameters: Sequence[Parameter], trials: Sequence[FrozenTrial]) -> Any:  # noqa: ANN401
    """Return the trials' lines, shape (n_trials, n_axes, 2), with every axis scaled from 0 to 1."""
    heights = [[_height(each, trial) for each in parameters] for trial in trials]
    indices = {trial.number: index for index, trial in enumerate(analysis.complete)}
    values = analysis.values[[indices[trial.number] for trial in trials]]
    for index in range(len(analysis.objectives)):
        worst, best = _worst_and_best(analysis, index)
        fractions = np.clip((values[:, index] - worst) / (best - worst), 0, 1)
        heights = [[*row, fraction] for row, fraction in zip(heights, fractions, strict=True)]
    across = np.broadcast_to(np.arange(len(heights[0])), (len(heights), len(heights[0])))
    return np.stack([across, np.asarray(heights)], axis=-1)


def _height(parameter: Parameter, trial: FrozenTrial) -> float:
    offset = jitter(parameter, trial.number) * 0.5 / max(len(parameter.choices), 1)
    return parameter.fraction(trial.params[parameter.name]) + offset


def _name_axes(axes: Axes, analysis: SweepAnalysis, parameters: Sequence[Parameter], condition: str) -> None:
    """Draw the axes with their names below them and tick labels next to them."""
    n_axes = len(parameters) + len(analysis.objectives)
    axes.set_xlim(-0.1, n_axes - 1 + 0.35)
    axes.set_ylim(-0.03, 1.03)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.vlines(range(n_axes), 0, 1, color="#AEB5BD", linewidth=0.8, zorder=1)
    background = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "square,pad=0.1"}
    names = [shorten(each.label.removesuffix(f" ({condition})"), 24) for each in parameters]
    names += [shorten(name, 24) for name in analysis.objectives]
    two_rows = max(map(len, names)) * CHARACTER_WIDTH > axes.figure.get_figwidth() / n_axes  # type: ignore[union-attr]
    ticks = [_ticks(each) for each in parameters]
    ticks += [
        [(height, f"{value:.4g}") for height, value in zip((0.0, 1.0), _worst_and_best(analysis, index), strict=True)]
        for index in range(len(analysis.objectives))
    ]
    style: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
    for index, (name, marks) in enumerate(zip(names, ticks, strict=True)):
        is_objective, is_long = index >= len(parameters), len(name) > 12
        axes.annotate(
            f"{name} ↑" if is_objective else name,
            (index, 0),
            (-0.4 * 72 if not index and is_long else 0, -20 if two_rows and index % 2 else -8),
            va="top",
            ha="left" if not index and is_long else "center",
            fontsize=8,
            fontweight="bold" if is_objective else "normal",
            **style,
        )
        for height, value in marks:
            axes.annotate(
                shorten(value, 14),
                (index, height),
                (4, 0),
                va="center",
                fontsize=7.5,
                bbox=background,
                zorder=5,
                **style,
            )


def _condition(parameters: Sequence[Parameter]) -> str:
    """Return the condition of a branch's own parameters; empty for parameters of every trial."""
    return parameters[-1].name.partition("@")[2]


def _ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Return the heights and labels of a parameter's ticks."""
    if parameter.choices:
        step = -(-len(parameter.choices) // 8)
        return [(parameter.fraction(choice), format_value(choice)) for choice in parameter.choices[::step]]
    low, high = parameter.distribution.low, parameter.distribution.high  # type: ignore[attr-defined]
    if low == high:
        return [(0.5, parameter.format(low))]
    middle = (low * high) ** 0.5 if parameter.is_log else (low + high) / 2
    ticks = [(0.0, parameter.format(low)), (1.0, parameter.format(high))]
    has_middle = middle == int(middle) or isinstance(low, float)
    return [*ticks, (0.5, format_value(float(f"{middle:.2g}")))] if has_middle else ticks


def _worst_and_best(analysis: SweepAnalysis, index: int) -> tuple[float, float]:
    """Return the values at the bottom and the top of an objective's axis."""
    low, high = analysis.value_limits(index, margin=0.0)
    return (high, low) if analysis.directions[index] == "minimize" else (low, high)


def _top_label(analysis: SweepAnalysis, is_top: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    """Return the name of a branch's highlighted lines."""
    n_top = int(is_top.sum())
    if len(analysis.objectives) > 1:
        return f"{analysis.top_label} ({n_top})"
    return analysis.top_label if n_top == len(analysis.top) else f"{n_top} of the {analysis.top_label}"
