"""One trial of a sweep: the folds that the search may see, and a small run directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlsys.errors import PrunedError

if TYPE_CHECKING:
    from mlsys.evaluation.backtest import FoldResult, Objective
    from mlsys.prepare import Prepared
    from mlsys.sweep import CurrentTrial

ITERATIONS_BETWEEN_REPORTS = 10  # each is written to the study's storage
STEPS_PER_FOLD = 100_000


def run_trial(
    prepared: Prepared, folder: Path, overrides: list[dict[str, str]], trial: CurrentTrial | None
) -> Objective:
    """Judge a configuration on the folds of the search.

    Parameters
    ----------
    prepared : Prepared
        Checked config, components and opened data.
    folder : Path
        The run directory: numbers and predictions, no model, no report.
    overrides : list of dict
        What was overridden and from where, for the record.
    trial : CurrentTrial or None
        Whom to report to; None where a trial is run again outside of its sweep.

    Returns
    -------
    float, tuple or None
        The objective, or each of several; None where it is undefined.

    Raises
    ------
    PrunedError
        Where the sweep gives the trial up; the run directory then says so.
    MlsysError
        With what was wrong; the run directory then says that the run failed.
    """
    from mlsys.evaluation.backtest import (
        BacktestPlan,
        mean_objectives,
        objective_values,
        out_of_fold,
        run_search_folds,
        scoring_ms,
    )
    from mlsys.evaluation.metrics import evaluate
    from mlsys.evaluation.report.trial_card import trial_card
    from mlsys.evaluation.scores import write_scores
    from mlsys.evaluation.splits import search_and_holdout_folds
    from mlsys.recording import Stopwatch, recorded

    clock, config, parts = Stopwatch(), prepared.config, prepared.parts
    search, top_k = config.search, config.metrics.top_k
    assert search is not None
    results: list[FoldResult] = []

    def take(result: FoldResult) -> None:
        results.append(result)
        if trial is not None and search.report_per == "fold":
            trial.report(mean_objectives([result], config.objectives, top_k)[0], result.fold.number)

    with recorded(folder, config, overrides, clock, parts.tracker) as record:
        with clock("panel"):
            loaded = prepared.data.load()
            part = partial(
                search_and_holdout_folds,
                parts.split,
                loaded.panel.frame,
                searched=search.folds,
                held_out=search.holdout_folds,
            )
            key = f"folds of {loaded.fingerprint}: {config.split} {search}"
            folds, _ = part() if trial is None else trial.keep(key, part)
        record.fingerprint = loaded.fingerprint
        make_callback = (
            partial(IterationReports, trial, config.objectives[0])
            if trial and search.report_per == "iteration"
            else None
        )
        plan = BacktestPlan(
            parts.pipeline_spec(loaded.panel), loaded.horizon_days, config.seed, config.thread_count, make_callback
        )
        try:
            with clock("fit"):
                run_search_folds(plan, loaded.panel, folds, take)
        except PrunedError as pruned:
            record.writer.write_text("card.md", trial_card(config.to_dict(), config.objectives, results, top_k, pruned))
            raise
        finally:
            if trial is not None:
                trial.note("fit_seconds", clock.seconds["fit"])
        record.predict_ms = scoring_ms(results)
        predictions = out_of_fold(results)
        write_scores(
            record.writer, evaluate(predictions, top_k=top_k, bootstrap_resamples=0, seed=config.seed), predictions
        )
        record.writer.write_text("card.md", trial_card(config.to_dict(), config.objectives, results, top_k))
    return objective_values(results, config.objectives, top_k)


class IterationReports:
    """Reports how a boosted model of one fold does while it grows; see `mlsys.pipeline.stopping.IterationCallback`.

    Parameters
    ----------
    trial : CurrentTrial
    metric : str
    fold : int
        Its trees are the steps from ``fold * STEPS_PER_FOLD`` on.
    """

    def __init__(self, trial: CurrentTrial, metric: str, fold: int) -> None:
        self.metric = metric
        self._trial, self._fold = trial, fold
        self._pruned: PrunedError | None = None

    def __call__(self, iteration: int, value: float) -> bool:
        """Report every tenth iteration; return whether the trial was pruned."""
        if iteration % ITERATIONS_BETWEEN_REPORTS == 0:
            try:
                self._trial.report(value, self._fold * STEPS_PER_FOLD + iteration)
            except PrunedError as pruned:
                self._pruned = pruned  # raised from inside a library it would not arrive
        return self._pruned is not None

    def raise_if_stopped(self) -> None:
        """Raise what made it stop, if anything did."""
        if self._pruned is not None:
            raise self._pruned
