"""The terminal: prints text exactly as it is, whatever the users' names contain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mlsys.text import visible

WIDEST = 10_000  # characters


class Terminal(Console):
    r"""A Rich console without markup, emoji codes and highlighting. Everything that mlsys prints with Rich goes here.

    Rich reads ``[…]`` as markup and ``:…:`` as an emoji: a column named ``[seats]`` would vanish, and ``[/b]`` would
    raise. Styles are given as such: ``Text("pass", "green")``, ``print(title, style="bold")``. Control characters are
    printed as their pictures.

    Parameters
    ----------
    file : file, optional
        Where to print; standard output by default.
    stderr : bool
        Whether to print to standard error instead.
    width : int, optional
        Characters in a line; by default those of the terminal.
    force_terminal : bool, optional
        Whether to print as on a terminal; by default, whether it is one.

    Examples
    --------
    >>> Terminal(width=60).print_line("data.drop=[seats] [/b] :x:")
    data.drop=[seats] [/b] :x:
    >>> Terminal(width=60).print_line("\x1b[2J")
    ␛[2J
    """

    def __init__(
        self,
        file: IO[str] | None = None,
        *,
        stderr: bool = False,
        width: int | None = None,
        force_terminal: bool | None = None,
    ) -> None:
        super().__init__(
            file=file,
            stderr=stderr,
            width=width,
            force_terminal=force_terminal,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render_str(self, text: str, **settings: Any) -> Text:  # noqa: ANN401 - Rich's own
        """Return text as Rich does, with visible control characters, which count when columns are measured."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render as Rich does, with visible control characters also in styled text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def print_line(self, text: str) -> None:
        """Print a line of text, which may be longer than the terminal is wide."""
        self.print(text, soft_wrap=True)

    def print_wide(self, table: Table) -> None:
        """Print a table, which may be wider than the terminal.

        Programs such as `cut` can handle a long line, but not one folded within its columns, and people read it better.
        """
        needed = Measurement.get(self, self.options.update(max_width=WIDEST), table).maximum
        self.width = max(self.width, needed)
        self.print(table, soft_wrap=True)


class ProgressBar:
    """How far a stage is, in the last line of standard error; implements `mlsys.stages.Display`."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._name = ""

    def show(self, name: str, unit: str, done: int, total: int | None) -> None:
        """Show the stage; its total is None if it is unknown."""
        if self._name != name:
            self.hide()
            columns = [TextColumn("{task.description}"), BarColumn()]
            columns += [] if total is None else [MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()]
            self._progress = Progress(*columns, TimeElapsedColumn(), console=Terminal(stderr=True), transient=True)
            self._progress.add_task(name, total=total)
            self._progress.start()
            self._name = name
        assert self._progress is not None
        self._progress.update(self._progress.task_ids[0], completed=done)

    def hide(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._name = None, ""
