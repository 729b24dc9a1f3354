"""The errors that mlsys raises on purpose: each says what happened, where, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlsys.text import counted


class MlsysError(Exception):
    """Root of every error that mlsys raises on purpose; its message is written for the user."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the user's input.

    Attributes
    ----------
    where : str
        The config key, file or column it is about.
    got : str
        What was found there.
    allowed : str
        What would have been accepted.
    closest : str or None
        The closest accepted spelling, if any is close.
    """

    where: str
    got: str
    allowed: str
    closest: str | None = None

    def __str__(self) -> str:
        hint = f"\n      closest: {self.closest}" if self.closest else ""
        return f"  {self.where}\n      got:     {self.got}\n      allowed: {self.allowed}{hint}"

    @property
    def brief(self) -> str:
        """The problem in one line."""
        hint = f", closest: {self.closest}" if self.closest else ""
        return f"{self.where}: got {self.got}, allowed: {self.allowed}{hint}"


class ProblemsError(MlsysError):
    """An error that lists all problems at once.

    Parameters
    ----------
    title : str
        What was checked; the start of the message.
    problems : sequence of Problem
        In the order to show them.
    advice : str
        What to do next.

    Examples
    --------
    >>> print(ProblemsError("The config", [Problem("model", "catbost", "catboost", "catboost")], "Fix it."))
    The config has 1 problem:
      model
          got:     catbost
          allowed: catboost
          closest: catboost
    Fix it.
    """

    def __init__(self, title: str, problems: Sequence[Problem], advice: str) -> None:
        self.problems = tuple(problems)
        heading = f"{title} has {counted(len(problems), 'problem')}:"
        super().__init__("\n".join([heading, *map(str, problems), advice]))

    @property
    def brief(self) -> str:
        """The first problem in one line, and how many more there are.

        Examples
        --------
        >>> ProblemsError("The config", [Problem("model", "catbost", "catboost", "catboost")], "Fix it.").brief
        'model: got catbost, allowed: catboost, closest: catboost'
        """
        more = f"; {counted(len(self.problems) - 1, 'more problem')}" if len(self.problems) > 1 else ""
        return self.problems[0].brief + more


class ConfigError(ProblemsError):
    """The composed configuration cannot be run."""


class ContractError(ProblemsError):
    """Raw tables break a rule that the config treats as an error."""


class DataError(MlsysError):
    """A table cannot be read, or lacks what the run needs."""


class FitError(MlsysError):
    """A model cannot be fitted on the given rows."""


class RowsError(FitError):
    """A model cannot be fitted because of the rows: a class is missing, or too rare for the sampler or the encoder."""


class OneClassError(RowsError):
    """All rows have the same label."""


class EstimatorError(FitError):
    """An estimator raised an error of its own in a fit."""


class PrunedError(MlsysError):
    """A trial of a sweep is not worth finishing."""


class SweepError(MlsysError):
    """A sweep cannot start or continue."""


class AuditFailedError(MlsysError):
    """The leakage audit failed, and ``audit.strict`` is true."""


class TrackingError(MlsysError):
    """A tracker cannot be used."""


class RunError(MlsysError):
    """A run directory is missing, incomplete, damaged or from an incompatible version."""


class RegistryError(MlsysError):
    """A registered model is missing or damaged, or the requested change is not allowed."""


def closest(name: str, options: Iterable[str]) -> str | None:
    """Return the option spelled most like ``name``, ignoring case; None if none is close.

    Examples
    --------
    >>> closest("rocauc", ["roc_auc", "brier"])
    'roc_auc'
    """
    by_folded = {option.casefold(): option for option in options}
    match = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[match[0]] if match else None


def closest_pairs(wanted: Iterable[str], given: Iterable[str]) -> dict[str, str]:
    """Pair each wanted name with the given name that is closest to it, so that no given name is suggested twice.

    A pair is made only where each is the other's closest match.

    Examples
    --------
    >>> closest_pairs(["sum_7d", "max_7d", "plan"], ["SUM_7D", "colour"])
    {'sum_7d': 'SUM_7D'}
    """
    wanted, given = list(wanted), list(given)
    found = ((name, closest(name, given)) for name in wanted)
    return {name: near for name, near in found if near is not None and closest(near, wanted) == name}


def requirement(message: str) -> str:
    """Return a validation message of pydantic in the form that follows "allowed:".

    Examples
    --------
    >>> requirement("Input should be greater than 0")
    'greater than 0'
    """
    return message.removeprefix("Value error, ").removeprefix("Input should be ")
