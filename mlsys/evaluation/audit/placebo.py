"""Label placebo: where the converters' dates go to random accounts there is nothing to learn, and nothing to find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.panel import Panel
from mlsys.errors import FitError
from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.ranking import tie_groups
from mlsys.evaluation.splits import Fold, Rows

NAME = "label_placebo"
DRAWS, QUANTILE = 500, 0.99

Mask = NDArray[np.bool_]


def label_placebo(subject: AuditSubject) -> AuditCheck:
    """Fit on labels that were dealt out at random by the same protocol, and fail where it ranks better than chance.

    Each converter's as-ofs with a positive label are given to a random account that never converts and is active then;
    the converter's own labels become 0, and the account leaves the panel after them, as a converter does. Average
    precision is measured among the active rows, where such accounts are no rarer than others. In a flat table the
    labels are shuffled, groups as one.

    What chance gives is found by dealing the test rows' labels again: the same scores are measured against labels that
    they have never seen.
    """
    if subject.refit is None:
        return AuditCheck.not_applicable(NAME, "this run cannot be fitted again.")
    dealer: _Dealer = _Accounts.of(subject) if subject.horizon_days else _Rows.of(subject)
    rng = np.random.default_rng([subject.seed, DRAWS])
    dealt = dealer.deal(rng)
    kept = np.flatnonzero(~dealt.gone)
    panel, folds = _given(subject, dealt, kept)
    try:
        scores = subject.refit(panel, folds)
    except FitError as error:
        return AuditCheck(NAME, "warn", None, None, f"The placebo could not be fitted, so it says nothing. {error}")
    judge = _PlaceboScorer(folds, scores, dealer.judged[kept])
    value = float(judge(dealt.labels[kept][None])[0])
    by_chance = judge(np.stack([dealer.again(rng, dealt)[kept] for _ in range(DRAWS)]))
    if np.isnan(value) or np.isnan(by_chance).all():
        return AuditCheck.not_applicable(
            NAME, "no account that was active in a test row could take a converter's date."
        )
    limit = float(np.nanquantile(by_chance, QUANTILE))
    found = (
        f"With labels dealt to random {dealer.who}, average precision is {value:.4f}; by chance it is "
        f"{np.nanmean(by_chance):.4f} on average and below {limit:.4f} in {QUANTILE:.0%} of draws"
    )
    if value <= limit:
        return AuditCheck(NAME, "pass", round(value, 6), round(limit, 6), f"{found}. Nothing to do.")
    message = (
        f"{found}: the protocol itself gives labels away. Look for rows that are dropped, kept, filled or weighted by "
        "a label that the test as-of does not know, and for anything fitted before the split."
    )
    return AuditCheck(NAME, "fail", round(value, 6), round(limit, 6), message)


@dataclass(frozen=True)
class _Dealt:
    """New labels of the panel's rows, the rows that are gone because of them, and who took which labels."""

    labels: Mask
    gone: Mask
    takers: Sequence[Rows] = ()


class _Dealer(Protocol):
    """Deals labels."""

    @property
    def who(self) -> str:
        """Who may get them."""
        ...

    @property
    def judged(self) -> Mask:
        """The rows among which those who may get them are no rarer than others, shape (n_rows,)."""
        ...

    def deal(self, rng: np.random.Generator) -> _Dealt:
        """Deal once."""
        ...

    def again(self, rng: np.random.Generator, dealt: _Dealt) -> Mask:
        """Return labels that were as likely as those dealt, among the rows that are left."""
        ...


