"""The pictures of a sweep's report.

Drawn with our own helpers: Optuna's pictures warn that they are experimental, cut long names off, draw a parameter that
a trial does not have as another value of it, and say nothing to those who cannot see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, islice
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial

from mlsys.evaluation.canvas import (
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
    picture,
    say_nothing,
    shorten,
)
from mlsys.evaluation.formats import percent
from mlsys.sweep.findings import Findings, Importances, Parameter, plain

NARROW, WIDE = 3.5, 9.0  # inches: three pictures beside each other, and one as wide as the page
ROOM = 0.64  # inches left of an axis, for numbers such as 0.01695
MOST_DRAWN = 2000  # trials in a picture; of more, each second, third … one, and all of the best
MOST_AXES, MOST_BRANCHES, MOST_SLICES, MOST_PAIRS, MOST_STACKED = 12, 8, 24, 6, 3
LEAST_LINES = 3  # trials of a condition to be drawn
ONE_ROW = 6  # axes whose names fit into one row
NUMBER = FuncFormatter(lambda value, _: plain(float(value)))
OTHERS: dict[str, Any] = {"linewidth": 0, "marker": "o", "markersize": 3.5, "color": CHANCE, "markeredgewidth": 0}
BEST: dict[str, Any] = {"linewidth": 0, "marker": "o", "markersize": 5.5, "color": MODEL, "markeredgecolor": "white"}
PRUNED: dict[str, Any] = {"linewidth": 0, "marker": "|", "markersize": 7, "color": CHANCE, "markeredgewidth": 0.9}
FAILED: dict[str, Any] = {"linewidth": 0, "marker": "x", "markersize": 4.5, "color": ACTIVITY}


def draw_pictures(found: Findings, importances: Importances) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures by name: history, importances, parallel, slice, pareto; some kinds come more than once."""
    with house_style():
        yield "history", picture(partial(draw_history, found=found))
        if importances.shares:
            yield "importances", picture(partial(draw_importances, importances=importances, found=found))
        if not found.complete:
            return
        for parameters, trials in drawn_branches(found):
            yield "parallel", picture(partial(draw_parallel, found=found, parameters=parameters, trials=trials))
        shares = importances.shares
        for parameter in sorted(tried(found), key=lambda each: -shares.get(each.label, 0))[:MOST_SLICES]:
            yield "slice", picture(partial(draw_slice, found=found, parameter=parameter))
        if len(found.objectives) > 1:
            for pair in islice(combinations(range(len(found.objectives)), 2), MOST_PAIRS):
                yield "pareto", picture(partial(draw_pareto, found=found, pair=pair))


def tried(found: Findings) -> list[Parameter]:
    """Return the parameters that a complete trial has."""
    return [each for each in found.parameters if any(each.name in trial.params for trial in found.complete)]


def drawn_branches(found: Findings) -> list[tuple[list[Parameter], list[FrozenTrial]]]:
    """Return the branches that have enough trials to be drawn, the largest first; the first one always."""
    return [each for place, each in enumerate(found.branches) if not place or len(each[1]) >= LEAST_LINES][
        :MOST_BRANCHES
    ]


def draw_history(figure: Figure, found: Findings) -> Words:
    """Draw each trial's value, and the best so far."""
    if not found.complete:
        ended = f"{len(found.pruned)} pruned, {len(found.failed)} failed"
        return say_nothing(figure, "History", f"No trial is complete yet ({ended}),\nso there is nothing to draw.")
    for place, axes in enumerate(_stack(figure, found)):
        _draw_values_by_number(axes, found, place)
    axes.set_xlabel("trial")
    best = found.complete[found.order[0]]
    name, value = found.objectives[0], f"{best.values[0]:.5g}"
    title = f"Best {name} {value}, in trial {best.number}"
    if len(found.objectives) > 1:
        title = f"{_trials(len(found.front))} on the Pareto front, of {len(found.complete)} complete"
    improved = int((np.diff(np.minimum.accumulate(found.losses[:, 0])) < 0).sum())
    return Words(
        title,
        f"Optimisation history: {_trials(len(found.complete))} complete, {len(found.pruned)} pruned, "
        f"{len(found.failed)} failed. Best {name} {value}, in trial {best.number}; the best so far changed "
        f"{improved} times after the first trial.",
    )


