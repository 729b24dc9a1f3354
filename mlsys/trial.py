"""A single trial of a sweep: evaluated on the search folds, with a small run directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlsys.errors import PrunedError

if TYPE_CHECKING:
    from mlsys.evaluation.backtest import FoldResult, Objective
    from mlsys.prepare import Prepared
    from mlsys.sweep import CurrentTrial

ITERATIONS_BETWEEN_REPORTS = 10  # each report is written to the study's storage
STEPS_PER_FOLD = 100_000  # more than the iterations of any model


def run_trial(
    prepared: Prepared, folder: Path, overrides: list[dict[str, str]], trial: CurrentTrial | None
) -> Objective:
    """Evaluate a configuration on the search folds.

    Parameters
    ----------
    prepared : Prepared
        Checked config, components and opened data.
    folder : Path
        The run directory; it gets metrics and predictions, but no model and no report.
    overrides : list of dict
        The overrides and where they came from, to be recorded.
    trial : CurrentTrial or None
        The trial to report to; None if it is run again outside its sweep.

    Returns
    -------
    float, tuple or None
        The objective, or a tuple of them if there are several; None where it is undefined.

    Raises
    ------
    PrunedError
        If the trial is pruned; the run directory records it.
    MlsysError
        If the run fails; the run directory records it.
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
    from mlsys.recording import recorded
    from mlsys.stages import Stopwatch

    clock, config, parts = Stopwatch(), prepared.config, prepared.parts
    search, top_k = config.search, config.metrics.top_k
    assert search is not None
    results: list[FoldResult] = []

    def on_fold(result: FoldResult) -> None:
        results.append(result)
        if trial is not None and search.report_per == "fold":
            trial.report(mean_objectives([result], config.objectives, top_k)[0], result.fold.number)

    with recorded(folder, config, overrides, clock, parts.tracker) as record:
        with clock("panel"):
            loaded = record.read(prepared.data)
            spec = parts.pipeline_spec(loaded.panel)
            split_folds = partial(
                search_and_holdout_folds,
                parts.split,
                loaded.panel.frame,
                searched=search.folds,
                held_out=search.holdout_folds,
            )
            key = f"folds of {loaded.fingerprint}: {config.split} {search}"
            folds, _ = split_folds() if trial is None else trial.cached(key, split_folds)
        make_callback = (
            partial(IterationReports, trial, config.objectives[0])
            if trial and search.report_per == "iteration"
            else None
        )
        plan = BacktestPlan.of(config, spec, loaded, make_callback)
        try:
            with clock("fit"):
                run_search_folds(plan, loaded.panel, folds, on_fold)
        except PrunedError as pruned:
            record.writer.write_text("card.md", trial_card(config.to_dict(), config.objectives, results, top_k, pruned))
            raise
        finally:
            if trial is not None:
                trial.set_user_attr("fit_seconds", clock.seconds["fit"])
        record.predict_ms = scoring_ms(results)
        predictions = out_of_fold(results)
        write_scores(
            record.writer, evaluate(predictions, top_k=top_k, bootstrap_resamples=0, seed=config.seed), predictions
        )
        record.writer.write_text("card.md", trial_card(config.to_dict(), config.objectives, results, top_k))
    return objective_values(results, config.objectives, top_k)


class IterationReports:
    """Reports one fold's metric as its boosted model trains; implements `mlsys.pipeline.stopping.IterationCallback`.

    Parameters
    ----------
    trial : CurrentTrial
    metric : str
        Name of the metric to report.
    fold : int
        Number of the fold; its steps start at ``fold * STEPS_PER_FOLD``.
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
                self._pruned = pruned  # an error raised inside a library's callback may be swallowed
        return self._pruned is not None

    def raise_if_stopped(self) -> None:
        """Raise PrunedError if the trial was pruned."""
        if self._pruned is not None:
            raise self._pruned
