"""The plots of a sweep's report.

They use our own helpers, because Optuna's plots are experimental, truncate long names, draw a missing conditional
parameter as one of its values, and have no text alternative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations, islice
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from optuna.distributions import IntDistribution

from mlsys.evaluation.formats import percent
from mlsys.evaluation.report.canvas import (
    ACTIVITY,
    CHANCE,
    MODEL,
    RIGHT,
    WIDTH,
    Words,
    draw_shares,
    house_style,
    name_lines,
    name_y,
    render_png,
    shorten,
)
from mlsys.sweep.analysis import Importances, Parameter, SweepAnalysis, format_value
from mlsys.sweep.report.parallel_coordinates import draw_parallel_coordinates, drawn_branches, jitter
from mlsys.text import counted

NARROW = 3.5  # inches: three plots side by side
LABEL_PAD = 9  # points from the y axis to its name, to clear a tick label at its end
LEFT_MARGIN = 0.64  # inches left of the y axis, for tick labels such as 0.01695
MAX_DRAWN_TRIALS = 2000  # per plot; of more, every second, third … trial and all of the best
MAX_TITLE = 46  # characters in the title of a narrow plot
MAX_SLICES, MAX_PAIRS, MAX_STACKED = 24, 6, 3
NUMBER = FuncFormatter(lambda value, _: format_value(float(value)))
OTHERS: dict[str, Any] = {"linewidth": 0, "marker": "o", "markersize": 3.5, "color": CHANCE, "markeredgewidth": 0}
BEST: dict[str, Any] = {"linewidth": 0, "marker": "o", "markersize": 5.5, "color": MODEL, "markeredgecolor": "white"}
PRUNED: dict[str, Any] = {"linewidth": 0, "marker": "|", "markersize": 7, "color": CHANCE, "markeredgewidth": 0.9}
FAILED: dict[str, Any] = {"linewidth": 0, "marker": "x", "markersize": 4.5, "color": ACTIVITY}


def draw_plots(analysis: SweepAnalysis, importances: Importances) -> Iterator[tuple[str, bytes]]:
    """Yield kinds of plots with PNG bytes: history, importances, parallel, slice, pareto; some kinds repeat.

    Without a complete trial there are no plots.
    """
    if not analysis.complete:
        return
    with house_style():
        yield "history", render_png(partial(draw_history, analysis=analysis))
        if importances.values:
            yield "importances", render_png(partial(draw_importances, importances=importances, analysis=analysis))
        for parameters, trials in drawn_branches(analysis):
            yield (
                "parallel",
                render_png(partial(draw_parallel_coordinates, analysis=analysis, parameters=parameters, trials=trials)),
            )
        by_importance = sorted(
            searched_parameters(analysis), key=lambda parameter: -importances.values.get(parameter.label, 0)
        )
        for parameter in by_importance[:MAX_SLICES]:
            yield "slice", render_png(partial(draw_slice, analysis=analysis, parameter=parameter))
        if len(analysis.objectives) > 1:
            for pair in islice(combinations(range(len(analysis.objectives)), 2), MAX_PAIRS):
                yield "pareto", render_png(partial(draw_pareto, analysis=analysis, pair=pair))


def searched_parameters(analysis: SweepAnalysis) -> list[Parameter]:
    """Return the parameters of at least one complete trial."""
    return [each for each in analysis.parameters if any(each.name in trial.params for trial in analysis.complete)]


def draw_history(figure: Figure, analysis: SweepAnalysis) -> Words:
    """Draw each trial's value and the best value so far."""
    for index, axes in enumerate(_stack(figure, analysis)):
        _draw_history_of(axes, analysis, index)
    axes.set_xlabel("trial")
    best = analysis.complete[analysis.ranking[0]]
    name, value = analysis.objectives[0], f"{best.values[0]:.5g}"
    title = f"Best {name} {value}, in trial {best.number}"
    if len(analysis.objectives) > 1:
        title = f"{len(analysis.pareto_front)} of {counted(len(analysis.complete), 'trial')} on the Pareto front"
    n_improvements = int((np.diff(np.minimum.accumulate(analysis.losses[:, 0])) < 0).sum())
    return Words(
        title,
        f"Optimisation history: {counted(len(analysis.complete), 'trial')} complete, {len(analysis.pruned)} pruned, "
        f"{len(analysis.failed)} failed. Best {name} {value}, in trial {best.number}; the best value improved "
        f"{counted(n_improvements, 'time')} after the first complete trial.",
    )


def draw_importances(figure: Figure, importances: Importances, analysis: SweepAnalysis) -> Words:
    """Draw the importance of each parameter."""
    values = dict(islice(importances.values.items(), MAX_SLICES))
    draw_shares(figure, list(values), np.asarray(list(values.values())))
    listed = ", ".join(f"{label} {percent(value)}" for label, value in islice(values.items(), 5))
    target = "the objective" if len(analysis.objectives) == 1 else "reaching the Pareto front"
    title = f"Parameter importances, from {counted(len(analysis.complete), 'complete trial')}"
    return Words(title, f"Parameter importances for {target}: {listed}.")


