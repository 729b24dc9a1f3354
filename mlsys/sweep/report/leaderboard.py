"""The leaderboard of a sweep: complete trials, the best first, then pruned ones, each with links to its run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from optuna.trial import TrialState

from mlsys.sweep.analysis import labels, plain
from mlsys.sweep.report.durations import duration_text, trial_seconds
from mlsys.sweep.trials import WORDS, short

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults

MOST_COLUMNS = 14  # of parameters; more are put in one cell


@dataclass(frozen=True)
class Cell:
    """A cell of the leaderboard: what it shows, and what it is sorted by (empty is always last)."""

    text: str
    key: str = ""


@dataclass(frozen=True)
class Link:
    """A trial with where its run directory, and what is in it, lie from the report; None where they are not."""

    number: int
    folder: str | None
    card: str | None
    log: str | None


@dataclass(frozen=True)
class Row:
    """A row of the leaderboard."""

    link: Link
    state: str
    is_winner: bool
    cells: list[Cell]


def link_to(results: SweepResults, number: int) -> Link:
    """Return the relative links of a trial: this machine's folder of that number, or wherever its run is."""
    folder = results.sweep.folder
    place = folder / str(number)
    if not place.is_dir():
        place = results.run(results.trials[number])
    if not place.is_dir():  # on another machine
        return Link(number, None, None, None)
    logs = sorted(place.glob("*.log"))
    return Link(
        number,
        _href(folder, place) + "/",
        _href(folder, place / "card.md") if (place / "card.md").exists() else None,
        _href(folder, logs[0]) if logs else None,
    )


def _href(folder: Path, target: Path) -> str:
    return quote(os.path.relpath(target, folder))


def leaderboard(results: SweepResults, winner: int | None) -> tuple[list[tuple[str, bool]], list[Row]]:
    """Return the columns (name, is number) and the rows: complete trials, the best first, then pruned ones.

    Parameters
    ----------
    results : SweepResults
    winner : int or None
        Number of the trial that was refitted.
    """
    found = results.findings
    keys = list(dict.fromkeys(parameter.name.partition("@")[0] for parameter in found.parameters))
    if len(keys) > MOST_COLUMNS:
        keys = []
    names = labels(keys)
    is_number = {
        key: all(not each.choices for each in found.parameters if each.name.partition("@")[0] == key) for key in keys
    }
    columns = [(name, True) for name in found.objectives] + [(names[key], is_number[key]) for key in keys]
    ranked = [found.complete[place] for place in found.order]
    rows = []
    for trial in (*ranked, *found.pruned):
        values = trial.values if trial.state is TrialState.COMPLETE else [None] * len(found.objectives)
        cells = [
            Cell("–" if value is None else f"{value:.5g}", "" if value is None else repr(value)) for value in values
        ]
        params = {name.partition("@")[0]: value for name, value in trial.params.items()}
        cells += [_cell(params, key) for key in keys] if keys else [Cell(short(trial), short(trial))]
        cells.append(Cell(duration_text(trial_seconds(trial)), f"{trial_seconds(trial):.3f}"))
        is_winner = winner == trial.number
        state = "on the front" if len(found.objectives) > 1 and trial.number in found.front else WORDS[trial.state]
        rows.append(Row(link_to(results, trial.number), state, is_winner, cells))
    return [*columns, *([] if keys else [("parameters", False)]), ("time", True)], rows


def _cell(params: dict[str, Any], key: str) -> Cell:
    if key not in params:
        return Cell("")
    value = params[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(plain(value), repr(value) if is_number else plain(value))
