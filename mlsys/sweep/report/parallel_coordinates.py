"""Parallel coordinates: each trial a line through its parameters to its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial

from mlsys.evaluation.report.canvas import CHANCE, MODEL, WIDTH, Words, name_lines, shorten
from mlsys.sweep.analysis import Parameter, SweepAnalysis, plain
from mlsys.text import counted

WIDE = 9.0  # inches: as wide as the page
MOST_AXES, MOST_BRANCHES, MOST_LINES = 12, 8, 500
LEAST_LINES = 3  # trials of a condition to be drawn
CHARACTER = 0.085  # inches: how wide one is, at most


def drawn_branches(found: SweepAnalysis) -> list[tuple[list[Parameter], list[FrozenTrial]]]:
    """Return the branches that have enough trials to be drawn, the largest first; the first one always."""
    others = [branch for branch in found.branches[1:] if len(branch[1]) >= LEAST_LINES]
    return [*found.branches[:1], *others][:MOST_BRANCHES]


def draw_parallel(
    figure: Figure, found: SweepAnalysis, parameters: Sequence[Parameter], trials: Sequence[FrozenTrial]
) -> Words:
    """Draw each trial as a line through its parameters to its values, the best ones on top."""
    parameters = parameters[:MOST_AXES]
    number = len(parameters) + len(found.objectives)
    width, height = float(np.clip(1.25 * number + 0.8, WIDTH, WIDE)), 3.2
    figure.set_size_inches(width, height)
    axes = figure.add_axes((0.45 / width, 0.5 / height, 1 - 0.9 / width, 1 - 1.2 / height))
    lines = _lines(found, parameters, trials)
    is_top = np.asarray([trial.number in found.top for trial in trials])
    others, tops = lines[~is_top][:: max(1, len(trials) // MOST_LINES)], lines[is_top][:MOST_LINES]
    alpha = float(np.clip(25 / max(len(others), 1), 0.12, 0.45))
    axes.add_collection(LineCollection(list(others), colors=CHANCE, linewidths=0.8, alpha=alpha))
    axes.add_collection(LineCollection(list(tops), colors=MODEL, linewidths=1.5, alpha=0.9, zorder=3))
    condition = _condition(parameters)
    _name_axes(axes, found, parameters, condition)
    if is_top.any():
        axes.plot([], [], color=MODEL, linewidth=2, label=_of_top(found, is_top))
    if len(others):
        axes.plot([], [], color=CHANCE, linewidth=2, label="others")
    name_lines(figure, axes)
    title = f"{counted(len(trials), 'trial')}{' with ' + condition if condition else ''}"
    ranges = [f"{each.label} {found.where(each, trials)}" for each in parameters]
    best = f"Of {found.top_name}: {'; '.join(ranges)}." if is_top.any() else "None of the best is among them."
    return Words(title, f"Parallel coordinates of {title}. {best}")


def jitter(parameter: Parameter, number: int) -> float:
    """Return by how much a trial's mark is moved, as choices would hide each other; the same in every drawing."""
    return ((number * 0.618034) % 1 - 0.5) * 0.5 if parameter.choices else 0.0


def _lines(found: SweepAnalysis, parameters: Sequence[Parameter], trials: Sequence[FrozenTrial]) -> Any:  # noqa: ANN401
    """Return the lines of parallel coordinates, shape (n_trials, n_axes, 2), every axis from 0 to 1."""
    heights = [[_height(each, trial) for each in parameters] for trial in trials]
    places = {trial.number: place for place, trial in enumerate(found.complete)}
    values = found.values[[places[trial.number] for trial in trials]]
    for place in range(len(found.objectives)):
        worst, best = _best_on_top(found, place)
        shares = np.clip((values[:, place] - worst) / (best - worst), 0, 1)
        heights = [[*row, share] for row, share in zip(heights, shares, strict=True)]
    across = np.broadcast_to(np.arange(len(heights[0])), (len(heights), len(heights[0])))
    return np.stack([across, np.asarray(heights)], axis=-1)


def _height(parameter: Parameter, trial: FrozenTrial) -> float:
    moved = jitter(parameter, trial.number) * 0.5 / max(len(parameter.choices), 1)
    return parameter.share(trial.params[parameter.name]) + moved


def _name_axes(axes: Axes, found: SweepAnalysis, parameters: Sequence[Parameter], condition: str) -> None:
    """Draw the axes of parallel coordinates, with their names below and their values beside them."""
    number = len(parameters) + len(found.objectives)
    axes.set_xlim(-0.1, number - 1 + 0.35)
    axes.set_ylim(-0.03, 1.03)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.vlines(range(number), 0, 1, color="#AEB5BD", linewidth=0.8, zorder=1)
    behind = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "square,pad=0.1"}
    names = [shorten(each.label.removesuffix(f" ({condition})"), 24) for each in parameters]
    names += [shorten(name, 24) for name in found.objectives]
    two_rows = max(map(len, names)) * CHARACTER > axes.figure.get_figwidth() / number  # type: ignore[union-attr]
    ticks = [_marks(each) for each in parameters]
    ticks += [
        [(share, f"{value:.4g}") for share, value in zip((0.0, 1.0), _best_on_top(found, place), strict=True)]
        for place in range(len(found.objectives))
    ]
    beside: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
    for place, (name, marks) in enumerate(zip(names, ticks, strict=True)):
        is_objective, is_long = place >= len(parameters), len(name) > 12
        axes.annotate(
            f"{name} ↑" if is_objective else name,
            (place, 0),
            (-0.4 * 72 if not place and is_long else 0, -20 if two_rows and place % 2 else -8),
            va="top",
            ha="left" if not place and is_long else "center",
            fontsize=8,
            fontweight="bold" if is_objective else "normal",
            **beside,
        )
        for height, value in marks:
            axes.annotate(
                shorten(value, 14), (place, height), (4, 0), va="center", fontsize=7.5, bbox=behind, zorder=5, **beside
            )


def _condition(parameters: Sequence[Parameter]) -> str:
    """Return what a branch's own parameters depend on; nothing for those that every trial has."""
    return parameters[-1].name.partition("@")[2]


def _marks(parameter: Parameter) -> list[tuple[float, str]]:
    """Return where a parameter's axis is labelled, and with what."""
    if parameter.choices:
        step = -(-len(parameter.choices) // 8)
        return [(parameter.share(choice), plain(choice)) for choice in parameter.choices[::step]]
    low, high = parameter.distribution.low, parameter.distribution.high  # type: ignore[attr-defined]
    if low == high:
        return [(0.5, parameter.write(low))]
    middle = (low * high) ** 0.5 if parameter.is_log else (low + high) / 2
    marks = [(0.0, parameter.write(low)), (1.0, parameter.write(high))]
    is_whole = middle == int(middle) or isinstance(low, float)
    return [*marks, (0.5, plain(float(f"{middle:.2g}")))] if is_whole else marks


def _best_on_top(found: SweepAnalysis, place: int) -> tuple[float, float]:
    low, high = found.limits(place, room=0.0)
    return (high, low) if found.directions[place] == "minimize" else (low, high)


def _of_top(found: SweepAnalysis, is_top: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    """Return what the highlighted lines of a branch are called."""
    number = int(is_top.sum())
    if len(found.objectives) > 1:
        return f"{number} {found.top_name}"
    return found.top_name if number == len(found.top) else f"{number} of {found.top_name}"