def draw_slice(figure: Figure, analysis: SweepAnalysis, parameter: Parameter) -> Words:
    """Draw the objective values against one parameter."""
    stacked = _stack(figure, analysis, each=1.45, width=NARROW, below=0.28)
    for index, axes in enumerate(stacked):
        _draw_slice_of(axes, analysis, parameter, index)
        _set_x_axis(axes, parameter)
        axes.tick_params(labelbottom=index == len(stacked) - 1)
    trials = [trial for trial in analysis.complete if parameter.name in trial.params]
    tops = [trial for trial in trials if trial.number in analysis.top]
    top_range = analysis.top_range(parameter, trials)
    title = f"{parameter.label}, best: {top_range}"
    label = analysis.top_label
    return Words(
        title if tops and len(title) <= MAX_TITLE else parameter.label,
        f"{parameter.label}, searched over {parameter.describe()}, in {counted(len(trials), 'trial')}. "
        + (f"{label[0].upper()}{label[1:]}: {top_range}." if tops else "None of the best trials has this parameter."),
    )


def draw_pareto(figure: Figure, analysis: SweepAnalysis, pair: tuple[int, int]) -> Words:
    """Draw two objectives against each other, with the Pareto front."""
    x, y = pair
    axes = figure.add_axes((LEFT_MARGIN / WIDTH, 0.16, RIGHT - LEFT_MARGIN / WIDTH, 0.58))
    axes.set_xlabel(f"{analysis.objectives[x]} ({_better(analysis, x, 'left', 'right')} is better)")
    name_y(axes, f"{analysis.objectives[y]} ({_better(analysis, y, 'lower', 'higher')} is better)", LABEL_PAD)
    is_front = np.isin([trial.number for trial in analysis.complete], analysis.pareto_front)
    shown = _shown(analysis)
    axes.plot(analysis.values[shown & ~is_front, x], analysis.values[shown & ~is_front, y], label="others", **OTHERS)
    front = analysis.values[is_front][np.argsort(analysis.values[is_front, x])]
    if len(analysis.objectives) == 2:
        axes.plot(front[:, x], front[:, y], color=MODEL, linewidth=1, label="_front")
    axes.plot(front[:, x], front[:, y], label=f"Pareto front ({len(front)})", zorder=3, **BEST)
    axes.set_xlim(*analysis.value_limits(x))
    axes.set_ylim(*analysis.value_limits(y))
    _plain_ticks(axes.xaxis, 5)
    _plain_ticks(axes.yaxis, 5)
    name_lines(figure, axes)
    names = analysis.objectives[x], analysis.objectives[y]
    ends = "; ".join(f"{format_value(row[x])} and {format_value(row[y])}" for row in (front[0], front[-1]))
    return Words(
        f"{names[0]} against {names[1]}",
        f"Pareto front of {names[0]} and {names[1]}: {len(front)} of {counted(len(analysis.complete), 'trial')}, "
        f"from {ends}.",
    )


def _stack(
    figure: Figure, analysis: SweepAnalysis, each: float = 1.75, width: float = WIDTH, below: float = 0.46
) -> list[Axes]:
    """Return one axes per objective, stacked vertically in a figure that is as tall as needed."""
    number = min(len(analysis.objectives), MAX_STACKED)
    above, between = 0.78, 0.42
    height = above + number * each + (number - 1) * between + below
    figure.set_size_inches(width, height)
    tops = [height - above - index * (each + between) for index in range(number)]
    left, axes_width = LEFT_MARGIN / width, RIGHT - LEFT_MARGIN / width
    stacked = [figure.add_axes((left, (top - each) / height, axes_width, each / height)) for top in tops]
    for axes, name in zip(stacked, analysis.objectives, strict=False):
        name_y(axes, name, LABEL_PAD)
    return stacked


def _draw_history_of(axes: Axes, analysis: SweepAnalysis, index: int) -> None:
    numbers = np.asarray([trial.number for trial in analysis.complete])
    limits = analysis.value_limits(index)
    values, shown = analysis.values[:, index], _shown(analysis)
    _draw_others(axes, numbers[shown], values[shown], limits, label="complete")
    best = np.minimum.accumulate(analysis.losses[:, index]) * analysis.signs[index]
    last = max(trial.number for trial in analysis.trials)
    style: dict[str, Any] = {"color": MODEL, "linewidth": 1.8, "drawstyle": "steps-post"}
    axes.plot([*numbers, last], [*best, best[-1]], label="best so far", zorder=3, **style)
    _draw_rug(axes, [trial.number for trial in analysis.pruned], PRUNED, "pruned", 0.035)
    _draw_rug(axes, [trial.number for trial in analysis.failed], FAILED, "failed", 0.1)
    axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
    axes.set_ylim(*_with_rug(limits))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _plain_ticks(axes.yaxis, 5)
    if index == 0:
        name_lines(axes.figure, axes)  # type: ignore[arg-type]


