"""The pictures of a sweep's report.

Drawn with our own helpers: Optuna's pictures warn that they are experimental, cut long names off, draw a parameter that
a trial does not have as another value of it, and say nothing to those who cannot see them.
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
from mlsys.sweep.analysis import Importances, Parameter, SweepAnalysis, plain
from mlsys.sweep.report.parallel_coordinates import draw_parallel, drawn_branches, jitter
from mlsys.text import counted

NARROW = 3.5  # inches: three pictures beside each other
LIFT = 9  # points from an axis to its name: above a number at its very end
LEFT_MARGIN = 0.64  # inches left of an axis, for numbers such as 0.01695
MOST_DRAWN = 2000  # trials in a picture; of more, each second, third … one, and all of the best
LONG = 46  # characters of a narrow picture's title
MOST_SLICES, MOST_PAIRS, MOST_STACKED = 24, 6, 3
NUMBER = FuncFormatter(lambda value, _: plain(float(value)))
OTHERS: dict[str, Any] = {"linewidth": 0, "marker": "o", "markersize": 3.5, "color": CHANCE, "markeredgewidth": 0}
BEST: dict[str, Any] = {"linewidth": 0, "marker": "o", "markersize": 5.5, "color": MODEL, "markeredgecolor": "white"}
PRUNED: dict[str, Any] = {"linewidth": 0, "marker": "|", "markersize": 7, "color": CHANCE, "markeredgewidth": 0.9}
FAILED: dict[str, Any] = {"linewidth": 0, "marker": "x", "markersize": 4.5, "color": ACTIVITY}


def draw_plots(found: SweepAnalysis, importances: Importances) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures by name: history, importances, parallel, slice, pareto; some kinds come more than once.

    There are none before the first trial is complete.
    """
    if not found.complete:
        return
    with house_style():
        yield "history", render_png(partial(draw_history, found=found))
        if importances.shares:
            yield "importances", render_png(partial(draw_importances, importances=importances, found=found))
        for parameters, trials in drawn_branches(found):
            yield "parallel", render_png(partial(draw_parallel, found=found, parameters=parameters, trials=trials))
        shares = importances.shares
        for parameter in sorted(searched_parameters(found), key=lambda each: -shares.get(each.label, 0))[:MOST_SLICES]:
            yield "slice", render_png(partial(draw_slice, found=found, parameter=parameter))
        if len(found.objectives) > 1:
            for pair in islice(combinations(range(len(found.objectives)), 2), MOST_PAIRS):
                yield "pareto", render_png(partial(draw_pareto, found=found, pair=pair))


def searched_parameters(found: SweepAnalysis) -> list[Parameter]:
    """Return the parameters that a complete trial has."""
    return [each for each in found.parameters if any(each.name in trial.params for trial in found.complete)]


def draw_history(figure: Figure, found: SweepAnalysis) -> Words:
    """Draw each trial's value, and the best so far."""
    for place, axes in enumerate(_stack(figure, found)):
        _draw_values_by_number(axes, found, place)
    axes.set_xlabel("trial")
    best = found.complete[found.order[0]]
    name, value = found.objectives[0], f"{best.values[0]:.5g}"
    title = f"Best {name} {value}, in trial {best.number}"
    if len(found.objectives) > 1:
        title = f"{counted(len(found.front), 'trial')} on the Pareto front, of {len(found.complete)} complete"
    improved = int((np.diff(np.minimum.accumulate(found.losses[:, 0])) < 0).sum())
    return Words(
        title,
        f"Optimisation history: {counted(len(found.complete), 'trial')} complete, {len(found.pruned)} pruned, "
        f"{len(found.failed)} failed. Best {name} {value}, in trial {best.number}; the best so far changed "
        f"{improved} times after the first trial.",
    )


def draw_importances(figure: Figure, importances: Importances, found: SweepAnalysis) -> Words:
    """Draw how much each parameter matters."""
    shares = dict(islice(importances.shares.items(), MOST_SLICES))
    draw_shares(figure, list(shares), np.asarray(list(shares.values())))
    listed = ", ".join(f"{label} {percent(share)}" for label, share in islice(shares.items(), 5))
    what = "the objective" if len(found.objectives) == 1 else "reaching the Pareto front"
    title = f"Shares of importance, from {len(found.complete)} complete trials"
    return Words(title, f"Shares of the parameters' importance for {what}: {listed}.")


