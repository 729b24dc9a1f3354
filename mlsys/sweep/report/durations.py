"""Durations of trials."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.trial import FrozenTrial


def trial_seconds(trial: FrozenTrial) -> float:
    """Return a trial's duration in seconds; 0 if it has not finished."""
    return trial.duration.total_seconds() if trial.duration else 0.0


def elapsed_seconds(trials: Iterable[FrozenTrial]) -> float:
    """Return the seconds from the start of the first trial to the end of the last; 0 if none has finished."""
    spans = [(trial.datetime_start, trial.datetime_complete) for trial in trials]
    starts, ends = [start for start, _ in spans if start], [end for _, end in spans if end]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else 0.0


def duration_text(seconds: float) -> str:
    """Return a duration as text.

    Examples
    --------
    >>> duration_text(0.05), duration_text(12.3), duration_text(185), duration_text(9000)
    ('0.05 s', '12 s', '3 min 5 s', '2 h 30 min')
    """
    if seconds < 60:
        return f"{seconds:.{0 if seconds >= 9.95 else 1 if seconds >= 0.95 else 2}f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
