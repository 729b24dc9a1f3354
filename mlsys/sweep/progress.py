"""The progress of a sweep: a live table on a terminal, otherwise a line per trial."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from optuna.trial import FrozenTrial, TrialState
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlsys.sweep.artifacts import REPORT
from mlsys.sweep.checks import objectives_of
from mlsys.sweep.study import Counts, count_trials
from mlsys.sweep.trials import (
    STATE_LABELS,
    WORKER_DIED,
    best_trial,
    describe_failures,
    format_objectives,
    format_params,
)
from mlsys.terminal import Terminal
from mlsys.text import counted, joined

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults
    from mlsys.sweep.study import SharedStudy
    from mlsys.sweep.worker import Sweep

LATEST = 5  # finished trials in the live table


class Progress:
    """Shows the progress of a sweep on the terminal.

    Parameters
    ----------
    sweep : Sweep
    shared : SharedStudy
    terminal : Terminal, optional
        Standard error by default.

    Attributes
    ----------
    stopping : bool
        Whether the sweep stops after the running trials.
    interrupted : bool
        Whether the sweep stops at once.
    supervising : bool
        Whether the main thread supervises workers, in a loop that checks `interrupted`.
    """

    def __init__(self, sweep: Sweep, shared: SharedStudy, terminal: Terminal | None = None) -> None:
        self.stopping = False
        self.interrupted = False
        self.supervising = False
        self._sweep, self._shared = sweep, shared
        self._terminal = terminal or Terminal(stderr=True)
        self._objectives = objectives_of(sweep.config)
        self._live = Live(console=self._terminal, auto_refresh=False) if self._terminal.is_terminal else None
        self._started = time.monotonic()
        self._printed: set[int] = set()

    def __enter__(self) -> Self:
        """Start to show progress; trials that have already finished are not printed."""
        self._printed = {trial.number for trial in self._shared.trials() if trial.state.is_finished()}
        self._finished_before = count_trials(self._shared.trials()).finished
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop; the last table stays on the terminal."""
        if self._live is not None:
            self._live.stop()

    def announce(self) -> None:
        """Print the objectives, the number of trials and workers, and how to stop the sweep."""
        goals = [
            f"{'lowest' if direction == 'minimize' else 'highest'} {name}"
            for name, direction in zip(self._objectives, self._sweep.directions, strict=True)
        ]
        trials, workers = counted(self._sweep.settings.n_trials, "trial"), counted(self._sweep.workers, "worker")
        self.print_line(
            f"Searching for the {joined(goals)}: {trials}, {workers}. "
            "Press Ctrl-C to stop after the running trials; the sweep can be resumed."
        )

    def print_line(self, text: str) -> None:
        """Print a line of text."""
        self._terminal.print_line(text)

    def update(self) -> list[FrozenTrial]:
        """Show the current state of the study; return its trials, which must not be modified."""
        trials = self._shared.trials()
        if self._live is not None:
            self._live.update(self._table(trials), refresh=True)
            return trials
        best = best_trial(trials, self._sweep.directions)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._printed:
                self._printed.add(trial.number)
                self.print_line(self._line(trial, best))
        return trials

    def print_summary(self, results: SweepResults) -> None:
        """Print counts, failures, the leaderboard and where to find the results, on standard output."""
        counts = count_trials(results.trials)
        terminal = Terminal(file=sys.stdout)
        n_trials = counted(self._sweep.settings.n_trials, "trial")
        terminal.print_line(f"{counts.finished} of {n_trials}: {self._outcomes(counts)}")
        for reason, numbers in describe_failures(results.trials).items():
            terminal.print_line(f"  failed: {reason} ({numbers})")
        if results.ranked:
            terminal.print(results.leaderboard())
        report = self._sweep.folder / REPORT
        if report.exists():
            terminal.print_line(f"report: {report}")
        if results.best_link is not None:
            terminal.print_line(f"best: {results.best_link}")

    def _line(self, trial: FrozenTrial, best: FrozenTrial | None) -> str:
        seconds = f" in {trial.duration.total_seconds():.1f} s" if trial.duration else ""
        line = f"trial {trial.number} {STATE_LABELS[trial.state]}{seconds}"
        if trial.state is TrialState.COMPLETE:
            line += f": {format_objectives(self._objectives, trial.values)}"
        if trial.state is TrialState.FAIL:
            line += f": {trial.user_attrs.get('error', f'{WORKER_DIED}; retrying')}"
        line += f" | {format_params(trial)}"
        if best is not None and best.number != trial.number:
            line += f" | best {format_objectives(self._objectives[:1], best.values[:1])} (trial {best.number})"
        return line

    def _table(self, trials: Sequence[FrozenTrial]) -> Table:
        counts, n_trials = count_trials(trials), self._sweep.settings.n_trials
        table = Table(box=None, pad_edge=False, show_header=False)
        running = f"{counts.running} running, " if counts.running else ""
        table.add_row("trials", f"{counts.finished} of {n_trials}, {running}{self._time_left(counts.finished)}")
        table.add_row("", self._outcomes(counts))
        best = best_trial(trials, self._sweep.directions)
        if best is not None:
            objectives = format_objectives(self._objectives, best.values)
            table.add_row("best", f"{objectives}, trial {best.number}: {format_params(best)}")
        finished = [trial for trial in trials if trial.state.is_finished()]
        latest = sorted(finished, key=lambda trial: trial.datetime_complete or trial.datetime_start, reverse=True)  # type: ignore[arg-type, return-value]
        for trial in latest[:LATEST]:
            text = Text.assemble(self._outcome(trial), "  ", (format_params(trial), "dim"))
            table.add_row(f"trial {trial.number}", text)
        return table

    def _outcome(self, trial: FrozenTrial) -> str:
        if trial.state is TrialState.COMPLETE:
            return format_objectives(self._objectives, trial.values)
        reason = f": {trial.user_attrs.get('error', WORKER_DIED)}" if trial.state is TrialState.FAIL else ""
        return STATE_LABELS[trial.state] + reason

    def _outcomes(self, counts: Counts) -> str:
        return f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"

    def _time_left(self, finished: int) -> str:
        newly_finished, n_trials = finished - self._finished_before, self._sweep.settings.n_trials
        if self.stopping:
            return "stopping"
        if newly_finished < 1:
            return "time left unknown"
        seconds = (time.monotonic() - self._started) / newly_finished * (n_trials - finished)
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
