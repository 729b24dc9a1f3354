"""The plot of what single columns add to a model's log odds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlsys.evaluation.curves import Floats
from mlsys.evaluation.effects import Effect
from mlsys.evaluation.report.canvas import ACTIVITY, CHANCE, MODEL, WIDTH, Words, shorten
from mlsys.text import counted, joined

PER_ROW, MAX_LEVELS, LEVEL, SMALL = 2, 4, 6, 7.0  # LEVEL: characters of a level
ROW_HEIGHT, TITLE = 1.2, 0.3  # inches
GAP = 0.14  # between missing values and the bins, and from there to the first label; a fraction of the bins
SPACE = 0.22  # between two labels, at least


def draw_effects(figure: Figure, effects: Sequence[Effect]) -> Words:
    """Draw one small plot per column, all with the same vertical axis.

    The bins of a number are equally wide: they hold about equally many rows, whatever the distribution.

    Parameters
    ----------
    figure : Figure
    effects : sequence of Effect
        At least one.
    """
    rows = -(-len(effects) // PER_ROW)
    figure.set_size_inches(WIDTH, TITLE + ROW_HEIGHT * rows)
    height = figure.get_figheight()
    low, high = _limits(effects)
    for number, effect in enumerate(effects):
        row, column = divmod(number, PER_ROW)
        bottom = height - TITLE - ROW_HEIGHT * (row + 1) + 0.25
        axes = figure.add_axes((0.09 + 0.48 * column, bottom / height, 0.4, (ROW_HEIGHT - 0.5) / height))
        axes.set_title(shorten(" ".join(effect.name.split()), 30), loc="left", fontsize=SMALL + 0.5, pad=3)
        axes.axhline(0, color=CHANCE, linewidth=0.8)
        (_draw_levels if isinstance(effect.curve.bins, tuple) else _draw_number)(axes, effect)
        axes.set_ylim(low, high)
        axes.tick_params(labelsize=SMALL)
        axes.grid(visible=False, axis="x")
    title = f"What the {counted(len(effects), 'most important column')} add to the log odds"
    return Words(title, f"{title}. {' '.join(map(_sentence, effects))}")


def _draw_number(axes: Axes, effect: Effect) -> None:
    curve = effect.curve
    starts = np.asarray(curve.bins, dtype=np.float64)
    edges = np.arange(len(curve.adds) + 1, dtype=np.float64)
    axes.stairs(curve.adds, edges, color=MODEL, linewidth=1.4, baseline=None)
    low, high = curve.adds - curve.deviation, curve.adds + curve.deviation
    axes.fill_between(edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=MODEL, alpha=0.2)
    first = max(1, round(GAP * len(edges)))
    step = max(math.ceil(SPACE * len(edges)), (len(starts) - first) // 3)
    shown = np.arange(first, len(starts) + 1, step)
    labels = [f"{starts[position - 1]:.3g}" for position in shown]
    places = [float(position) for position in shown]
    if curve.missing is not None:
        place = -GAP * len(curve.adds)
        axes.plot(place, curve.missing, color=ACTIVITY, marker="o", markersize=4, linewidth=0)
        places, labels = [place, *places], ["none", *labels]
    axes.set_xticks(places, labels=labels)


def _draw_levels(axes: Axes, effect: Effect) -> None:
    curve = effect.curve
    most = _most_frequent(effect)
    names = [str(curve.bins[position]) for position in most]
    adds, deviation = curve.adds[most], curve.deviation[most]
    if curve.missing is not None:
        names, adds, deviation = ["none", *names], np.append(curve.missing, adds), np.append(0.0, deviation)
    places = np.arange(len(names))
    axes.errorbar(places, adds, deviation, color=MODEL, marker="o", markersize=4, linewidth=0, elinewidth=1)
    if curve.missing is not None:
        axes.plot(0, curve.missing, color=ACTIVITY, marker="o", markersize=4, linewidth=0, zorder=3)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(places, labels=[name if len(name) <= LEVEL else f"{name[: LEVEL - 1]}…" for name in names])


def _most_frequent(effect: Effect) -> NDArray[np.intp]:
    """Return the positions of the levels with the most training rows."""
    order = np.argsort(-effect.curve.rows, kind="stable")[:MAX_LEVELS]
    return order[effect.curve.rows[order] > 0]


def _limits(effects: Sequence[Effect]) -> tuple[float, float]:
    ends: list[Floats] = []
    for _, curve in effects:
        missing = [] if curve.missing is None else [curve.missing]
        ends += [curve.adds - curve.deviation, curve.adds + curve.deviation, np.asarray([0.0, *missing])]
    values = np.concatenate(ends)
    margin = 0.08 * (float(np.ptp(values)) or 1.0)
    return float(values.min()) - margin, float(values.max()) + margin


def _sentence(effect: Effect) -> str:
    curve, name = effect.curve, " ".join(effect.name.split())
    missing = "" if curve.missing is None else f"; a missing value {curve.missing:+.2f}"
    if isinstance(curve.bins, tuple):
        most = _most_frequent(effect)
        levels = joined([f"{curve.bins[position]} {curve.adds[position]:+.2f}" for position in most])
        return f"{name}: {levels}{missing}."
    return f"{name}: from {curve.adds[0]:+.2f} for the lowest values to {curve.adds[-1]:+.2f} for the highest{missing}."
