"""The leaderboard of a sweep: complete trials, best first, then pruned ones, with links to their runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from optuna.trial import TrialState

from mlsys.sweep.analysis import format_value, parameter_labels
from mlsys.sweep.report.durations import duration_text, trial_seconds
from mlsys.sweep.trials import STATE_LABELS, format_params

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults

MAX_COLUMNS = 14  # parameter columns; if there are more parameters, one column holds them all


@dataclass(frozen=True)
class LeaderboardCell:
    """A cell of the leaderboard: its text and its sort key (empty keys are always last)."""

    text: str
    key: str = ""


@dataclass(frozen=True)
class Link:
    """A trial with links to its run directory, card and log, relative to the report; None where there is none."""

    number: int
    folder: str | None
    card: str | None
    log: str | None


@dataclass(frozen=True)
class LeaderboardRow:
    """A row of the leaderboard."""

    link: Link
    state: str
    is_winner: bool
    cells: list[LeaderboardCell]


def link_to(results: SweepResults, number: int) -> Link:
    """Return the relative links of a trial: to the folder of its number, or to the run directory that it recorded."""
    folder = results.sweep.folder
    run = folder / str(number)
    if not run.is_dir():
        run = results.run_folder(results.trials[number])
    if not run.is_dir():  # on another machine
        return Link(number, None, None, None)
    logs = sorted(run.glob("*.log"))
    return Link(
        number,
        _href(folder, run) + "/",
        _href(folder, run / "card.md") if (run / "card.md").exists() else None,
        _href(folder, logs[0]) if logs else None,
    )


def _href(folder: Path, target: Path) -> str:
    return quote(os.path.relpath(target, folder))


def leaderboard(results: SweepResults, winner: int | None) -> tuple[list[tuple[str, bool]], list[LeaderboardRow]]:
    """Return the columns (name, whether numeric) and the rows: complete trials, best first, then pruned ones.

    Parameters
    ----------
    results : SweepResults
    winner : int or None
        Number of the trial that was refitted.
    """
    analysis = results.analysis
    keys = list(dict.fromkeys(parameter.name.partition("@")[0] for parameter in analysis.parameters))
    if len(keys) > MAX_COLUMNS:
        keys = []
    names = parameter_labels(keys)
    is_number = {
        key: all(not each.choices for each in analysis.parameters if each.name.partition("@")[0] == key) for key in keys
    }
    columns = [(name, True) for name in analysis.objectives] + [(names[key], is_number[key]) for key in keys]
    rows = []
    for trial in (*results.ranked, *analysis.pruned):
        values = trial.values if trial.state is TrialState.COMPLETE else [None] * len(analysis.objectives)
        cells = [
            LeaderboardCell("–" if value is None else f"{value:.5g}", "" if value is None else repr(value))
            for value in values
        ]
        params = {name.partition("@")[0]: value for name, value in trial.params.items()}
        cells += (
            [_cell(params, key) for key in keys]
            if keys
            else [LeaderboardCell(format_params(trial), format_params(trial))]
        )
        cells.append(LeaderboardCell(duration_text(trial_seconds(trial)), f"{trial_seconds(trial):.3f}"))
        is_winner = winner == trial.number
        state = (
            "Pareto-optimal"
            if len(analysis.objectives) > 1 and trial.number in analysis.pareto_front
            else STATE_LABELS[trial.state]
        )
        rows.append(LeaderboardRow(link_to(results, trial.number), state, is_winner, cells))
    return [*columns, *([] if keys else [("parameters", False)]), ("time", True)], rows


def _cell(params: dict[str, Any], key: str) -> LeaderboardCell:
    if key not in params:
        return LeaderboardCell("")
    value = params[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return LeaderboardCell(format_value(value), repr(value) if is_number else format_value(value))
