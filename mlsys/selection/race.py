"""The race: successive halving of candidates over folds, within a budget of time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from mlsys.errors import FitError
from mlsys.evaluation.metrics import Entry
from mlsys.evaluation.splits import Fold
from mlsys.selection.judge import FloatArray, Judge, defined_mean
from mlsys.text import counted

logger = logging.getLogger(__name__)

Status = Literal["finished", "worse", "no time", "failed"]


@dataclass(frozen=True)
class TestedFold:
    """A candidate's test on one fold.

    Attributes
    ----------
    predictions : DataFrame
        The fold's test rows; see `mlsys.evaluation.backtest.out_of_fold`.
    train_rows : int
        Number of rows that it was trained on.
    """

    predictions: pd.DataFrame
    train_rows: int

    @property
    def probability(self) -> FloatArray:
        """Probabilities of the test rows."""
        return self.predictions["probability"].to_numpy(dtype=np.float64)


class TestFolds(Protocol):
    """Fits a candidate on folds."""

    def __call__(self, name: str, folds: Sequence[Fold]) -> list[TestedFold]:
        """Return the candidate's tests, in the order of the folds; raise FitError if one cannot be fitted."""
        ...


@dataclass
class Entrant:
    """A candidate in the race.

    Attributes
    ----------
    name : str
    tests : list of TestedFold
        In the order in which the folds were run.
    values : list of float
        The objective by fold; NaN where it is undefined.
    seconds : float
        Time of its fits.
    status : {"finished", "worse", "no time", "failed"}
        Whether it stayed in the race to the end, else why it was dropped.
    reason : str
        The same as text.
    """

    name: str
    tests: list[TestedFold] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    seconds: float = 0.0
    status: Status = "finished"
    reason: str = ""

    @property
    def mean(self) -> float:
        """Mean of the objective over its folds; NaN if it is undefined in all."""
        return defined_mean(self.values)

    def time_for(self, rows: int) -> float:
        """Estimate the seconds of fits on this number of training rows in total."""
        return self.seconds * rows / sum(test.train_rows for test in self.tests)

    def leave(self, status: Status, reason: str) -> None:
        """Drop it from the race."""
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Budget:
    """Time for the whole run.

    Attributes
    ----------
    seconds : float or None
        None: no limit.
    elapsed : callable
        Returns the seconds since the run began.
    final_rows : int
        Training rows of all fits that follow the choice, together.
    """

    seconds: float | None
    elapsed: Callable[[], float]
    final_rows: int

    def left(self) -> float:
        """Return the seconds that are left."""
        return math.inf if self.seconds is None else self.seconds - self.elapsed()

    def left_for_race(self, leader: Entrant) -> float:
        """Return the seconds that are left if the leader is chosen."""
        return self.left() - leader.time_for(self.final_rows)


@dataclass(frozen=True)
class Finish:
    """Result of a race.

    Attributes
    ----------
    entrants : list of Entrant
        All candidates, in their original order.
    finishers : list of Entrant
        Those that were tested on all folds that were run, in their original order.
    folds : list of Fold
        The folds that were run, in this order.
    unscreened : int
        Position of the first fold after the last one on which a candidate was dropped for lack of time. Candidates that
        were dropped as clearly worse could hardly have won.
    """

    entrants: list[Entrant]
    finishers: list[Entrant]
    folds: list[Fold]
    unscreened: int


def race(test: TestFolds, names: Sequence[str], folds: Sequence[Fold], judge: Judge, budget: Budget) -> Finish:
    """Test all candidates on the latest fold, then fewer and fewer of them on the folds before it.

    After 1, 2, 4, … folds, the worse half is dropped, except those that are within noise of the best while there is
    time (successive halving: Jamieson and Talwalkar 2016). Every candidate is tested on at least one fold.

    Parameters
    ----------
    test : TestFolds
    names : sequence of str
        Candidates, in the order of their first test.
    folds : sequence of Fold
        Folds to choose on, the latest last.
    judge : Judge
    budget : Budget

    Raises
    ------
    FitError
        If no candidate can be fitted, or the objective is undefined on every fold.
    """
    order, entrants = list(reversed(folds)), [Entrant(name) for name in names]
    running, done, unscreened = entrants, 0, 0
    for end in _rungs(len(order)):
        if done:
            running = _ranked(running, judge)
            if budget.left_for_race(running[0]) < running[0].time_for(_rows(order[done:end])):
                break
            running = _promoted(running, judge, budget, _rows(order[done:end]))
        running = _tested(running, test, order[done:end], judge, budget)
        if not running:  # those that were ahead failed
            running, unscreened = _revived(entrants), 0
            done = len(running[0].tests)
            break
        _check_defined(running, judge)
        if any(entrant.status == "no time" and len(entrant.tests) == done for entrant in entrants):
            unscreened = done
        done = end
    finishers = [entrant for entrant in entrants if entrant in running]
    for entrant in finishers if done < len(order) else []:
        entrant.reason = entrant.reason or f"no time for {len(order) - done} more of {counted(len(order), 'fold')}"
    return Finish(entrants, finishers, order[:done], unscreened)