def draw_importances(figure: Figure, importances: Importances, found: Findings) -> Words:
    """Draw how much each parameter matters."""
    shares = dict(islice(importances.shares.items(), MOST_SLICES))
    draw_shares(figure, list(shares), np.asarray(list(shares.values())))
    listed = ", ".join(f"{label} {percent(share)}" for label, share in islice(shares.items(), 5))
    what = "the objective" if len(found.objectives) == 1 else "reaching the Pareto front"
    title = f"Shares of importance, from {len(found.complete)} complete trials"
    return Words(title, f"Shares of the parameters' importance for {what}: {listed}.")


def draw_parallel(
    figure: Figure, found: Findings, parameters: Sequence[Parameter], trials: Sequence[FrozenTrial]
) -> Words:
    """Draw each trial as a line through its parameters to its values, the best ones on top."""
    parameters = parameters[:MOST_AXES]
    number = len(parameters) + len(found.objectives)
    width, height = float(np.clip(1.25 * number + 0.8, WIDTH, WIDE)), 3.2
    figure.set_size_inches(width, height)
    below = 0.5 if number > ONE_ROW else 0.34
    axes = figure.add_axes((0.45 / width, below / height, 1 - 0.9 / width, 1 - (below + 0.7) / height))
    lines = _lines(found, parameters, trials)
    is_top = np.asarray([trial.number in found.top for trial in trials])
    others = lines[~is_top][:: max(1, len(trials) // 500)]
    alpha = float(np.clip(25 / max(len(others), 1), 0.12, 0.45))
    axes.add_collection(LineCollection(list(others), colors=CHANCE, linewidths=0.8, alpha=alpha))
    axes.add_collection(LineCollection(list(lines[is_top][:200]), colors=MODEL, linewidths=1.5, alpha=0.9, zorder=3))
    condition = _condition(parameters)
    _name_axes(axes, found, parameters, condition)
    if is_top.any():
        axes.plot([], [], color=MODEL, linewidth=2, label=_of_top(found, is_top))
    if len(others):
        axes.plot([], [], color=CHANCE, linewidth=2, label="others")
    name_lines(figure, axes)
    title = f"{_trials(len(trials))}{' with ' + condition if condition else ''}"
    ranges = [f"{each.label} {_range(each, found, trials)}" for each in parameters]
    best = f"Of {found.top_name}: {'; '.join(ranges)}." if is_top.any() else "None of the best is among them."
    return Words(title, f"Parallel coordinates of {title}. {best}")


def draw_slice(figure: Figure, found: Findings, parameter: Parameter) -> Words:
    """Draw the values against one parameter."""
    stacked = _stack(figure, found, each=1.45, width=NARROW, below=0.28)
    for place, axes in enumerate(stacked):
        _draw_slice_of(axes, found, parameter, place)
        _scale(axes, parameter)
        axes.tick_params(labelbottom=place == len(stacked) - 1)
    trials = [trial for trial in found.complete if parameter.name in trial.params]
    tops = [trial for trial in trials if trial.number in found.top]
    where = _range(parameter, found, trials)
    return Words(
        f"{parameter.label}{', best: ' + where if tops else ''}",
        f"{parameter.label}, searched as {parameter.describe()}, in {_trials(len(trials))}. "
        + (f"Of {found.top_name}: {where}." if tops else "None of the best trials has it."),
    )


def draw_pareto(figure: Figure, found: Findings, pair: tuple[int, int]) -> Words:
    """Draw two objectives against each other, with the trials that none beats in all of them."""
    across, up = pair
    axes = figure.add_axes((ROOM / WIDTH, 0.16, RIGHT - ROOM / WIDTH, 0.58))
    axes.set_xlabel(f"{found.objectives[across]} ({_better(found, across, 'left', 'right')} is better)")
    name_y(axes, f"{found.objectives[up]} ({_better(found, up, 'lower', 'higher')} is better)")
    is_front = np.isin([trial.number for trial in found.complete], found.front)
    shown = _shown(found)
    axes.plot(found.values[shown & ~is_front, across], found.values[shown & ~is_front, up], label="others", **OTHERS)
    front = found.values[is_front][np.argsort(found.values[is_front, across])]
    if len(found.objectives) == 2:
        axes.plot(front[:, across], front[:, up], color=MODEL, linewidth=1, label="_front")
    axes.plot(front[:, across], front[:, up], label=f"Pareto front ({len(front)})", zorder=3, **BEST)
    axes.set_xlim(*_limits(found, across))
    axes.set_ylim(*_limits(found, up))
    _plain_ticks(axes.xaxis, 5)
    _plain_ticks(axes.yaxis, 5)
    name_lines(figure, axes)
    names = found.objectives[across], found.objectives[up]
    ends = "; ".join(f"{plain(row[across])} and {plain(row[up])}" for row in (front[0], front[-1]))
    return Words(
        f"{names[0]} against {names[1]}",
        f"Pareto front of {names[0]} and {names[1]}: {_trials(len(front))} of {len(found.complete)}, from {ends}.",
    )


def _stack(
    figure: Figure, found: Findings, each: float = 1.75, width: float = WIDTH, below: float = 0.46
) -> list[Axes]:
    """Return one plot below the other for each objective, all of one width, in a picture that is as high as needed."""
    number = min(len(found.objectives), MOST_STACKED)
    above, between = 0.78, 0.42
    height = above + number * each + (number - 1) * between + below
    figure.set_size_inches(width, height)
    tops = [height - above - place * (each + between) for place in range(number)]
    left, across = ROOM / width, RIGHT - ROOM / width
    stacked = [figure.add_axes((left, (top - each) / height, across, each / height)) for top in tops]
    for axes, name in zip(stacked, found.objectives, strict=False):
        name_y(axes, name)
    return stacked


def _draw_values_by_number(axes: Axes, found: Findings, place: int) -> None:
    numbers = np.asarray([trial.number for trial in found.complete])
    limits = _limits(found, place)
    values, shown = found.values[:, place], _shown(found)
    _draw_others(axes, numbers[shown], values[shown], limits, label="complete")
    best = np.minimum.accumulate(found.losses[:, place]) * found.signs[place]
    last = max(trial.number for trial in found.trials)
    style: dict[str, Any] = {"color": MODEL, "linewidth": 1.8, "drawstyle": "steps-post"}
    axes.plot([*numbers, last], [*best, best[-1]], label="best so far", zorder=3, **style)
    _draw_rug(axes, [trial.number for trial in found.pruned], PRUNED, "pruned", 0.035)
    _draw_rug(axes, [trial.number for trial in found.failed], FAILED, "failed", 0.1)
    axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
    axes.set_ylim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _plain_ticks(axes.yaxis, 5)
    if place == 0:
        name_lines(axes.figure, axes)  # type: ignore[arg-type]


def _draw_slice_of(axes: Axes, found: Findings, parameter: Parameter, place: int) -> None:
    has = np.asarray([parameter.name in trial.params for trial in found.complete])
    spread = _jitter(parameter)
    x = np.asarray(
        [
            parameter.place(trial.params[parameter.name]) + spread(trial.number) if here else np.nan
            for trial, here in zip(found.complete, has, strict=True)
        ]
    )
    is_top = np.isin([trial.number for trial in found.complete], list(found.top))
    values, limits, shown = found.values[:, place], _limits(found, place), _shown(found)
    others, tops = has & shown & ~is_top, has & is_top
    _draw_others(axes, x[others], values[others], limits, label="others")
    if tops.any():
        axes.plot(x[tops], values[tops], label=found.top_name, zorder=3, **BEST)
    given_up = [trial for trial in found.pruned if parameter.name in trial.params]
    places = [parameter.place(trial.params[parameter.name]) + spread(trial.number) for trial in given_up]
    _draw_rug(axes, places, PRUNED, "pruned", 0.035)
    axes.set_ylim(*limits)
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


def _lines(found: Findings, parameters: Sequence[Parameter], trials: Sequence[FrozenTrial]) -> Any:  # noqa: ANN401
    """Return the lines of parallel coordinates, shape (n_trials, n_axes, 2), every axis from 0 to 1."""
    heights = [
        [_jittered(each.share(trial.params[each.name]), each, trial.number) for each in parameters] for trial in trials
    ]
    places = {trial.number: place for place, trial in enumerate(found.complete)}
    values = found.values[[places[trial.number] for trial in trials]]
    for place in range(len(found.objectives)):
        worst, best = _best_on_top(found, place)
        shares = np.clip((values[:, place] - worst) / (best - worst), 0, 1)
        heights = [[*row, share] for row, share in zip(heights, shares, strict=True)]
    across = np.broadcast_to(np.arange(len(heights[0])), (len(heights), len(heights[0])))
    return np.stack([across, np.asarray(heights)], axis=-1)


def _name_axes(axes: Axes, found: Findings, parameters: Sequence[Parameter], condition: str) -> None:
    """Draw the axes of parallel coordinates, with their names below and their values beside them."""
    number = len(parameters) + len(found.objectives)
    axes.set_xlim(-0.1, number - 1 + 0.35)
    axes.set_ylim(-0.03, 1.03)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.vlines(range(number), 0, 1, color="#AEB5BD", linewidth=0.8, zorder=1)
    behind = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "boxstyle": "square,pad=0.1"}
    names = [each.label.removesuffix(f" ({condition})") for each in parameters]
    names += [f"{name} ↑ better" for name in found.objectives]
    ticks = [_marks(each) for each in parameters]
    ticks += [
        [(share, f"{value:.4g}") for share, value in zip((0.0, 1.0), _best_on_top(found, place), strict=True)]
        for place in range(len(found.objectives))
    ]
    beside: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
    for place, (name, marks) in enumerate(zip(names, ticks, strict=True)):
        down = -20 if place % 2 and number > ONE_ROW else -8  # names in two rows where they would touch
        weight = "bold" if place >= len(parameters) else "normal"
        axes.annotate(
            shorten(name, 24), (place, 0), (0, down), va="top", ha="center", fontsize=8, fontweight=weight, **beside
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


def _best_on_top(found: Findings, place: int) -> tuple[float, float]:
    low, high = _limits(found, place, room=0.0)
    return (high, low) if found.directions[place] == "minimize" else (low, high)


def _limits(found: Findings, place: int, room: float = 0.08) -> tuple[float, float]:
    """Return the ends of an objective's axis: it shows the good trials, and very bad ones do not squash them."""
    losses = found.losses[:, place]
    best, usual = float(losses.min()), float(np.quantile(losses, 0.8))
    worst = min(float(losses.max()), best + 2.5 * (usual - best) if usual > best else float(losses.max()))
    if worst == best:  # all are equal
        best, worst = best - (abs(best) * 0.1 or 1.0), worst + (abs(worst) * 0.1 or 1.0)
    ends = best - room * (worst - best), worst + room * (worst - best)
    return ends if found.directions[place] == "minimize" else (-ends[1], -ends[0])


def _plain_ticks(axis: Any, most: int, *, whole: bool = False) -> None:  # noqa: ANN401 - matplotlib's axes differ
    axis.set_major_locator(MaxNLocator(most, integer=whole))
    axis.set_major_formatter(NUMBER)


def _jitter(parameter: Parameter) -> Callable[[int], float]:
    """Return by how much a trial's mark is moved: choices would hide each other; the same in every drawing."""
    return (lambda number: ((number * 0.618034) % 1 - 0.5) * 0.5) if parameter.choices else (lambda _: 0.0)


def _jittered(share: float, parameter: Parameter, number: int) -> float:
    return share + _jitter(parameter)(number) * 0.5 / max(len(parameter.choices), 1)


def _shown(found: Findings) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which complete trials are drawn: all the best, and of very many others an even selection."""
    step = -(-len(found.complete) // MOST_DRAWN)
    numbers = np.asarray([trial.number for trial in found.complete])
    return np.asarray((np.arange(len(numbers)) % step == 0) | np.isin(numbers, list(found.top)), dtype=np.bool_)


def _range(parameter: Parameter, found: Findings, trials: Sequence[FrozenTrial]) -> str:
    """Return where the best trials lie on a parameter, in a few words."""
    chosen = [trial.params[parameter.name] for trial in trials if trial.number in found.top]
    if not chosen:
        return "–"
    if parameter.choices:
        counted = sorted(parameter.choices, key=lambda choice: -chosen.count(choice))
        return ", ".join(plain(choice) for choice in counted[:3] if choice in chosen)
    low, high = parameter.write(min(chosen)), parameter.write(max(chosen))
    return low if low == high else f"{low} to {high}"


def _better(found: Findings, place: int, low: str, high: str) -> str:
    return low if found.directions[place] == "minimize" else high


def _of_top(found: Findings, is_top: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    """Return what the highlighted lines of a branch are called."""
    number = int(is_top.sum())
    if len(found.objectives) > 1:
        return f"{number} {found.top_name}"
    return found.top_name if number == len(found.top) else f"{number} of {found.top_name}"


def _trials(number: int) -> str:
    return f"{number} trial{'' if number == 1 else 's'}"
