"""The results of a sweep: its trials, the best one, the leaderboard, and the link to the best run."""

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
from mlsys.sweep.study import retried_numbers
from mlsys.sweep.trials import best_trial, format_params
from mlsys.sweep.worker import Sweep

if TYPE_CHECKING:
    import pandas as pd

BEST = "best"
LEADERBOARD_ROWS = 10  # on the terminal


@dataclass(frozen=True)
class SweepResults:
    """The trials of a sweep and what can be derived from them.

    Attributes
    ----------
    sweep : Sweep
    trials : list of FrozenTrial
        All trials of the study, including retried ones.
    study : optuna Study
    """

    sweep: Sweep
    trials: list[FrozenTrial]
    study: optuna.Study

    @cached_property
    def objectives(self) -> list[str]:
        """Names of the objectives."""
        return objectives_of(self.sweep.config)

    @cached_property
    def best(self) -> FrozenTrial | None:
        """The best trial by the first objective; None if no trial is complete."""
        return best_trial(self.trials, self.sweep.directions)

    @cached_property
    def analysis(self) -> SweepAnalysis:
        """The analysis of the finished trials, without those that were retried."""
        retried = retried_numbers(self.trials)
        finished = [trial for trial in self.trials if trial.state.is_finished() and trial.number not in retried]
        return SweepAnalysis(finished, self.objectives, self.sweep.directions)

    @cached_property
    def ranked(self) -> list[FrozenTrial]:
        """Complete trials, best first."""
        return [self.analysis.complete[index] for index in self.analysis.ranking]

    @property
    def best_link(self) -> Path | None:
        """The link to the winner's run directory; None if it does not exist."""
        link = self.sweep.folder / BEST
        return link if link.exists() else None

    def leaderboard(self) -> Table:
        """Return the leaderboard for the terminal."""
        table = Table(title="Leaderboard", title_justify="left", box=None, pad_edge=False)
        for name in ("trial", *self.objectives, "parameters"):
            table.add_column(name, justify="left" if name == "parameters" else "right", overflow="fold")
        for trial in self.ranked[:LEADERBOARD_ROWS]:
            table.add_row(str(trial.number), *(f"{value:.5g}" for value in trial.values), format_params(trial))
        return table

    def overrides(self, trial: FrozenTrial) -> list[str]:
        """Return the overrides of a trial's job."""
        return list(trial.user_attrs.get("job", {}).get("overrides", []))

    def run_folder(self, trial: FrozenTrial) -> Path:
        """Return a trial's run directory."""
        return Path(trial.user_attrs.get("job", {}).get("run", self.sweep.folder / str(trial.number)))

    def to_frame(self) -> pd.DataFrame:
        """Return all trials as a table: number, state, values, parameters, times, run directory, error."""
        import pandas as pd

        retried = retried_numbers(self.trials)
        rows = []
        for trial in self.trials:
            job = trial.user_attrs.get("job", {})
            values = dict(zip(self.objectives, trial.values or [None] * len(self.objectives), strict=True))
            rows.append(
                {"number": trial.number, "state": trial.state.name, "retried": trial.number in retried}
                | {name: values[name] for name in self.objectives}
                | {f"params_{name}": value for name, value in trial.params.items()}
                | {
                    "started": trial.datetime_start,
                    "finished": trial.datetime_complete,
                    "seconds": trial.duration.total_seconds() if trial.duration else None,
                    "fit_seconds": job.get("fit_seconds"),
                    "steps": len(trial.intermediate_values),
                    "run": str(self.run_folder(trial)),
                    "overrides": " ".join(job.get("overrides", [])),
                    "error": trial.user_attrs.get("error"),
                }
            )
        return pd.DataFrame(rows)


def link_best(folder: Path, target: Path) -> None:
    """Point the sweep's ``best`` link at a run directory, atomically."""
    new = folder / f".{BEST}-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(os.path.relpath(target, folder))
    new.replace(folder / BEST)
