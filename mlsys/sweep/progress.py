"""How a sweep shows that it lives: a live table on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlsys.sweep.artifacts import REPORT
from mlsys.sweep.checks import objectives_of
from mlsys.sweep.study import Counts, count
from mlsys.sweep.trials import WORDS, best_trial, failures, named, short

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults
    from mlsys.sweep.study import SharedStudy
    from mlsys.sweep.worker import Sweep

LATEST = 5  # finished trials in the live table


class Progress:
    """Follows a sweep on the terminal.

    Parameters
    ----------
    sweep : Sweep
    shared : SharedStudy
    console : rich Console, optional
        Standard error by default.

    Attributes
    ----------
    stopping : bool
        Whether the sweep was asked to stop.
    """

    def __init__(self, sweep: Sweep, shared: SharedStudy, console: Console | None = None) -> None:
        self.stopping = False
        self._sweep, self._shared = sweep, shared
        self._console = console or Console(stderr=True)
        self._objectives = objectives_of(sweep.config)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._begun = time.monotonic()
        self._told: set[int] = set()

    def __enter__(self) -> Self:
        """Begin to show."""
        self._told = {trial.number for trial in self._shared.trials() if trial.state.is_finished()}
        self._before = count(self._shared.trials()).finished
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the last state on the terminal."""
        if self._live is not None:
            self._live.stop()

    def begin(self) -> None:
        """Say what is searched, and how to stop it."""
        aims = [
            f"{'lowest' if direction == 'minimize' else 'highest'} {name}"
            for name, direction in zip(self._objectives, self._sweep.directions, strict=True)
        ]
        wanted, workers = self._sweep.settings.n_trials, self._sweep.workers
        self.say(
            f"Searching for the {' and '.join(aims)}: {wanted} trials, {workers} worker{'s' if workers > 1 else ''}. "
            "Ctrl-C lets the trials under way finish; the sweep can go on later."
        )

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self) -> list[FrozenTrial]:
        """Show how far the study is; return its trials, not to be changed."""
        trials = self._shared.trials()
        if self._live is not None:
            self._live.update(self._table(trials), refresh=True)
            return trials
        best = best_trial(trials, self._sweep.directions)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._told:
                self._told.add(trial.number)
                self.say(self._line(trial, best))
        return trials

    def summary(self, results: SweepResults) -> None:
        """Print what came out, on standard output."""
        counts = count(results.trials)
        console = Console(file=sys.stdout)
        console.print(
            f"{counts.finished} of {self._sweep.settings.n_trials} trials: {self._ended(counts)}",
            highlight=False,
        )
        for reason, numbers in failures(results.trials).items():
            console.print(f"  failed ({numbers}): {reason}", highlight=False, markup=False, soft_wrap=True)
        if results.rows:
            console.print(results.table())
        report = self._sweep.folder / REPORT
        if report.exists():
            console.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)
        if results.folder_of_best is not None:
            console.print(f"best: {results.folder_of_best}", highlight=False, markup=False, soft_wrap=True)

    def _line(self, trial: FrozenTrial, best: FrozenTrial | None) -> str:
        seconds = f"{trial.duration.total_seconds():.1f} s" if trial.duration else ""
        told = f"trial {trial.number} {WORDS[trial.state]} {seconds}"
        if trial.state is TrialState.COMPLETE:
            told += f": {named(self._objectives, trial.values)}"
        if trial.state is TrialState.FAIL:
            told += f": {trial.user_attrs.get('error', 'its worker died; it is repeated')}"
        told += f" | {short(trial)}"
        if best is not None and best.number != trial.number:
            told += f" | best {named(self._objectives[:1], best.values[:1])} (trial {best.number})"
        return told

    def _table(self, trials: Sequence[FrozenTrial]) -> Table:
        counts, wanted = count(trials), self._sweep.settings.n_trials
        table = Table(box=None, pad_edge=False, show_header=False)
        running = f"{counts.running} running, " if counts.running else ""
        table.add_row("trials", f"{counts.finished} of {wanted}, {running}{self._time_left(counts.finished)}")
        table.add_row("", self._ended(counts))
        best = best_trial(trials, self._sweep.directions)
        if best is not None:
            table.add_row("best", f"{named(self._objectives, best.values)}, trial {best.number}: {short(best)}")
        finished = [trial for trial in trials if trial.state.is_finished()]
        latest = sorted(finished, key=lambda trial: trial.datetime_complete or trial.datetime_start, reverse=True)  # type: ignore[arg-type, return-value]
        for trial in latest[:LATEST]:
            told = Text.assemble(self._how_it_ended(trial), "  ", (short(trial), "dim"))
            table.add_row(f"trial {trial.number}", told)
        return table

    def _how_it_ended(self, trial: FrozenTrial) -> str:
        if trial.state is TrialState.COMPLETE:
            return named(self._objectives, trial.values)
        why = trial.user_attrs.get("error", "its worker died") if trial.state is TrialState.FAIL else ""
        return WORDS[trial.state] + (f": {why}" if why else "")

    def _ended(self, counts: Counts) -> str:
        return f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"

    def _time_left(self, finished: int) -> str:
        done, wanted = finished - self._before, self._sweep.settings.n_trials
        if self.stopping:
            return "stopping"
        if done < 1:
            return "time left unknown"
        seconds = (time.monotonic() - self._begun) / done * (wanted - finished)
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
