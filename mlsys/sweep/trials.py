"""Trials in words: the best one, why others failed, values and parameters as a line shows them."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from mlsys.sweep.analysis import plain
from mlsys.sweep.study import repeated_numbers

WORDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def best_trial(trials: Sequence[FrozenTrial], directions: Sequence[str]) -> FrozenTrial | None:
    """Return the complete trial that is best by the first objective; the earliest of equals."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    sign = 1 if directions[0] == "minimize" else -1
    return min(complete, key=lambda trial: (sign * trial.values[0], trial.number), default=None)


def failures(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """Return why trials failed, each reason with the numbers of its trials in words."""
    return {
        reason: f"{len(numbers)}: trials {', '.join(map(str, numbers[:8]))}{' …' if len(numbers) > 8 else ''}"
        for reason, numbers in reasons(trials).items()
    }


def reasons(trials: Sequence[FrozenTrial]) -> dict[str, list[int]]:
    """Return why trials failed, each reason with the numbers of its trials."""
    repeated = repeated_numbers(trials)
    found: dict[str, list[int]] = {}
    for trial in trials:
        if trial.state is TrialState.FAIL and trial.number not in repeated:
            found.setdefault(trial.user_attrs.get("error", "its worker died"), []).append(trial.number)
    return found


def named(objectives: Sequence[str], values: Sequence[float]) -> str:
    """Return values with the names of their objectives.

    Examples
    --------
    >>> named(["log_loss"], [0.0123456])
    'log_loss 0.012346'
    """
    return ", ".join(f"{name} {value:.5g}" for name, value in zip(objectives, values, strict=True))


def short(trial: FrozenTrial) -> str:
    """Return a trial's parameters in a few words."""
    parts = [f"{name.partition('@')[0].rpartition('.')[2]}={plain(value)}" for name, value in trial.params.items()]
    return " ".join(parts)
