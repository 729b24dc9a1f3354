"""The choice after a race: the best candidate or a blend, and how much choosing flatters it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from mlsys.evaluation.metrics import Entry
from mlsys.selection.judge import FloatArray, Judge, defined_mean
from mlsys.selection.race import Entrant, Finish, stacked

ROUNDS = 10  # weights of a blend are multiples of at least a tenth
ONE_ERROR = 0.6827  # confidence at which an interval is one standard error to each side
MAX_MEMBERS = 3  # members of a blend: each must be trained, served and explained

Counts = tuple[int, ...]  # how often each finisher is in a blend
Rule = Callable[[npt.NDArray[np.intp]], Counts]  # from the folds to choose on to what is chosen


@dataclass(frozen=True)
class Optimism:
    """How much choosing flatters the value of what was chosen.

    Attributes
    ----------
    folds : int
        Number of folds that it was measured on: those that no candidate was dropped on for lack of time.
    value : float
        Mean of the objective of what was chosen on all folds.
    nested : float
        Mean of the objective where, for each fold, the choice is made on the other folds.
    """

    folds: int
    value: float
    nested: float


@dataclass(frozen=True)
class Blend:
    """The best blend, and whether it is better than single candidates.

    Attributes
    ----------
    members : dict of str to float
        Weights, which sum to 1.
    difference : {"value", "low", "high"}
        The objective of blends minus that of single candidates, both chosen without the fold that they are tested on.
    is_better : bool
        Whether it is better by more than one standard error.
    """

    members: dict[str, float]
    difference: Entry
    is_better: bool


@dataclass(frozen=True)
class Selected:
    """What was chosen.

    Attributes
    ----------
    members : dict of str to float
        Weight of each candidate: a single one, or those of a blend.
    best : str
        The best single candidate.
    blend : Blend or None
        None if none was tried, or the best blend is a single candidate.
    optimism : Optimism or None
        None if there is only one fold.
    """

    members: dict[str, float]
    best: str
    blend: Blend | None
    optimism: Optimism | None


class Mixtures:
    """Means of the probabilities of the candidates that finished, with the objective of each fold.

    Parameters
    ----------
    finish : Finish
    judge : Judge
    """

    def __init__(self, finish: Finish, judge: Judge) -> None:
        self.judge, self.folds = judge, len(finish.folds)
        self.names = [entrant.name for entrant in finish.finishers]
        self._entrants, self._values = finish.finishers, dict[Counts, FloatArray]()
        for position, entrant in enumerate(finish.finishers):
            self._values[self.single(position)] = np.array(entrant.values)

    def single(self, position: int) -> Counts:
        """Return the counts of a single candidate."""
        return tuple(int(position == each) for each in range(len(self.names)))

    def probability(self, counts: Counts, fold: int) -> FloatArray:
        """Return the weighted mean of the probabilities in a fold."""
        mean: FloatArray = np.average(
            [entrant.tests[fold].probability for entrant in self._entrants], axis=0, weights=counts
        )
        return mean

    def values(self, counts: Counts) -> FloatArray:
        """Return the objective of each fold."""
        if counts not in self._values:
            rows = [test.predictions for test in self._entrants[0].tests]
            each = [self.judge.value(rows[fold], self.probability(counts, fold)) for fold in range(self.folds)]
            self._values[counts] = np.array(each)
        return self._values[counts]

    def mean(self, counts: Counts, folds: npt.NDArray[np.intp]) -> float:
        """Return the mean of the objective over folds; NaN if it is undefined in all."""
        return defined_mean(self.values(counts)[folds])


def best_single(mixtures: Mixtures, folds: npt.NDArray[np.intp]) -> Counts:
    """Return the candidate with the best mean over these folds."""
    options = [mixtures.single(position) for position in range(len(mixtures.names))]
    return options[mixtures.judge.best([mixtures.mean(counts, folds) for counts in options])]


def best_blend(mixtures: Mixtures, allowed: Collection[int], folds: npt.NDArray[np.intp]) -> Counts:
    """Return the best blend on these folds.

    Candidates are added one at a time, each as often as it helps most (greedy selection with replacement: Caruana,
    Niculescu-Mizil, Crew and Ksikes 2004).

    Parameters
    ----------
    mixtures : Mixtures
    allowed : collection of int
        Positions of the candidates that may be in it.
    folds : ndarray of int
    """
    singles = [mixtures.single(position) for position in sorted(allowed)]
    blend: Counts = (0,) * len(mixtures.names)
    path: list[Counts] = []
    for _ in range(ROUNDS):
        full = np.count_nonzero(blend) == MAX_MEMBERS
        options = [tuple(np.add(blend, single).tolist()) for single in singles if not full or blend[single.index(1)]]
        blend = options[mixtures.judge.best([mixtures.mean(counts, folds) for counts in options])]
        path.append(blend)
    return path[mixtures.judge.best([mixtures.mean(counts, folds) for counts in path])]


def choose(finish: Finish, judge: Judge, may_blend: Callable[[Sequence[Entrant]], bool]) -> Selected:
    """Choose the best single candidate, or a blend if it is better by more than one standard error.

    Both are compared on folds that neither was chosen on: for each fold, the best candidate and the best blend of the
    other folds. This comparison does not favour blends, so one standard error is enough (Breiman, Friedman, Olshen and
    Stone 1984); it favours the simpler model where there is no difference.

    Parameters
    ----------
    finish : Finish
        The finished race.
    judge : Judge
    may_blend : callable
        Takes candidates and returns whether a blend of them could be trained; single candidates that it rejects are in
        no blend.
    """
    mixtures = Mixtures(finish, judge)
    every, tested = np.arange(mixtures.folds), np.arange(finish.unscreened, mixtures.folds)
    single: Rule = partial(best_single, mixtures)
    best = mixtures.names[single(every).index(1)]
    allowed = [position for position, entrant in enumerate(finish.finishers) if may_blend([entrant])]
    if mixtures.folds < 2:
        return Selected({best: 1.0}, best, None, None)
    alone = Selected({best: 1.0}, best, None, optimism(mixtures, single, tested))
    if len(allowed) < 2:
        return alone
    mixed: Rule = partial(best_blend, mixtures, allowed)
    members = _weights(mixtures, mixed(every))
    if len(members) < 2 or not may_blend([entrant for entrant in finish.finishers if entrant.name in members]):
        return alone
    blend = _compared(mixtures, finish, mixed, single, tested)
    if blend.is_better:
        return Selected(members, best, blend, optimism(mixtures, mixed, tested))
    return Selected({best: 1.0}, best, blend, alone.optimism)


def optimism(mixtures: Mixtures, rule: Rule, tested: npt.NDArray[np.intp]) -> Optimism:
    """Return how much a rule of choice flatters what it chooses (nested, leave-one-fold-out choice).

    Parameters
    ----------
    mixtures : Mixtures
    rule : callable
        Takes the positions of the folds to choose on, and returns what is chosen.
    tested : ndarray of int
        Positions of the folds to measure it on.
    """
    every = np.arange(mixtures.folds)
    chosen = mixtures.mean(rule(every), tested)
    nested = [mixtures.values(rule(np.delete(every, fold)))[fold] for fold in tested]
    return Optimism(len(tested), chosen, defined_mean(nested))


def _compared(mixtures: Mixtures, finish: Finish, mixed: Rule, single: Rule, tested: npt.NDArray[np.intp]) -> Blend:
    """Return the best blend, compared with single candidates; each is chosen without the fold that it is for."""
    judge, every = mixtures.judge, np.arange(mixtures.folds)
    scores = {
        name: np.concatenate([mixtures.probability(rule(np.delete(every, fold)), fold) for fold in tested])
        for name, rule in (("single", single), ("blend", mixed))
    }
    rows, _ = stacked([finish.finishers[0].tests[fold] for fold in tested])
    wide, narrow = (
        replace(judge, confidence=confidence).differences(rows, scores)["blend"]
        for confidence in (judge.confidence, ONE_ERROR)
    )
    return Blend(_weights(mixtures, mixed(every)), wide, judge.metric.verdict(narrow) == "better")


def _weights(mixtures: Mixtures, counts: Counts) -> dict[str, float]:
    return {name: round(count / sum(counts), 6) for name, count in zip(mixtures.names, counts, strict=True) if count}
