"""The files that a sweep writes beside its runs: the best parameters, all trials as a table, the report."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial

from mlsys.runs.files import write_atomic
from mlsys.sweep.results import SweepResults
from mlsys.sweep.study import count
from mlsys.sweep.trials import failures

RESULTS, TRIALS, REPORT = "optimization_results.yaml", "trials.parquet", "report.html"


def write_results(results: SweepResults) -> None:
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


def renderer() -> Callable[[SweepResults], str]:
    """Return what writes the report; matplotlib is loaded only here, which takes a second."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells everybody that it made a cache of fonts
    from mlsys.sweep.report.html import render_sweep

    return render_sweep


def summary(results: SweepResults) -> dict[str, Any]:
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