def draw_slice(figure: Figure, found: SweepAnalysis, parameter: Parameter) -> Words:
    """Draw the values against one parameter."""
    stacked = _stack(figure, found, each=1.45, width=NARROW, below=0.28)
    for place, axes in enumerate(stacked):
        _draw_slice_of(axes, found, parameter, place)
        _scale(axes, parameter)
        axes.tick_params(labelbottom=place == len(stacked) - 1)
    trials = [trial for trial in found.complete if parameter.name in trial.params]
    tops = [trial for trial in trials if trial.number in found.top]
    where = found.where(parameter, trials)
    title = f"{parameter.label}, best: {where}"
    return Words(
        title if tops and len(title) <= LONG else parameter.label,
        f"{parameter.label}, searched as {parameter.describe()}, in {counted(len(trials), 'trial')}. "
        + (f"Of {found.top_name}: {where}." if tops else "None of the best trials has it."),
    )


def draw_pareto(figure: Figure, found: SweepAnalysis, pair: tuple[int, int]) -> Words:
    """Draw two objectives against each other, with the trials that none beats in all of them."""
    across, up = pair
    axes = figure.add_axes((LEFT_MARGIN / WIDTH, 0.16, RIGHT - LEFT_MARGIN / WIDTH, 0.58))
    axes.set_xlabel(f"{found.objectives[across]} ({_better(found, across, 'left', 'right')} is better)")
    name_y(axes, f"{found.objectives[up]} ({_better(found, up, 'lower', 'higher')} is better)", LIFT)
    is_front = np.isin([trial.number for trial in found.complete], found.front)
    shown = _shown(found)
    axes.plot(found.values[shown & ~is_front, across], found.values[shown & ~is_front, up], label="others", **OTHERS)
    front = found.values[is_front][np.argsort(found.values[is_front, across])]
    if len(found.objectives) == 2:
        axes.plot(front[:, across], front[:, up], color=MODEL, linewidth=1, label="_front")
    axes.plot(front[:, across], front[:, up], label=f"Pareto front ({len(front)})", zorder=3, **BEST)
    axes.set_xlim(*found.limits(across))
    axes.set_ylim(*found.limits(up))
    _plain_ticks(axes.xaxis, 5)
    _plain_ticks(axes.yaxis, 5)
    name_lines(figure, axes)
    names = found.objectives[across], found.objectives[up]
    ends = "; ".join(f"{plain(row[across])} and {plain(row[up])}" for row in (front[0], front[-1]))
    return Words(
        f"{names[0]} against {names[1]}",
        f"Pareto front of {names[0]} and {names[1]}: {len(front)} of {counted(len(found.complete), 'trial')}, "
        f"from {ends}.",
    )


def _stack(
    figure: Figure, found: SweepAnalysis, each: float = 1.75, width: float = WIDTH, below: float = 0.46
) -> list[Axes]:
    """Return one plot below the other for each objective, all of one width, in a picture that is as high as needed."""
    number = min(len(found.objectives), MOST_STACKED)
    above, between = 0.78, 0.42
    height = above + number * each + (number - 1) * between + below
    figure.set_size_inches(width, height)
    tops = [height - above - place * (each + between) for place in range(number)]
    left, across = LEFT_MARGIN / width, RIGHT - LEFT_MARGIN / width
    stacked = [figure.add_axes((left, (top - each) / height, across, each / height)) for top in tops]
    for axes, name in zip(stacked, found.objectives, strict=False):
        name_y(axes, name, LIFT)
    return stacked


def _draw_values_by_number(axes: Axes, found: SweepAnalysis, place: int) -> None:
    numbers = np.asarray([trial.number for trial in found.complete])
    limits = found.limits(place)
    values, shown = found.values[:, place], _shown(found)
    _draw_others(axes, numbers[shown], values[shown], limits, label="complete")
    best = np.minimum.accumulate(found.losses[:, place]) * found.signs[place]
    last = max(trial.number for trial in found.trials)
    style: dict[str, Any] = {"color": MODEL, "linewidth": 1.8, "drawstyle": "steps-post"}
    axes.plot([*numbers, last], [*best, best[-1]], label="best so far", zorder=3, **style)
    _draw_rug(axes, [trial.number for trial in found.pruned], PRUNED, "pruned", 0.035)
    _draw_rug(axes, [trial.number for trial in found.failed], FAILED, "failed", 0.1)
    axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
    axes.set_ylim(*_with_rug(limits))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _plain_ticks(axes.yaxis, 5)
    if place == 0:
        name_lines(axes.figure, axes)  # type: ignore[arg-type]


