"""The files of a sweep: the best parameters, a table of all trials, and the report."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial

from mlsys.runs.files import write_atomic
from mlsys.sweep.results import SweepResults
from mlsys.sweep.study import count_trials
from mlsys.sweep.trials import describe_failures

RESULTS, TRIALS, REPORT = "optimization_results.yaml", "trials.parquet", "report.html"


def write_results(results: SweepResults) -> None:
    """Write all files of a sweep, replacing those of an earlier start."""
    folder = results.sweep.folder
    write_atomic(folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(optimization_results(results))).encode())
    frame = results.to_frame()
    # A parameter may be a number in one trial and a string in another.
    objects = [name for name in frame if frame[name].dtype == object]
    buffer = io.BytesIO()
    frame.astype(dict.fromkeys(objects, "string")).to_parquet(buffer, index=False)
    write_atomic(folder / TRIALS, buffer.getvalue())
    # The report comes last because it takes longest: if it is interrupted, the other files exist.
    write_atomic(folder / REPORT, load_renderer()(results).encode())


def load_renderer() -> Callable[[SweepResults], str]:
    """Return the function that renders the report; only this imports matplotlib, which takes a second."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it logs that it builds its font cache
    from mlsys.sweep.report.html import render_sweep

    return render_sweep


def optimization_results(results: SweepResults) -> dict[str, Any]:
    """Return the content of optimization_results.yaml: hydra-optuna-sweeper's keys, and more."""
    counts = count_trials(results.trials)
    content: dict[str, Any] = {"name": "optuna"}
    if len(results.objectives) == 1 and results.best is not None:
        content |= {"best_params": params_by_key(results.best), "best_value": results.best.value}
    elif results.best is not None:
        content["solutions"] = [
            {"params": params_by_key(trial), "values": list(trial.values), "trial": trial.number}
            for trial in results.analysis.complete
            if trial.number in results.analysis.pareto_front
        ]
    if results.best is not None:
        content |= {"best_trial": results.best.number, "best_overrides": results.overrides(results.best)}
    return content | {
        "study_name": results.study.study_name,
        "objectives": results.objectives,
        "directions": list(results.sweep.directions),
        "trials": {"complete": counts.complete, "pruned": counts.pruned, "failed": counts.failed},
        "failures": describe_failures(results.trials),
    }


def params_by_key(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters by config key, as hydra-optuna-sweeper writes them."""
    return {name.partition("@")[0]: value for name, value in trial.params.items()}
