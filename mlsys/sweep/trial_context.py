"""How a job reaches the trial that it is run for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class CurrentTrial(Protocol):
    """What a job may ask of its trial, and tell it.

    Attributes
    ----------
    number : int
        The trial's number in its study, which is the job's number too.
    """

    number: int

    def report(self, value: float | None, step: int) -> None:
        """Tell how well the trial does at a step.

        Parameters
        ----------
        value : float or None
            The objective at this step alone (one fold, or some number of trees); None where it is undefined.
        step : int
            From 0; the same number means the same rows in every trial.

        Raises
        ------
        PrunedError
            Where the study's pruner gives the trial up.
        """
        ...

    def note(self, key: str, value: Any) -> None:  # noqa: ANN401 - what JSON can hold
        """Keep a fact beside the trial, in the study."""
        ...

    def keep(self, key: str, make: Callable[[], T]) -> T:
        """Return what an earlier trial of this worker made under the key, or make it and remember it."""
        ...


_current: ContextVar[CurrentTrial | None] = ContextVar("mlsys_trial", default=None)


def current_trial() -> CurrentTrial | None:
    """Return the trial that this job is run for; None outside of a sweep.

    Examples
    --------
    >>> current_trial() is None
    True
    """
    return _current.get()


@contextmanager
def trial_scope(trial: CurrentTrial) -> Iterator[None]:
    """Make a trial the current one."""
    token = _current.set(trial)
    try:
        yield
    finally:
        _current.reset(token)
