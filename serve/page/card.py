"""Converts the run's card to HTML: only the subset of Markdown that cards use."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

_INLINE = re.compile(
    r"\\(?P<plain>[\\`*_\[<|])"
    r"|(?P<fence>`+)(?P<code>.+?)(?P=fence)(?!`)"
    r"|\*\*(?P<strong>(?:\\.|[^*\\])+)\*\*"
    r"|\*(?P<em>(?!\s)(?:\\.|[^*\\])+)\*"
)
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Card:
    """A parsed card.

    Attributes
    ----------
    summary : str
        Markdown before the first section.
    sections : dict of str to str
        Markdown of each section, by heading.
    """

    summary: str
    sections: dict[str, str]

    @classmethod
    def of(cls, text: str) -> Card:
        r"""Parse a card.

        Examples
        --------
        >>> Card.of("# Model card\n\nIt ranks.\n\n## The data\n\nRows.").sections
        {'The data': 'Rows.'}
        """
        first, *rest = re.split(r"(?m)^## ", text)
        parts = (part.partition("\n") for part in rest)
        return cls(re.sub(r"(?m)^# .*\n*", "", first).strip(), {name.strip(): body.strip() for name, _, body in parts})


def to_html(text: str, *, level: int = 3) -> str:
    """Return Markdown as HTML: paragraphs, lists, tables, headings, bold, emphasis, code. Anything else stays text.

    Parameters
    ----------
    text : str
    level : int
        Heading level for the card's second-level headings; deeper headings follow.

    Examples
    --------
    >>> to_html("- **12%** of <b>")
    '<ul><li><strong>12%</strong> of &lt;b&gt;</li></ul>'
    """
    blocks = re.split(r"\n\s*\n", text.strip()) if text.strip() else []
    return "".join(_block(block.splitlines(), level) for block in blocks)


def _block(lines: list[str], level: int) -> str:
    if lines[0].startswith("#"):
        depth = len(lines[0]) - len(lines[0].lstrip("#"))
        tag = f"h{min(6, level + max(0, depth - 2))}"
        rest = _block(lines[1:], level) if lines[1:] else ""
        return f"<{tag}>{inline(lines[0].lstrip('# '))}</{tag}>{rest}"
    if lines[0].startswith("- "):
        items = re.split(r"(?m)^- ", "\n".join(lines))[1:]
        return "<ul>" + "".join(f"<li>{inline(item.strip())}</li>" for item in items) + "</ul>"
    if lines[0].startswith("|") and len(lines) > 1:
        return _table(lines)
    return f"<p>{inline(' '.join(lines))}</p>"


def _table(lines: list[str]) -> str:
    head, align, *body = (_cells(line) for line in lines)
    numeric = [cell.endswith(":") for cell in align]

    def row(cells: list[str], opening: Callable[[int], str], tags: Callable[[int], str]) -> str:
        parts = (f"<{opening(i)}>{inline(cell)}</{tags(i)}>" for i, cell in enumerate(cells))
        return f"<tr>{''.join(parts)}</tr>"

    def style(i: int) -> str:
        return ' class="number"' if i < len(numeric) and numeric[i] else ""

    top = row(head, lambda i: f'th scope="col"{style(i)}', lambda _: "th") if any(head) else ""
    rest = "".join(
        row(cells, lambda i: f"td{style(i)}" if i else 'th scope="row"', lambda i: "td" if i else "th")
        for cells in body
    )
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="Table">'
    return f"{scroll}<table><thead>{top}</thead><tbody>{rest}</tbody></table></div>"


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip().strip("|"))]


def inline(text: str) -> str:
    r"""Return a line of Markdown as HTML.

    Examples
    --------
    >>> inline(r"**12%** of `a*b`, \*not\* \<b>")
    '<strong>12%</strong> of <code>a*b</code>, *not* &lt;b&gt;'
    """
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        parts += [escape(text[end : found.start()]), _marked(found)]
        end = found.end()
    return "".join([*parts, escape(text[end:])])


def _marked(found: re.Match[str]) -> str:
    if found["plain"]:
        return escape(found["plain"])
    if found["code"]:
        code = found["code"]
        return f"<code>{escape(code.strip() if len(found['fence']) > 1 else code)}</code>"
    tag = "strong" if found["strong"] else "em"
    return f"<{tag}>{inline(found[tag])}</{tag}>"