def _draw_slice_of(axes: Axes, analysis: SweepAnalysis, parameter: Parameter, index: int) -> None:
    has_it = np.asarray([parameter.name in trial.params for trial in analysis.complete])
    x = np.asarray(
        [
            parameter.position(trial.params[parameter.name]) + jitter(parameter, trial.number) if has else np.nan
            for trial, has in zip(analysis.complete, has_it, strict=True)
        ]
    )
    is_top = np.isin([trial.number for trial in analysis.complete], list(analysis.top))
    values, limits, shown = analysis.values[:, index], analysis.value_limits(index), _shown(analysis)
    others, tops = has_it & shown & ~is_top, has_it & is_top
    _draw_others(axes, x[others], values[others], limits, label="others")
    if tops.any():
        axes.plot(x[tops], values[tops], label=analysis.top_label, zorder=3, **BEST)
    pruned = [trial for trial in analysis.pruned if parameter.name in trial.params]
    positions = [parameter.position(trial.params[parameter.name]) + jitter(parameter, trial.number) for trial in pruned]
    _draw_rug(axes, positions, PRUNED, "pruned", 0.035)
    axes.set_ylim(*_with_rug(limits))
    _plain_ticks(axes.yaxis, 4)
    if index == 0:
        name_lines(axes.figure, axes)  # type: ignore[arg-type]


def _draw_others(axes: Axes, x: Any, y: Any, limits: tuple[float, float], label: str) -> None:  # noqa: ANN401
    """Draw trials that are not highlighted; those outside the axis become arrows at its edge."""
    low, high = min(limits), max(limits)
    inside = (y >= low) & (y <= high)
    axes.plot(x[inside], y[inside], alpha=float(np.clip(60 / max(len(x), 1), 0.35, 0.8)), label=label, **OTHERS)
    for beyond, edge, marker in ((y > high, high, "^"), (y < low, low, "v")):
        if beyond.any():
            style = OTHERS | {"marker": marker, "markersize": 4.5}
            axes.plot(x[beyond], np.full(int(beyond.sum()), edge), clip_on=False, label="_outside", **style)


def _with_rug(limits: tuple[float, float]) -> tuple[float, float]:
    """Return axis limits with space for marks below the values."""
    low, high = limits
    return low - 0.12 * (high - low), high


def _draw_rug(axes: Axes, positions: Sequence[float], style: dict[str, Any], name: str, height: float) -> None:
    if len(positions):
        thinned = positions[:: -(-len(positions) // MAX_DRAWN_TRIALS)]
        axes.plot(thinned, np.full(len(thinned), height), transform=axes.get_xaxis_transform(), label=name, **style)


def _set_x_axis(axes: Axes, parameter: Parameter) -> None:
    """Set the limits, scale and ticks of the x axis to the parameter's range."""
    low, high = parameter.axis_limits
    if parameter.choices:
        axes.set_xlim(low, high)
        max_length = max(4, 40 // len(parameter.choices))
        step = -(-len(parameter.choices) // 12)
        indices = range(0, len(parameter.choices), step)
        labels = [shorten(format_value(parameter.choices[index]), max_length) for index in indices]
        axes.set_xticks(list(indices), labels=labels)
        axes.grid(visible=False, axis="x")
    elif parameter.is_log:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.03, high * (high / low) ** 0.03)
        ticks = _log_ticks(low, high)
        axes.set_xticks(ticks, labels=[format_value(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        _plain_ticks(axes.xaxis, 5, integer=isinstance(parameter.distribution, IntDistribution))


def _log_ticks(low: float, high: float, max_ticks: int = 6) -> list[float]:
    """Return round numbers as ticks of a log axis, or its ends if there are too few round numbers."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if 2 <= len(ticks) <= max_ticks:
            return ticks
    return ticks[:: -(-len(ticks) // max_ticks)] if len(ticks) > max_ticks else [low, high]


def _plain_ticks(axis: Any, max_ticks: int, *, integer: bool = False) -> None:  # noqa: ANN401 - matplotlib's axes differ
    axis.set_major_locator(MaxNLocator(max_ticks, integer=integer))
    axis.set_major_formatter(NUMBER)


def _shown(analysis: SweepAnalysis) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which complete trials are drawn: all highlighted ones, and an even selection of the others."""
    step = -(-len(analysis.complete) // MAX_DRAWN_TRIALS)
    return np.asarray(
        [index % step == 0 or trial.number in analysis.top for index, trial in enumerate(analysis.complete)]
    )


def _better(analysis: SweepAnalysis, index: int, low: str, high: str) -> str:
    return low if analysis.directions[index] == "minimize" else high
