"""The house style of pictures, and how one becomes a small PNG file that repeats byte for byte.

Matplotlib's `Figure` is drawn straight to the Agg canvas: no pyplot, no display. Each file carries its own description
as PNG text, from which a page takes the words for those who cannot see it.
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

# Mostly Okabe and Ito's palette, told apart with any kind of colour vision; line styles differ as well.
MODEL, ACTIVITY, RAW, CHANCE, INK = "#0072B2", "#D55E00", "#AA4499", "#7A828C", "#20262E"
DASHED, DOTTED = (0, (4, 1.5)), ":"
STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same pixels on every machine
    "font.size": 8.5,
    "text.parse_math": False,  # a feature called price_$ is not a formula
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
WIDTH, HEIGHT, DPI = 4.5, 3.3, 150  # inches; small, so that the text stays legible on a phone
HANDLE, ROW = 5, 58  # characters that a legend's line takes beside its name, and that fit side by side
LEFT, RIGHT = 0.11, 0.95  # of the width: where the axes lie


@dataclass(frozen=True)
class Words:
    """What a plot says: its finding as a title, and a description for those who cannot see it."""

    title: str
    description: str


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in our style: matplotlib's own defaults below it, so that no matplotlibrc changes the bytes."""
    defaults = cast(Mapping[str, Any], mpl.rcParamsDefault)
    # The backend belongs to whoever embeds us, a notebook say; Agg is chosen by its canvas alone.
    style = {key: value for key, value in defaults.items() if "backend" not in key} | dict(STYLE)
    with mpl.rc_context(cast(Any, style)), warnings.catch_warnings():
        # A feature may be named in a script that the bundled font lacks: boxes in a plot are no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def render_png(draw: Callable[[Figure], Words]) -> bytes:
    """Return what a function draws, as a PNG file with its title on it and its description inside."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves its canvases untyped
    words = draw(figure)
    width, height = figure.get_size_inches()
    size = 9.5 * min(1.0, 12 * width / len(words.title))  # a longer title would leave the picture
    figure.text(0.03 * WIDTH / width, 1 - 0.08 / height, words.title, fontsize=size, fontweight="bold", va="top")
    canvas.draw()
    # Not savefig: a palette makes the file a third of the size, and nothing signs it with matplotlib's version.
    colours = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    indexed = colours.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The octree rounds white to 254, which would show as a faint box on a white page.
    indexed.putpalette([255 if part >= 252 else part for part in indexed.getpalette() or []])
    described = PngInfo()
    described.add_itxt("Description", words.description)
    file = io.BytesIO()
    indexed.save(file, format="PNG", pnginfo=described, dpi=(DPI, DPI))
    return file.getvalue()


def draw_no_data(figure: Figure, title: str, reason: str) -> Words:
    """Say why there is nothing to draw: an empty plot would look like a fault."""
    figure.text(0.5, 0.5, reason, ha="center", va="center", color=CHANCE)
    return Words(title, f"{title}. {reason}".replace("\n", " "))


def new_axes(figure: Figure, x_label: str, y_label: str) -> Axes:
    """Return the axes of a picture that holds one plot."""
    axes = figure.add_axes((LEFT, 0.145, RIGHT - LEFT, 0.6))
    axes.set_xlabel(x_label)
    name_y(axes, y_label)
    return axes


def name_y(axes: Axes, text: str, lift: float = 5) -> None:
    """Write what the y axis shows above it, where it reads without turning one's head; ``lift`` is in points."""
    axes.annotate(text, (0, 1), (-0.085 * WIDTH * 72, lift), xycoords="axes fraction", textcoords="offset points")


def name_lines(figure: Figure, axes: Axes, *, order: Callable[[str], int] | None = None) -> int:
    """Name the lines in their own colours, in rows between the title and the plot; return how many rows.

    Parameters
    ----------
    figure : Figure
    axes : Axes
        Lines whose name begins with an underscore are left out.
    order : callable, optional
        Key of a name, to sort by.
    """
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    if order is not None:
        lines.sort(key=lambda line: order(str(line.get_label())))
    names = [str(line.get_label()) for line in lines]
    fits = sum(len(name) + HANDLE for name in names) <= ROW * figure.get_figwidth() / WIDTH
    in_a_row = max(len(names), 1) if fits else 4
    legend = axes.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(0.025 * WIDTH / figure.get_figwidth(), 1 - 0.3135 / figure.get_figheight()),
        bbox_transform=figure.transFigure,
        ncols=in_a_row,
        frameon=False,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.3,
        borderpad=0,
    )
    for text, line in zip(legend.get_texts(), lines, strict=True):
        text.set_color(line.get_color())
    return -(-len(lines) // in_a_row) if lines else 0


def draw_shares(figure: Figure, names: Sequence[str], shares: Floats) -> None:
    """Draw shares of a whole as bars, one below the other, and make the picture as high as they need."""
    figure.set_size_inches(WIDTH, 0.75 + 0.21 * len(names))
    height = figure.get_figheight()
    axes = figure.add_axes((0.42, 0.12 / height, 0.46, 1 - 0.62 / height))
    places = np.arange(len(names))
    axes.barh(places, shares, height=0.66, color=MODEL)
    for place, share in zip(places, shares, strict=True):
        end = (max(float(share), 0.0), float(place))
        axes.annotate(percent(float(share)), end, (3, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, labels=[shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def shorten(name: str, most: int = 26) -> str:
    """Shorten a name in its middle: features of one block differ at the end."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"


def tick(share: float) -> str:
    """Write a share as the label of a tick.

    Examples
    --------
    >>> tick(0.2), tick(0.00012)
    ('20%', '0.012%')
    """
    rounded = float(f"{share * 100:.3g}")
    return f"{rounded:.6f}".rstrip("0").rstrip(".") + "%"


PERCENT = FuncFormatter(lambda value, _: tick(value))


def percent_axes(axes: Axes) -> None:
    """Let both axes run from 0 to 100 %."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)


def log_axis(axes: Axes, name: str, low: float, high: float) -> None:
    """Set a log scale labelled in percent at the decades; matplotlib would label it in powers of ten."""
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    (axes.set_xlim if name == "x" else axes.set_ylim)(low, high)
    axis = axes.xaxis if name == "x" else axes.yaxis
    decades = 10.0 ** np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    ticks = decades if decades.size > 1 else np.asarray([low, high])
    axis.set_ticks(ticks, labels=[tick(float(each)) for each in ticks])
    axis.set_minor_locator(NullLocator())


def fold_ticks(names: Sequence[str]) -> list[str]:
    r"""Break dates in two, with the year only where it changes: six whole dates do not fit side by side.

    Examples
    --------
    >>> fold_ticks(["2020-02-24", "2020-03-23", "fold 3"])
    ['02-24\n2020', '03-23', 'fold 3\n']
    """
    dates = [name.split("-", 1) if name[:4].isdigit() else ["", name] for name in names]
    years = ["", *(year for year, _ in dates)]
    return [rest if year == before else f"{rest}\n{year}" for before, (year, rest) in zip(years, dates, strict=False)]
