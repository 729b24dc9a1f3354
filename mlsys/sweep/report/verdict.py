"""The verdict of a sweep, in sentences: its progress, the best trial, and the time that pruning saved."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlsys.evaluation.formats import count
from mlsys.evaluation.metric_table import find_metric
from mlsys.sweep.analysis import SweepAnalysis
from mlsys.sweep.checks import DEFAULT_OBJECTIVE
from mlsys.sweep.report.durations import duration_text, elapsed_seconds, trial_seconds
from mlsys.sweep.trials import format_params
from mlsys.text import counted, is_or_are

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults


def verdict(results: SweepResults) -> Iterator[str]:
    """Yield the sentences of the verdict."""
    analysis, n_trials = results.analysis, results.sweep.settings.n_trials
    progress = f"{count(len(analysis.trials))} of {counted(n_trials, 'trial')} finished"
    if len(analysis.trials) < n_trials:
        yield f"Incomplete: {progress} ({analysis.outcomes}). The last section shows how to resume."
    else:
        yield f"{progress}: {analysis.outcomes}."
    best = results.best
    if best is None:
        yield "No trial is complete, so there is no best trial."
    elif len(analysis.objectives) > 1:
        first = objective_title(analysis.objectives[0])
        n_front = len(analysis.pareto_front)
        yield (
            f"{counted(n_front, 'trial')} {is_or_are(n_front)} on the Pareto front: no other trial is better in one "
            "objective and at least as good in all others. Choose the trade-off that suits you; the link “best” is for "
            f"the best by {first}, trial {best.number}."
        )
    else:
        yield f"The best trial is number {best.number}: {format_params(best)}."
        yield from _runners_up(analysis)
    yield from _time_saved(analysis)
    seconds = elapsed_seconds(analysis.trials)
    if seconds:
        yield f"The trials took {duration_text(seconds)} from the start of the first to the end of the last."


def _runners_up(analysis: SweepAnalysis) -> Iterator[str]:
    if len(analysis.ranking) < 2:
        return
    values = [float(analysis.values[index, 0]) for index in analysis.ranking]
    n_best = min(5, len(values))
    if analysis.all_equal:
        yield f"All {len(values)} complete trials have the same value: the searched parameters made no difference."
    else:
        yield (
            f"The best {n_best} trials range from {values[0]:.5g} to {values[n_best - 1]:.5g}; the median of all "
            f"complete trials is {statistics.median(values):.5g}."
        )


def _time_saved(analysis: SweepAnalysis) -> Iterator[str]:
    """Estimate the time that pruning saved, from the median durations of complete and pruned trials."""
    complete, pruned = ([trial_seconds(trial) for trial in trials] for trials in (analysis.complete, analysis.pruned))
    if not complete or not pruned:
        return
    typical = statistics.median(complete)
    saved = sum(max(typical - seconds, 0) for seconds in pruned)
    yield (
        f"The median complete trial took {duration_text(typical)}, the median pruned trial "
        f"{duration_text(statistics.median(pruned))}: pruning saved about {duration_text(saved)} of work."
    )


def objective_title(objective: str) -> str:
    """Return an objective's title for use in a sentence; without a configured objective it is "value"."""
    return objective if objective == DEFAULT_OBJECTIVE else find_metric(objective).in_a_sentence
