"""What all pages and cards are made with: templates, and pictures that are inside their page."""

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
    """A picture as a page embeds it."""

    source: str
    description: str
    caption: str
    width: int
    height: int


def embed(name: str, png: bytes, caption: str = "") -> Picture:
    """Return a picture for a page, described by the words in its file.

    Parameters
    ----------
    name : str
        What it is called where the file has no description.
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
    """Return the environment of the templates: HTML is escaped by itself, Markdown by the filters md and code.

    Parameters
    ----------
    *folders : Path
        Of templates that build on those here.
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
    r"""Make text mean itself in Markdown, table cells included.

    Examples
    --------
    >>> print(escape_markdown("<b> a|b *c* users_28d _d_"))
    \<b> a\|b \*c\* users_28d \_d\_
    """
    line = " ".join(str(text).split())
    line = re.sub(r"([\\`*\[<|])", r"\\\1", line)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def code_span(text: object) -> str:
    """Return an inline code span, whatever backticks and pipes the text holds.

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
