"""The training entrypoint: raw tables to a run directory.

Examples
--------
python -m mlsys.train data=hubspot data.dir=PATH model=auto fit.minutes=10
python -m mlsys.train -m model=catboost,xgboost sampler=none,smotenc

Libraries are imported where they are first needed, so that ``--help`` and config errors appear immediately.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra

from mlsys.errors import AuditFailedError, MlsysError
from mlsys.launch import EXECUTION_WHITELIST, conf_folder, environment_overrides, quick_exit, run_job

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mlsys.evaluation.backtest import Objective
    from mlsys.prepare import Prepared


def train(prepared: Prepared, folder: Path, overrides: list[dict[str, str]]) -> Objective:
    """Train one model and write its run directory.

    Parameters
    ----------
    prepared : Prepared
        The checked config, its components and the opened data.
    folder : Path
        The run directory.
    overrides : list of dict
        Each override and where it came from, to be recorded.

    Returns
    -------
    float, tuple or None
        The mean of the objective over the folds, or of each objective; None if undefined.

    Raises
    ------
    MlsysError
        If the run fails; the manifest then says ``failed``.
    """
    from mlsys.evaluation.audit import AuditSubject, run_audit
    from mlsys.evaluation.backtest import BacktestPlan, objective_values, refit_folds, run_folds, scoring_ms
    from mlsys.evaluation.report.terminal import show
    from mlsys.evaluation.results import RunResults, write_results
    from mlsys.evaluation.run_metrics import run_metrics
    from mlsys.evaluation.splits import reported_folds
    from mlsys.pipeline.threshold import operating_threshold
    from mlsys.recording import recorded
    from mlsys.selection.select import select
    from mlsys.stages import Stopwatch
    from mlsys.terminal import Terminal

    clock, data = Stopwatch(), prepared.data
    with recorded(folder, prepared.config, overrides, clock, prepared.parts.tracker) as record:
        with clock("panel"):
            loaded = record.read(data)
        prepared, selection = select(prepared, loaded, record.writer, clock)  # unchanged, except with model=auto
        config, parts = prepared.config, prepared.parts
        with clock("fit"):
            folds = reported_folds(parts.split, loaded.panel.frame, config.search_folds, config.selection_folds)
            spec = parts.pipeline_spec(loaded.panel)
            plan = BacktestPlan.of(config, spec, loaded)
            result = run_folds(plan, loaded.panel, folds)
        with clock("measure"):
            predictions = result.predictions
            metrics = run_metrics(plan, loaded.panel, result, config.metrics)
            threshold = operating_threshold(predictions, **config.threshold.arguments())
        with clock("audit"):
            subject = AuditSubject(
                panel=loaded.panel,
                folds=folds,
                predictions=predictions,
                horizon_days=loaded.horizon_days,
                rebuild=data.rebuild(loaded),
                refit=lambda panel, folds: refit_folds(plan, panel, folds)["score"].to_numpy(),
                forbidden=data.forbidden(),
                seed=config.seed,
                uses_partial=spec.uses_partial_rows,
            )
            audit = run_audit(subject, config.audit)
        with clock("report"):
            results = RunResults(config.to_dict(), loaded, result, metrics, threshold, audit, selection)
            summary = write_results(record.writer, results, seconds=clock.seconds["fit"])
        record.predict_ms = scoring_ms(result.folds)
    show(Terminal(), summary, audit, threshold.to_dict(), folder)
    if config.audit.strict and audit["status"] == "fail":
        raise AuditFailedError(f"The audit failed and audit.strict=true. See {folder / 'audit.json'}.")
    return objective_values(result.folds, config.objectives, config.metrics.top_k)


@hydra.main(config_path=str(conf_folder()), config_name="train", execution_whitelist=EXECUTION_WHITELIST)
def job(composed: DictConfig) -> Objective:
    """Run one Hydra job: check the composed config, then train or run a trial."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from mlsys.compose import report_error
    from mlsys.config import add_choices, check_search
    from mlsys.prepare import prepare
    from mlsys.recording import discard_log, override_sources
    from mlsys.runs.writer import check_free
    from mlsys.sweep import current_trial
    from mlsys.trial import run_trial

    hydra_config = HydraConfig.get()
    overrides = override_sources(hydra_config.overrides.task, sys.argv)
    folder = Path(hydra_config.runtime.output_dir)
    trial = current_trial()
    try:
        check_free(folder)
        check_search(composed, is_sweep=hydra_config.mode is RunMode.MULTIRUN)
        add_choices(composed, hydra_config.runtime.choices)
        prepared = prepare(composed, None if trial is None else trial.cached)
        if prepared.config.is_trial:
            return run_trial(prepared, folder, overrides, trial)
        return train(prepared, folder, overrides)
    except MlsysError as error:
        if trial is None:
            discard_log(folder)  # nothing was run, so leave no empty run directory
        if hydra_config.mode is RunMode.MULTIRUN:
            raise  # the sweeper handles failed jobs
        sys.exit(report_error(error, ()))


def report(error: Exception) -> int:
    """Report an error on standard error; return the exit code."""
    from mlsys.compose import report_error, to_user_error

    return report_error(to_user_error(error), sys.argv[1:])


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 failure, 2 wrong usage."""
    sys.argv[1:1] = list(environment_overrides(sys.argv[1:]))
    run_job(job, report)


if __name__ == "__main__":
    with quick_exit():
        main()
