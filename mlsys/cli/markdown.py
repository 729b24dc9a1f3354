"""Markdown in a terminal: as Rich prints it, but tables lose no text where the terminal is narrow."""

from __future__ import annotations

from typing import ClassVar

from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult  # noqa: TID251 - types of the overridden method
from rich.table import Table

SHORT = 16  # characters: row titles up to this length, such as dates, stay on one line


class _WholeTable(markdown.TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                part.show_edge = False  # leaves two more characters for the cells
                for column in part.columns:
                    column.overflow = "fold"
                titles = [console.measure(cell).maximum for cell in part.columns[0].cells]
                part.columns[0].no_wrap = max(titles, default=0) <= SHORT
            yield part


class Markdown(markdown.Markdown):
    r"""Markdown whose table cells continue on the next line instead of ending with an ellipsis.

    Examples
    --------
    >>> from mlsys.terminal import Terminal
    >>> Terminal(width=19).print(Markdown("| Fold | Converters |\n| :-- | --: |\n| 2020-02-26 | 6 |"))
    <BLANKLINE>
                Convert
    Fold            ers
    ───────────────────
    2020-02-26        6
    """

    elements: ClassVar[dict[str, type[markdown.MarkdownElement]]] = {
        **markdown.Markdown.elements,
        "table_open": _WholeTable,
    }
