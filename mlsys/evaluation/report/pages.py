"""Templates of pages and cards, and images embedded in a page."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """An image to embed in a page."""

    source: str
    description: str
    caption: str
    width: int
    height: int


def embed(name: str, png: bytes, caption: str = "") -> Picture:
    """Return an image for a page; its alternative text is the description stored in the PNG file.

    Parameters
    ----------
    name : str
        The alternative text if the file has no description.
    png : bytes
    caption : str
    """
    with Image.open(io.BytesIO(png)) as image:
        width, height = image.size
        description = str(image.info.get("Description") or name)
    encoded = base64.b64encode(png).decode("ascii")
    return Picture(f"data:image/png;base64,{encoded}", description, caption, width, height)


@cache
def templates(*folders: Path) -> jinja2.Environment:
    """Return the template environment: HTML is escaped automatically, Markdown with the filters md and code.

    Parameters
    ----------
    *folders : Path
        Folders with templates that extend the ones here.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = escape_markdown
    environment.filters["code"] = code_span
    return environment


def escape_markdown(text: object) -> str:
    r"""Escape text for Markdown, including table cells.

    Examples
    --------
    >>> print(escape_markdown("<b> a|b *c* users_28d _d_"))
    \<b> a\|b \*c\* users_28d \_d\_
    """
    line = " ".join(str(text).split())
    line = re.sub(r"([\\`*\[<|])", r"\\\1", line)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def code_span(text: object) -> str:
    """Return an inline code span; backticks and pipes in the text are handled.

    Examples
    --------
    >>> print(code_span("a`b"))
    `` a`b ``
    """
    line = " ".join(str(text).split()).replace("|", "\\|")
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (max(map(len, re.findall("`+", line))) + 1)
    return f"{fence} {line} {fence}"