def _draw_slice_of(axes: Axes, found: SweepAnalysis, parameter: Parameter, place: int) -> None:
    has = np.asarray([parameter.name in trial.params for trial in found.complete])
    x = np.asarray(
        [
            parameter.place(trial.params[parameter.name]) + jitter(parameter, trial.number) if here else np.nan
            for trial, here in zip(found.complete, has, strict=True)
        ]
    )
    is_top = np.isin([trial.number for trial in found.complete], list(found.top))
    values, limits, shown = found.values[:, place], found.limits(place), _shown(found)
    others, tops = has & shown & ~is_top, has & is_top
    _draw_others(axes, x[others], values[others], limits, label="others")
    if tops.any():
        axes.plot(x[tops], values[tops], label=found.top_name, zorder=3, **BEST)
    given_up = [trial for trial in found.pruned if parameter.name in trial.params]
    places = [parameter.place(trial.params[parameter.name]) + jitter(parameter, trial.number) for trial in given_up]
    _draw_rug(axes, places, PRUNED, "pruned", 0.035)
    axes.set_ylim(*_with_rug(limits))
    _plain_ticks(axes.yaxis, 4)
    if place == 0:
        name_lines(axes.figure, axes)  # type: ignore[arg-type]


def _draw_others(axes: Axes, x: Any, y: Any, limits: tuple[float, float], label: str) -> None:  # noqa: ANN401
    """Draw ordinary trials; those that are too far off, as arrows at the edge to which they lie."""
    low, high = min(limits), max(limits)
    inside = (y >= low) & (y <= high)
    axes.plot(x[inside], y[inside], alpha=float(np.clip(60 / max(len(x), 1), 0.35, 0.8)), label=label, **OTHERS)
    for beyond, edge, marker in ((y > high, high, "^"), (y < low, low, "v")):
        if beyond.any():
            style = OTHERS | {"marker": marker, "markersize": 4.5}
            axes.plot(x[beyond], np.full(int(beyond.sum()), edge), clip_on=False, label="_far", **style)


def _with_rug(limits: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of an axis that has marks below its values."""
    low, high = limits
    return low - 0.12 * (high - low), high


def _draw_rug(axes: Axes, places: Sequence[float], style: dict[str, Any], name: str, height: float) -> None:
    if len(places):
        thin = places[:: -(-len(places) // MOST_DRAWN)]
        axes.plot(thin, np.full(len(thin), height), transform=axes.get_xaxis_transform(), label=name, **style)


def _scale(axes: Axes, parameter: Parameter) -> None:
    """Give the x axis what the parameter was searched over."""
    low, high = parameter.ends
    if parameter.choices:
        axes.set_xlim(low, high)
        most = max(4, 40 // len(parameter.choices))
        step = -(-len(parameter.choices) // 12)
        places = range(0, len(parameter.choices), step)
        axes.set_xticks(list(places), labels=[shorten(plain(parameter.choices[place]), most) for place in places])
        axes.grid(visible=False, axis="x")
    elif parameter.is_log:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.03, high * (high / low) ** 0.03)
        ticks = _log_ticks(low, high)
        axes.set_xticks(ticks, labels=[plain(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        _plain_ticks(axes.xaxis, 5, whole=isinstance(parameter.distribution, IntDistribution))


def _log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers for a log axis: as many as fit of 1, 2, 5, or its ends where there are none."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if 2 <= len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)] if len(ticks) > most else [low, high]


def _plain_ticks(axis: Any, most: int, *, whole: bool = False) -> None:  # noqa: ANN401 - matplotlib's axes differ
    axis.set_major_locator(MaxNLocator(most, integer=whole))
    axis.set_major_formatter(NUMBER)


def _shown(found: SweepAnalysis) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which complete trials are drawn: all the best, and of very many others an even selection."""
    step = -(-len(found.complete) // MOST_DRAWN)
    return np.asarray([place % step == 0 or trial.number in found.top for place, trial in enumerate(found.complete)])


def _better(found: SweepAnalysis, place: int, low: str, high: str) -> str:
    return low if found.directions[place] == "minimize" else high
