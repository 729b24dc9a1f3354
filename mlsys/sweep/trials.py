"""Helpers for trials: the best one, reasons for failures, and values and parameters as text."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from mlsys.sweep.analysis import format_value
from mlsys.sweep.study import retried_numbers
from mlsys.text import counted

STATE_LABELS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
WORKER_DIED = "its worker died"
MAX_NUMBERS = 8  # trial numbers listed for one reason


def best_trial(trials: Sequence[FrozenTrial], directions: Sequence[str]) -> FrozenTrial | None:
    """Return the complete trial that is best by the first objective; on a tie, the earliest."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    sign = 1 if directions[0] == "minimize" else -1
    return min(complete, key=lambda trial: (sign * trial.values[0], trial.number), default=None)


def failed_trials(trials: Sequence[FrozenTrial]) -> dict[str, list[int]]:
    """Return the numbers of the failed trials by reason, without those that were retried."""
    retried = retried_numbers(trials)
    numbers: dict[str, list[int]] = {}
    for trial in trials:
        if trial.state is TrialState.FAIL and trial.number not in retried:
            numbers.setdefault(trial.user_attrs.get("error", WORKER_DIED), []).append(trial.number)
    return numbers


def describe_failures(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """Return the count and the numbers of the failed trials by reason, as text such as ``2 trials: 3, 5``."""
    return {
        reason: f"{counted(len(numbers), 'trial')}: {', '.join(map(str, numbers[:MAX_NUMBERS]))}"
        + (", …" if len(numbers) > MAX_NUMBERS else "")
        for reason, numbers in failed_trials(trials).items()
    }


def format_objectives(objectives: Sequence[str], values: Sequence[float]) -> str:
    """Return objective values with their names.

    Examples
    --------
    >>> format_objectives(["log_loss"], [0.0123456])
    'log_loss 0.012346'
    """
    return ", ".join(f"{name} {value:.5g}" for name, value in zip(objectives, values, strict=True))


def format_params(trial: FrozenTrial) -> str:
    """Return a trial's parameters as short text, such as ``max_depth=3 learning_rate=0.05``."""
    return " ".join(
        f"{name.partition('@')[0].rpartition('.')[2]}={format_value(value)}" for name, value in trial.params.items()
    )
