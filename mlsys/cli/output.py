"""Output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID
from rich.table import Table

from mlsys.terminal import Terminal

PROGRESS_DELAY = 0.5  # seconds: quicker commands show no progress bar

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Print rows that have the same keys.

    Parameters
    ----------
    rows : sequence of mapping
        One per line of the table; the keys are the column titles.
    as_json : bool
        Whether to print JSON instead of a table.
    empty : str
        Message to print instead of an empty table.
    """
    if as_json:
        print_json(list(rows))
        return
    terminal = Terminal()
    if not rows:
        terminal.print_line(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="right" if _is_number(rows, name) else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(_text, row.values()))
    terminal.print_wide(table)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that reports progress (description, done, total), shown on a terminal once it takes a while."""
    terminal = Terminal(stderr=True)
    start = time.monotonic()
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report_progress(description: str, done: int, total: int) -> None:
            if description not in tasks and time.monotonic() - start > PROGRESS_DELAY:
                tasks[description] = progress.add_task(description, total=total)
            if description in tasks:
                progress.update(tasks[description], completed=done, total=total)

        yield report_progress


def _is_number(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [row[name] for row in rows if row[name] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