def stacked(tests: Sequence[TestedFold]) -> tuple[pd.DataFrame, FloatArray]:
    """Return the test rows of folds and their probabilities."""
    rows = pd.concat([test.predictions for test in tests], ignore_index=True)
    return rows, np.concatenate([test.probability for test in tests])


def differences(entrants: Sequence[Entrant], reference: Entrant, folds: int, judge: Judge) -> dict[str, Entry]:
    """Return how much the objective of each candidate differs from the reference's on the first folds of the race."""
    rows, first = stacked(reference.tests[:folds])
    others = {entrant.name: stacked(entrant.tests[:folds])[1] for entrant in entrants}
    return judge.differences(rows, {reference.name: first, **others})


def _rungs(folds: int) -> Iterator[int]:
    """Yield the numbers of folds after which candidates are dropped, and at last all folds.

    Examples
    --------
    >>> list(_rungs(6))
    [1, 2, 4, 6]
    """
    end = 1
    while end < folds:
        yield end
        end *= 2
    yield folds


def _rows(folds: Sequence[Fold]) -> int:
    return sum(len(fold.train) for fold in folds)


def _ranked(entrants: Sequence[Entrant], judge: Judge) -> list[Entrant]:
    """Return candidates in descending order; those without a value come last."""
    return sorted(entrants, key=lambda entrant: np.nan_to_num(-judge.sign * entrant.mean, nan=np.inf))


def _promoted(ranked: Sequence[Entrant], judge: Judge, budget: Budget, rows: int) -> list[Entrant]:
    """Return the candidates to test further, the best first; drop the others."""
    leader, done = ranked[0], len(ranked[0].tests)
    # The leader is partly lucky, as the best of several, so the intervals are wider (Bonferroni).
    strict = replace(judge, confidence=1 - (1 - judge.confidence) / len(ranked))
    found = differences(ranked, leader, done, strict)
    left, kept = budget.left_for_race(leader), []
    for rank, entrant in enumerate(ranked):
        if rank >= len(ranked) / 2 and judge.metric.verdict(found[entrant.name]) == "worse":
            entrant.leave("worse", f"clearly worse than {leader.name} after {counted(done, 'fold')}")
        elif entrant.time_for(rows) > left:
            entrant.leave("no time", f"no time for more folds; number {rank + 1} after {counted(done, 'fold')}")
        else:
            left -= entrant.time_for(rows)
            kept.append(entrant)
    return kept


def _tested(
    entrants: Sequence[Entrant], test: TestFolds, folds: Sequence[Fold], judge: Judge, budget: Budget
) -> list[Entrant]:
    """Test candidates on folds; return those that were."""
    tested: list[Entrant] = []
    for entrant in entrants:
        # The estimates may have been wrong. The leader comes first, and the very first fold is for all.
        if tested and entrant.tests and budget.left_for_race(tested[0]) < entrant.time_for(_rows(folds)):
            entrant.leave("no time", f"no time for more than {counted(len(entrant.tests), 'fold')}")
            continue
        start = budget.elapsed()
        try:
            results = test(entrant.name, folds)
        except FitError as error:
            entrant.leave("failed", str(error))
            logger.warning("%s failed and is left out: %s", entrant.name, error)
            continue
        finally:
            entrant.seconds += budget.elapsed() - start
        entrant.tests += results
        entrant.values += [judge.value(result.predictions, result.probability) for result in results]
        tested.append(entrant)
        shown, number = judge.metric.write(entrant.mean), counted(len(entrant.tests), "fold")
        logger.info("%s: %s %s after %s (%.1f s)", entrant.name, judge.objective, shown, number, entrant.seconds)
    return tested


def _revived(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Return the candidates that were dropped last and did not fail."""
    dropped = [entrant for entrant in entrants if entrant.status != "failed"]
    if not dropped:
        reasons = "\n".join(f"  {entrant.name}: {entrant.reason}" for entrant in entrants)
        raise FitError(
            f"None of the candidates of model=auto can be fitted:\n{reasons}\nFix the cause, or add a candidate "
            "that can (model.candidates)."
        )
    most = max(len(entrant.tests) for entrant in dropped)
    revived = [entrant for entrant in dropped if len(entrant.tests) == most]
    for entrant in revived:
        entrant.leave("finished", f"those tested on more than {counted(most, 'fold')} failed")
    return revived


def _check_defined(running: Sequence[Entrant], judge: Judge) -> None:
    if all(math.isnan(entrant.mean) for entrant in running) and len(running[0].tests) > 1:
        raise FitError(
            f"model=auto cannot choose by {judge.objective}, which is undefined on the first "
            f"{counted(len(running[0].tests), 'fold')}, for example because no test row is positive. Choose by another "
            "objective, such as log_loss, or set fewer, larger folds to choose on (model.folds)."
        )
