"""The verdict of a sweep, in sentences: how far it got, what is best, and what pruning saved."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlsys.evaluation.formats import count
from mlsys.evaluation.metric_table import find_metric
from mlsys.sweep.analysis import SweepAnalysis
from mlsys.sweep.checks import UNNAMED
from mlsys.sweep.report.durations import duration_text, elapsed_seconds, trial_seconds
from mlsys.sweep.trials import short
from mlsys.text import counted

if TYPE_CHECKING:
    from mlsys.sweep.results import SweepResults


def verdict(results: SweepResults) -> Iterator[str]:
    """Yield the sentences."""
    found, wanted = results.findings, results.sweep.settings.n_trials
    finished, of = count(len(found.trials)), count(wanted)
    done = f"{len(found.complete)} complete, {len(found.pruned)} pruned, {len(found.failed)} failed"
    if len(found.trials) < wanted:
        yield f"Not done: {finished} of {of} trials are finished ({done}). The end says how to go on."
    else:
        yield f"{finished} of {of} trials are finished: {done}."
    best = results.best
    if best is None:
        yield "No trial is complete, so there is no best one."
    elif len(found.objectives) > 1:
        first = objective_text(found.objectives[0])
        yield (
            f"{counted(len(found.front), 'trial')} on the Pareto front: no other trial beats one of these in every "
            f"objective. Which of them is best is yours to choose; “best” is the first by {first}, trial {best.number}."
        )
    else:
        yield f"The best is trial {best.number}: {short(best)}."
        yield from _runners_up(found)
    yield from _saved(found)
    seconds = elapsed_seconds(found.trials)
    if seconds:
        yield f"From the first trial's start to the last one's end it took {duration_text(seconds)}."


def _runners_up(found: SweepAnalysis) -> Iterator[str]:
    if len(found.order) < 2:
        return
    values = [float(found.values[place, 0]) for place in found.order]
    number = min(5, len(values))
    if found.are_equal:
        yield f"All {len(values)} complete trials have the same value: the search changed nothing that counts."
    else:
        yield (
            f"The {number} best lie between {values[0]:.5g} and {values[number - 1]:.5g}, the median of all complete "
            f"ones is {statistics.median(values):.5g}."
        )


def _saved(found: SweepAnalysis) -> Iterator[str]:
    """Say what pruning was worth, from the usual lengths of trials."""
    whole, given_up = ([trial_seconds(trial) for trial in trials] for trials in (found.complete, found.pruned))
    if not whole or not given_up:
        return
    usual = statistics.median(whole)
    saved = sum(max(usual - seconds, 0) for seconds in given_up)
    pruned = duration_text(statistics.median(given_up))
    yield (
        f"A complete trial took {duration_text(usual)}, a pruned one {pruned} (medians): pruning saved about "
        f"{duration_text(saved)} of work."
    )


def objective_text(objective: str) -> str:
    """Return an objective's title as it stands amid other words; a program without one has the objective "value"."""
    return objective if objective == UNNAMED else find_metric(objective).in_a_sentence
