"""What a sweep leaves: the best parameters, all trials as a table, a link to the best run, a report."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial
from rich.table import Table

from mlsys.runs.files import write_atomic
from mlsys.sweep.checks import objectives_of
from mlsys.sweep.findings import Findings
from mlsys.sweep.progress import REPORT, best_trial, failures, short
from mlsys.sweep.study import count, repeated_numbers
from mlsys.sweep.worker import Sweep

if TYPE_CHECKING:
    import pandas as pd

RESULTS, TRIALS, BEST = "optimization_results.yaml", "trials.parquet", "best"
TOP = 10  # rows of the leaderboard on the terminal


@dataclass(frozen=True)
class Results:
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
    def findings(self) -> Findings:
        """What the trials that count say: finished ones, each once."""
        repeated = repeated_numbers(self.trials)
        counted = [trial for trial in self.trials if trial.state.is_finished() and trial.number not in repeated]
        return Findings(counted, self.objectives, self.sweep.directions)

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


def write_results(results: Results) -> None:
    """Write everything that a sweep leaves beside its runs, over what an earlier stop left."""
    folder = results.sweep.folder
    write_atomic(folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(summary(results))).encode())
    frame = results.frame()
    # A parameter may be a number in one trial and a word in another.
    objects = [name for name in frame if frame[name].dtype == object]
    buffer = io.BytesIO()
    frame.astype(dict.fromkeys(objects, "string")).to_parquet(buffer, index=False)
    write_atomic(folder / TRIALS, buffer.getvalue())
    # The last, so that all else is there already where somebody does not wait for it.
    write_atomic(folder / REPORT, renderer()(results).encode())


def renderer() -> Callable[[Results], str]:
    """Return what writes the report; matplotlib is loaded only here, which takes a second."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells everybody that it made a cache of fonts
    from mlsys.sweep.report import render_sweep

    return render_sweep


def summary(results: Results) -> dict[str, Any]:
    """Return the content of optimization_results.yaml: hydra-optuna-sweeper's keys, and more."""
    counts = count(results.trials)
    found: dict[str, Any] = {"name": "optuna"}
    if len(results.objectives) == 1 and results.best is not None:
        found |= {"best_params": plain_params(results.best), "best_value": results.best.value}
    elif results.best is not None:
        found["solutions"] = [
            {"params": plain_params(trial), "values": list(trial.values), "trial": trial.number}
            for trial in results.findings.complete
            if trial.number in results.findings.front
        ]
    if results.best is not None:
        found |= {"best_trial": results.best.number, "best_overrides": results.overrides(results.best)}
    return found | {
        "study_name": results.study.study_name,
        "objectives": results.objectives,
        "directions": list(results.sweep.directions),
        "trials": {"complete": counts.complete, "pruned": counts.pruned, "failed": counts.failed},
        "failures": failures(results.trials),
    }


def plain_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters by config key, as hydra-optuna-sweeper writes them."""
    return {name.partition("@")[0]: value for name, value in trial.params.items()}


def link(folder: Path, target: Path) -> None:
    """Point the sweep's ``best`` at a run directory, in one step."""
    new = folder / f".{BEST}-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(os.path.relpath(target, folder))
    new.replace(folder / BEST)
