"""What came out of a sweep: its trials, the best of them, the leaderboard, the link to the best run."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial
from rich.table import Table

from mlsys.sweep.analysis import SweepAnalysis
from mlsys.sweep.checks import objectives_of
from mlsys.sweep.study import repeated_numbers
from mlsys.sweep.trials import best_trial, short
from mlsys.sweep.worker import Sweep

if TYPE_CHECKING:
    import pandas as pd

BEST = "best"
TOP = 10  # rows of the leaderboard on the terminal


@dataclass(frozen=True)
class SweepResults:
    """A sweep's trials, and what they say.

    Attributes
    ----------
    sweep : Sweep
    trials : list of FrozenTrial
    study : optuna Study
    """

    sweep: Sweep
    trials: list[FrozenTrial]
    study: optuna.Study

    @cached_property
    def objectives(self) -> list[str]:
        """The names of the objectives."""
        return objectives_of(self.sweep.config)

    @cached_property
    def best(self) -> FrozenTrial | None:
        """The trial that is best by the first objective."""
        return best_trial(self.trials, self.sweep.directions)

    @cached_property
    def findings(self) -> SweepAnalysis:
        """What the trials that count say: finished ones, each once."""
        repeated = repeated_numbers(self.trials)
        counted = [trial for trial in self.trials if trial.state.is_finished() and trial.number not in repeated]
        return SweepAnalysis(counted, self.objectives, self.sweep.directions)

    @cached_property
    def rows(self) -> list[FrozenTrial]:
        """Complete trials, the best first."""
        return [self.findings.complete[place] for place in self.findings.order]

    @property
    def folder_of_best(self) -> Path | None:
        """The link to the winner's run directory, if it was made."""
        link = self.sweep.folder / BEST
        return link if link.exists() else None

    def table(self) -> Table:
        """Return the leaderboard."""
        table = Table(title="Leaderboard", title_justify="left", box=None, pad_edge=False)
        for name in ("trial", *self.objectives, "parameters"):
            table.add_column(name, justify="left" if name == "parameters" else "right", overflow="fold")
        for trial in self.rows[:TOP]:
            table.add_row(str(trial.number), *(f"{value:.5g}" for value in trial.values), short(trial))
        return table

    def overrides(self, trial: FrozenTrial) -> list[str]:
        """Return the overrides of a trial's job."""
        return list(trial.user_attrs.get("job", {}).get("overrides", []))

    def run(self, trial: FrozenTrial) -> Path:
        """Return a trial's run directory."""
        return Path(trial.user_attrs.get("job", {}).get("run", self.sweep.folder / str(trial.number)))

    def frame(self) -> pd.DataFrame:
        """Return all trials as a table: number, state, values, parameters, times, run directory, errors."""
        import pandas as pd

        repeated = repeated_numbers(self.trials)
        rows = []
        for trial in self.trials:
            job = trial.user_attrs.get("job", {})
            values = dict(zip(self.objectives, trial.values or [None] * len(self.objectives), strict=True))
            rows.append(
                {"number": trial.number, "state": trial.state.name, "repeated": trial.number in repeated}
                | {name: values[name] for name in self.objectives}
                | {f"params_{name}": value for name, value in trial.params.items()}
                | {
                    "started": trial.datetime_start,
                    "finished": trial.datetime_complete,
                    "seconds": trial.duration.total_seconds() if trial.duration else None,
                    "fit_seconds": job.get("fit_seconds"),
                    "reports": len(trial.intermediate_values),
                    "run": str(self.run(trial)),
                    "overrides": " ".join(job.get("overrides", [])),
                    "error": trial.user_attrs.get("error"),
                }
            )
        return pd.DataFrame(rows)


def link(folder: Path, target: Path) -> None:
    """Point the sweep's ``best`` at a run directory, in one step."""
    new = folder / f".{BEST}-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(os.path.relpath(target, folder))
    new.replace(folder / BEST)
