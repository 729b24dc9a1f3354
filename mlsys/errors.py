"""The errors that mlsys raises on purpose: each says what happened, where, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class MlsysError(Exception):
    """Root of every error that mlsys raises on purpose; its message is written for the user."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave.

    Attributes
    ----------
    where : str
        The config key, file or column it is about.
    got : str
        What was found there.
    allowed : str
        What would have been accepted.
    closest : str or None
        The nearest accepted spelling, where there is one.
    """

    where: str
    got: str
    allowed: str
    closest: str | None = None

    def __str__(self) -> str:
        hint = f"\n      closest: {self.closest}" if self.closest else ""
        return f"  {self.where}\n      got:     {self.got}\n      allowed: {self.allowed}{hint}"


class ProblemsError(MlsysError):
    """An error that lists every problem at once.

    Parameters
    ----------
    title : str
        What was being checked, as the start of a sentence.
    problems : sequence of Problem
        All that was found, in the order to show.
    advice : str
        What to do next.

    Examples
    --------
    >>> print(ProblemsError("The config", [Problem("model", "catbost", "catboost", "catboost")], "Mend it."))
    The config has 1 problem:
      model
          got:     catbost
          allowed: catboost
          closest: catboost
    Mend it.
    """

    def __init__(self, title: str, problems: Sequence[Problem], advice: str) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([f"{title} has {count}:", *map(str, problems), advice]))


class ConfigError(ProblemsError):
    """The composed configuration cannot be run."""


class ContractError(ProblemsError):
    """Raw tables break a rule that the config treats as an error."""


class DataError(MlsysError):
    """A table cannot be read, or does not hold what the run needs."""


class FitError(MlsysError):
    """A model cannot be fitted on the rows that it was given."""


class PrunedError(MlsysError):
    """A trial of a sweep is not worth finishing."""


class SweepError(MlsysError):
    """A sweep cannot begin or go on."""


class AuditFailedError(MlsysError):
    """The leakage audit failed a run that was asked to be strict."""


class TrackingError(MlsysError):
    """A tracker cannot be used."""


class RunError(MlsysError):
    """A run directory is missing, incomplete, damaged or from an incompatible version."""


class RegistryError(MlsysError):
    """A registered model is missing or damaged, or may not be changed in the way that was asked for."""


def closest(name: str, options: Iterable[str]) -> str | None:
    """Return the option spelled most like ``name``, ignoring case; None if nothing is near.

    Examples
    --------
    >>> closest("rocauc", ["roc_auc", "brier"])
    'roc_auc'
    """
    by_folded = {option.casefold(): option for option in options}
    match = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[match[0]] if match else None
