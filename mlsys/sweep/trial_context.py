"""The current trial: how a job finds the trial that it runs for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class CurrentTrial(Protocol):
    """The interface of a trial to its job.

    Attributes
    ----------
    number : int
        The trial's number in its study; also the job's number.
    """

    number: int

    def report(self, value: float | None, step: int) -> None:
        """Report an intermediate value.

        Parameters
        ----------
        value : float or None
            The objective at this step alone (of one fold, or after some iterations); None where it is undefined.
        step : int
            Counted from 0; the same step must mean the same rows in every trial.

        Raises
        ------
        PrunedError
            If the study's pruner prunes the trial.
        """
        ...

    def set_user_attr(self, key: str, value: Any) -> None:  # noqa: ANN401 - anything that JSON can represent
        """Store an attribute of the trial in the study."""
        ...

    def cached(self, key: str, create: Callable[[], T]) -> T:
        """Return the worker's cached object of this key; create it if there is none."""
        ...


_current: ContextVar[CurrentTrial | None] = ContextVar("mlsys_trial", default=None)


def current_trial() -> CurrentTrial | None:
    """Return the trial that this job runs for; None outside a sweep.

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