@dataclass(frozen=True)
class _Accounts:
    """Deals converters' as-ofs to accounts.

    Attributes
    ----------
    row : ndarray of int64, shape (n_entities, n_as_ofs)
        Position in the panel; -1 where the entity has no row.
    hands : list of (ndarray of int64, int)
        As-ofs at which a converter's label is 1, and how many converters have just these.
    takers : ndarray of bool, shape (n_entities, n_as_ofs)
        Who may take a label there: never converts and is active.
    """

    row: Rows
    hands: list[tuple[Rows, int]]
    takers: Mask
    judged: Mask
    who: str = "active accounts"

    @classmethod
    def of(cls, subject: AuditSubject) -> _Accounts:
        frame = subject.panel.frame
        entity, time = pd.factorize(frame["id"])[0], pd.factorize(frame["as_of"], sort=True)[0]
        row = np.full((entity.max() + 1, time.max() + 1), -1)
        row[entity, time] = np.arange(len(frame))
        active = frame["activity"].to_numpy() > 0
        labels, takers = np.zeros(row.shape, dtype=bool), np.zeros(row.shape, dtype=bool)
        labels[entity, time], takers[entity, time] = subject.labels, active
        converts = labels.any(axis=1)
        takers[converts] = False
        patterns, counts = np.unique(labels[converts], axis=0, return_counts=True)
        hands = [(np.flatnonzero(pattern), int(count)) for pattern, count in zip(patterns, counts, strict=True)]
        hands.sort(key=lambda hand: -len(hand[0]))  # the fewest can take many as-ofs at once
        return cls(row, hands, takers, active)

    def deal(self, rng: np.random.Generator) -> _Dealt:
        gone = np.zeros(len(self.judged), dtype=bool)
        free = np.ones(len(self.row), dtype=bool)
        taken = []
        for times, count in self.hands:
            taken.append(self._draw(rng, free, times, count))
            free[taken[-1]] = False
            after = self.row[taken[-1], times[-1] + 1 :]
            gone[after[after >= 0]] = True
        return _Dealt(self._labels(taken), gone, taken)

    def again(self, rng: np.random.Generator, dealt: _Dealt) -> Mask:
        # Whoever took another hand has left or will leave, so given the other hands each hand could have gone to those
        # who took it and to those who took none.
        free = np.ones(len(self.row), dtype=bool)
        free[np.concatenate(dealt.takers)] = False
        taken = []
        for (times, _), before in zip(self.hands, dealt.takers, strict=True):
            free[before] = True
            taken.append(self._draw(rng, free, times, len(before)))
            free[before] = free[taken[-1]] = False
        return self._labels(taken)

    def _draw(self, rng: np.random.Generator, free: Mask, times: Rows, count: int) -> Rows:
        return rng.permutation(np.flatnonzero(free & self.takers[:, times].all(axis=1)))[:count]

    def _labels(self, taken: Sequence[Rows]) -> Mask:
        labels = np.zeros(len(self.judged), dtype=bool)
        for (times, _), takers in zip(self.hands, taken, strict=True):
            labels[self.row[takers][:, times]] = True
        return labels


@dataclass(frozen=True)
class _Rows:
    """Deals a flat table's labels to its rows: both in an order of their own in which groups stay together."""

    labels: Mask
    groups: Rows
    judged: Mask
    who: str = "rows"

    @classmethod
    def of(cls, subject: AuditSubject) -> _Rows:
        return cls(subject.labels, subject.groups, np.ones(len(subject.labels), dtype=bool))

    def deal(self, rng: np.random.Generator) -> _Dealt:
        count = self.groups.max() + 1
        givers, takers = (np.argsort(rng.permutation(count)[self.groups], kind="stable") for _ in range(2))
        labels = np.empty_like(self.labels)
        labels[takers] = self.labels[givers]
        return _Dealt(labels, np.zeros_like(labels))

    def again(self, rng: np.random.Generator, dealt: _Dealt) -> Mask:  # noqa: ARG002 - no row has left
        return self.deal(rng).labels


class _PlaceboScorer:
    """Measures the same scores against many sets of labels: average precision, the mean over the folds."""

    def __init__(self, folds: list[Fold], scores: NDArray[np.float64], judged: Mask) -> None:
        parts = np.split(scores, np.cumsum([len(fold.test) for fold in folds])[:-1])
        self._folds = [
            (fold.test[judged[fold.test]], part[judged[fold.test]]) for fold, part in zip(folds, parts, strict=True)
        ]

    def __call__(self, labels: Mask) -> NDArray[np.float64]:
        """Return the average precision, shape (n_draws,), under labels of shape (n_draws, n_rows)."""
        values = np.stack([tie_groups(scores, labels[:, rows]).average_precision() for rows, scores in self._folds])
        there = ~np.isnan(values)
        count = there.sum(axis=0)
        sums = np.where(there, values, 0.0).sum(axis=0)
        means: NDArray[np.float64] = np.divide(sums, count, out=np.full(len(count), np.nan), where=count > 0)
        return means


def _given(subject: AuditSubject, dealt: _Dealt, kept: Rows) -> tuple[Panel, list[Fold]]:
    """Return the panel and folds with the dealt labels, without the rows that are gone."""
    position = np.full(len(dealt.labels), -1)
    position[kept] = np.arange(len(kept))

    def moved(rows: Rows) -> Rows:
        places = position[rows]
        return places[places >= 0]

    labels = dealt.labels[kept].astype(np.int8)
    frame = subject.panel.frame.iloc[kept].reset_index(drop=True).assign(label=labels, value=np.nan)
    folds = [replace(fold, train=moved(fold.train), test=moved(fold.test)) for fold in subject.folds]
    return Panel(frame, subject.panel.features), folds
