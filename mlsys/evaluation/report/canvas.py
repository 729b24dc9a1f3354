"""The style of our plots, and rendering to small PNG files with reproducible bytes.

A Matplotlib `Figure` is drawn directly on an Agg canvas, without pyplot or a display. Each file contains its own
description as PNG text, which pages use as alternative text.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mlsys.evaluation.curves import Floats
from mlsys.evaluation.formats import percent

# Mostly the Okabe-Ito palette, which is safe for colour-blind readers; line styles differ as well.
MODEL, ACTIVITY, RAW, CHANCE, INK = "#0072B2", "#D55E00", "#AA4499", "#7A828C", "#20262E"
DASHED, DOTTED = (0, (4, 1.5)), ":"
STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with Matplotlib: the same pixels on every machine
    "font.size": 8.5,
    "text.parse_math": False,  # a feature named price_$ is not a formula
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#AEB5BD",
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDE1E6",
    "grid.linewidth": 0.6,
    "xtick.color": "#4A525C",
    "ytick.color": "#4A525C",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
WIDTH, HEIGHT, DPI = 4.5, 3.3, 150  # inches; small enough for legible text on a phone
HANDLE, ROW = 5, 58  # width of a legend handle and of a legend row, in characters
LEFT, RIGHT = 0.11, 0.95  # edges of the axes, as fractions of the width


@dataclass(frozen=True)
class Words:
    """The text of a plot: its main finding as the title, and a description as alternative text."""

    title: str
    description: str


@contextmanager
def house_style() -> Iterator[None]:
    """Apply our style on top of Matplotlib's defaults, so that no matplotlibrc changes the bytes."""
    defaults = cast(Mapping[str, Any], mpl.rcParamsDefault)
    # The backend is left to the caller, such as a notebook; we choose Agg through its canvas only.
    style = {key: value for key, value in defaults.items() if "backend" not in key} | dict(STYLE)
    with mpl.rc_context(cast(Any, style)), warnings.catch_warnings():
        # Feature names may have characters that the bundled font lacks; boxes in a plot do not deserve a warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def render_png(draw: Callable[[Figure], Words]) -> bytes:
    """Render a plot as a PNG file, with its title drawn and its description embedded."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves its canvases untyped
    words = draw(figure)
    width, height = figure.get_size_inches()
    size = 9.5 * min(1.0, 12 * width / len(words.title))  # shrink long titles to fit
    figure.text(0.03 * WIDTH / width, 1 - 0.08 / height, words.title, fontsize=size, fontweight="bold", va="top")
    canvas.draw()
    # Instead of savefig: a palette makes the file a third of the size, and no Matplotlib version is written into it.
    colours = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    indexed = colours.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The octree rounds white to 254, which would show up as a faint box on a white page.
    indexed.putpalette([255 if part >= 252 else part for part in indexed.getpalette() or []])
    described = PngInfo()
    described.add_itxt("Description", words.description)
    file = io.BytesIO()
    indexed.save(file, format="PNG", pnginfo=described, dpi=(DPI, DPI))
    return file.getvalue()


def draw_no_data(figure: Figure, title: str, reason: str) -> Words:
    """Draw the reason why there is nothing to plot, as an empty plot would look like an error."""
    figure.text(0.5, 0.5, reason, ha="center", va="center", color=CHANCE)
    return Words(title, f"{title}. {reason}".replace("\n", " "))


def new_axes(figure: Figure, x_label: str, y_label: str) -> Axes:
    """Return the axes of a figure with a single plot."""
    axes = figure.add_axes((LEFT, 0.145, RIGHT - LEFT, 0.6))
    axes.set_xlabel(x_label)
    name_y(axes, y_label)
    return axes


def name_y(axes: Axes, text: str, lift: float = 5) -> None:
    """Write the label of the y axis horizontally above it; ``lift`` is in points."""
    axes.annotate(text, (0, 1), (-0.085 * WIDTH * 72, lift), xycoords="axes fraction", textcoords="offset points")


def name_lines(figure: Figure, axes: Axes, *, order: Callable[[str], int] | None = None) -> int:
    """Add a legend in the colours of the lines between title and plot; return its number of rows.

    Parameters
    ----------
    figure : Figure
    axes : Axes
        Lines whose label starts with an underscore are left out.
    order : callable, optional
        Sort key of a label.
    """
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    if order is not None:
        lines.sort(key=lambda line: order(str(line.get_label())))
    names = [str(line.get_label()) for line in lines]
    fits = sum(len(name) + HANDLE for name in names) <= ROW * figure.get_figwidth() / WIDTH
    columns = max(len(names), 1) if fits else 4
    legend = axes.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(0.025 * WIDTH / figure.get_figwidth(), 1 - 0.3135 / figure.get_figheight()),
        bbox_transform=figure.transFigure,
        ncols=columns,
        frameon=False,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.3,
        borderpad=0,
    )
    for text, line in zip(legend.get_texts(), lines, strict=True):
        text.set_color(line.get_color())
    return -(-len(lines) // columns) if lines else 0


def draw_shares(figure: Figure, names: Sequence[str], shares: Floats) -> None:
    """Draw fractions of a total as horizontal bars, and set the height of the figure to fit them."""
    figure.set_size_inches(WIDTH, 0.75 + 0.21 * len(names))
    height = figure.get_figheight()
    axes = figure.add_axes((0.42, 0.12 / height, 0.46, 1 - 0.62 / height))
    positions = np.arange(len(names))
    axes.barh(positions, shares, height=0.66, color=MODEL)
    for position, share in zip(positions, shares, strict=True):
        end = (max(float(share), 0.0), float(position))
        axes.annotate(percent(float(share)), end, (3, 0), textcoords="offset points", va="center")
    axes.set_yticks(positions, labels=[shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def shorten(name: str, max_length: int = 26) -> str:
    """Shorten a name in the middle, since features of one block differ at the end."""
    return name if len(name) <= max_length else f"{name[: max_length // 2 - 1]}…{name[-(max_length // 2) :]}"


def tick(fraction: float) -> str:
    """Format a fraction as a tick label.

    Examples
    --------
    >>> tick(0.2), tick(0.00012)
    ('20%', '0.012%')
    """
    rounded = float(f"{fraction * 100:.3g}")
    return f"{rounded:.6f}".rstrip("0").rstrip(".") + "%"


PERCENT = FuncFormatter(lambda value, _: tick(value))


def percent_axes(axes: Axes) -> None:
    """Make both axes range from 0 to 100 %."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)


def log_axis(axes: Axes, name: str, low: float, high: float) -> None:
    """Set a log scale with percentages at the decades; Matplotlib would label it with powers of ten."""
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    (axes.set_xlim if name == "x" else axes.set_ylim)(low, high)
    axis = axes.xaxis if name == "x" else axes.yaxis
    decades = 10.0 ** np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    ticks = decades if decades.size > 1 else np.asarray([low, high])
    axis.set_ticks(ticks, labels=[tick(float(each)) for each in ticks])
    axis.set_minor_locator(NullLocator())


def fold_ticks(names: Sequence[str]) -> list[str]:
    r"""Format fold names as tick labels: their first dates, with the year below and only where it changes.

    Examples
    --------
    >>> fold_ticks(["2020-02-24", "2020-03-23 to 2020-03-30", "fold 3"])
    ['02-24\n2020', '03-23', 'fold 3\n']
    """
    firsts = [name.partition(" to ")[0] for name in names]
    dates = [name.split("-", 1) if name[:4].isdigit() else ["", name] for name in firsts]
    years = ["", *(year for year, _ in dates)]
    return [rest if year == before else f"{rest}\n{year}" for before, (year, rest) in zip(years, dates, strict=False)]
