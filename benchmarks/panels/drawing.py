"""Draws the panel's cost against its size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

mpl.use("Agg")
BLUE, GREY = "#1f5fa8", "#9a9a9a"


def draw(by_events: Sequence[dict[str, Any]], by_as_ofs: Sequence[dict[str, Any]], path: Path) -> None:
    """Write an SVG: seconds and memory by events, seconds by as-ofs; dotted where the cost would be in proportion."""
    mpl.rcParams["svg.hashsalt"] = "panel"
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    events, as_ofs = [one["events"] for one in by_events], [one["as_ofs"] for one in by_as_ofs]
    seconds = "seconds of all cores"
    curve(axes[0], events, [sum(cores(one)) for one in by_events], seconds, "events")
    axes[0].set_title(f"{by_events[0]['as_ofs']} as-ofs", fontsize=10)
    curve(axes[1], as_ofs, [sum(cores(one)) for one in by_as_ofs], seconds, "weekly as-ofs")
    axes[1].set_title(f"{by_as_ofs[0]['events']:,} events", fontsize=10)
    curve(axes[2], events, [one["peak_mb"] / 1e3 for one in by_events], "peak memory in GB", "events")
    axes[2].set_title(f"{by_events[0]['as_ofs']} as-ofs", fontsize=10)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def cores(one: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds of all cores for opening the tables and for building the panel."""
    return one["open"][1], one["build"][1]


def curve(axis: Any, sizes: list[int], costs: list[float], cost: str, size: str) -> None:
    axis.plot(sizes, costs, "o-", color=BLUE)
    axis.plot(sizes, [costs[-1] * one / sizes[-1] for one in sizes], ":", color=GREY)
    axis.set(xscale="log", yscale="log", xlabel=size, ylabel=cost, xticks=sizes)
    axis.set_xticks([], minor=True)
    axis.set_xticklabels([f"{one:,}" if one < 1e5 else f"{one / 1e6:.3g} million" for one in sizes])
    axis.set_yticks(costs)
    axis.set_yticks([], minor=True)
    axis.set_yticklabels([f"{one:.2g}" for one in costs])
    axis.grid(alpha=0.3)
