"""Label placebo: if the converters' dates are given to random accounts, the backtest must not find anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.compact import take_rows
from mlsys.data.panel import Panel
from mlsys.data.weight_column import SAMPLING_WEIGHT, TEST_WEIGHT
from mlsys.errors import FitError
from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.bootstrap import mean_over_folds
from mlsys.evaluation.ranking import tie_groups
from mlsys.evaluation.splits import Fold, Rows
from mlsys.stages import progress

NAME = "label_placebo"
PERMUTATIONS, QUANTILE = 500, 0.99
# Labels that are permuted at once, 32 MB in float64: few sorts of the scores, without gigabytes for a large table.
MAX_LABELS = 2**22

Mask = NDArray[np.bool_]


def label_placebo(subject: AuditSubject) -> AuditCheck:
    """Repeat the backtest with randomly reassigned labels, and fail if it ranks better than chance.

    The as-ofs at which a converter's label is 1 are given to a random account that never converts and is active then.
    The converter's own labels become 0, and the account leaves the panel after its last positive label, like a
    converter. Average precision is measured on active rows only, where recipients are as frequent as everywhere else.
    In a flat table, the labels are permuted, with groups kept together. If rows without a conversion were sampled, the
    rows that are left are taken as the whole table, without weights, and each as-of of a converter is given to another
    account, as few accounts have rows at several.

    The distribution by chance comes from further random assignments in the test rows: the same scores are evaluated
    with labels that the model has never seen.
    """
    if subject.refit is None:
        return AuditCheck.not_applicable(NAME, "this run cannot be refitted.")
    shuffler: _LabelShuffler = _AccountShuffler.of(subject) if subject.horizon_days else _RowShuffler.of(subject)
    rng = np.random.default_rng([subject.seed, PERMUTATIONS])
    placebo = shuffler.shuffle(rng)
    kept = np.flatnonzero(~placebo.removed)
    panel, folds = _with_labels(subject, placebo, kept)
    try:
        scores = subject.refit(panel, folds)
    except FitError as error:
        return AuditCheck(NAME, "warn", None, None, f"The placebo could not be fitted, so nothing was checked. {error}")
    average_precision = _PlaceboScorer(folds, scores, shuffler.eligible[kept])
    value = float(average_precision(placebo.labels[kept][None])[0])
    at_once, parts = max(1, MAX_LABELS // max(len(kept), 1)), []
    starts = range(0, PERMUTATIONS, at_once)
    with progress("label placebo", len(starts), "batches") as advance:
        for start in starts:
            sets = range(min(at_once, PERMUTATIONS - start))
            parts.append(average_precision(np.stack([shuffler.reshuffle(rng, placebo)[kept] for _ in sets])))
            advance()
    by_chance = np.concatenate(parts)
    if np.isnan(value) or np.isnan(by_chance).all():
        return AuditCheck.not_applicable(
            NAME, "no account that is active in a test row can receive a converter's date."
        )
    limit = float(np.nanquantile(by_chance, QUANTILE))
    finding = (
        f"With labels given to random {shuffler.recipients}, average precision is {value:.4f}; by chance it is "
        f"{np.nanmean(by_chance):.4f} on average, and below {limit:.4f} in {QUANTILE:.0%} of permutations"
    )
    if value <= limit:
        return AuditCheck(NAME, "pass", round(value, 6), round(limit, 6), f"{finding}.")
    message = (
        f"{finding}: the backtest itself leaks labels. Look for rows that are dropped, kept, imputed or weighted by a "
        "label that is not known at the test as-of, and for anything that is fitted before the split."
    )
    return AuditCheck(NAME, "fail", round(value, 6), round(limit, 6), message)


@dataclass(frozen=True)
class _Placebo:
    """Randomly reassigned labels.

    Attributes
    ----------
    labels : ndarray of bool, shape (n_rows,)
        New labels of the panel's rows.
    removed : ndarray of bool, shape (n_rows,)
        Rows that leave the panel because of the new labels.
    recipients : sequence of ndarray of int64
        Entities that have received each pattern of labels; empty for a flat table.
    """

    labels: Mask
    removed: Mask
    recipients: Sequence[Rows] = ()


class _LabelShuffler(Protocol):
    """Reassigns labels at random."""

    @property
    def recipients(self) -> str:
        """Plural noun for those who may receive labels."""
        ...

    @property
    def eligible(self) -> Mask:
        """Mask of the rows that may receive labels, on which scores are evaluated, shape (n_rows,)."""
        ...

    def shuffle(self, rng: np.random.Generator) -> _Placebo:
        """Reassign the labels."""
        ...

    def reshuffle(self, rng: np.random.Generator, placebo: _Placebo) -> Mask:
        """Return labels that were as likely as those of the placebo, on the same remaining rows."""
        ...


@dataclass(frozen=True)
class _AccountShuffler:
    """Gives the converters' as-ofs to random accounts.

    Attributes
    ----------
    row : ndarray of int64, shape (n_entities, n_as_ofs)
        Position of each entity and as-of in the panel; -1 without a row.
    patterns : list of (ndarray of int64, int)
        Distinct sets of as-ofs at which a converter's label is 1, and the number of converters of each.
    candidates : ndarray of bool, shape (n_entities, n_as_ofs)
        Entities that may receive a label at each as-of: they are active then and never convert.
    eligible : ndarray of bool, shape (n_rows,)
        Mask of the active rows.
    """

    row: Rows
    patterns: list[tuple[Rows, int]]
    candidates: Mask
    eligible: Mask
    recipients: str = "active accounts"

    @classmethod
    def of(cls, subject: AuditSubject) -> _AccountShuffler:
        frame = subject.panel.frame
        entity, time = pd.factorize(frame["id"])[0], pd.factorize(frame["as_of"], sort=True)[0]
        row = np.full((entity.max() + 1, time.max() + 1), -1)
        row[entity, time] = np.arange(len(frame))
        active = frame["activity"].to_numpy() > 0
        labels, candidates = np.zeros(row.shape, dtype=bool), np.zeros(row.shape, dtype=bool)
        labels[entity, time], candidates[entity, time] = subject.labels, active
        converts = labels.any(axis=1)
        candidates[converts] = False
        if subject.panel.weights is not None:
            counts = labels.sum(axis=0)
            patterns = [(np.array([time]), int(counts[time])) for time in np.flatnonzero(counts)]
            return cls(row, patterns, candidates, active)
        distinct, counts = np.unique(labels[converts], axis=0, return_counts=True)
        patterns = [(np.flatnonzero(pattern), int(count)) for pattern, count in zip(distinct, counts, strict=True)]
        patterns.sort(key=lambda pattern: -len(pattern[0]))  # long patterns have the fewest candidates
        return cls(row, patterns, candidates, active)

    def shuffle(self, rng: np.random.Generator) -> _Placebo:
        removed = np.zeros(len(self.eligible), dtype=bool)
        free = np.ones(len(self.row), dtype=bool)
        recipients = []
        for times, count in self.patterns:
            recipients.append(self._draw(rng, free, times, count))
            free[recipients[-1]] = False
            after = self.row[recipients[-1], times[-1] + 1 :]
            removed[after[after >= 0]] = True
        return _Placebo(self._labels(recipients), removed, recipients)

    def reshuffle(self, rng: np.random.Generator, placebo: _Placebo) -> Mask:
        # Recipients of other patterns have left or will leave the panel. Given these, each pattern could have gone to
        # its own recipients and to accounts without any pattern.
        free = np.ones(len(self.row), dtype=bool)
        free[np.concatenate(placebo.recipients)] = False
        recipients = []
        for (times, _), before in zip(self.patterns, placebo.recipients, strict=True):
            free[before] = True
            recipients.append(self._draw(rng, free, times, len(before)))
            free[before] = free[recipients[-1]] = False
        return self._labels(recipients)

    def _draw(self, rng: np.random.Generator, free: Mask, times: Rows, count: int) -> Rows:
        return rng.permutation(np.flatnonzero(free & self.candidates[:, times].all(axis=1)))[:count]

    def _labels(self, recipients: Sequence[Rows]) -> Mask:
        labels = np.zeros(len(self.eligible), dtype=bool)
        for (times, _), entities in zip(self.patterns, recipients, strict=True):
            labels[self.row[entities][:, times]] = True
        return labels


@dataclass(frozen=True)
class _RowShuffler:
    """Permutes the labels of a flat table, with groups kept together as far as their sizes allow."""

    labels: Mask
    groups: Rows
    eligible: Mask
    recipients: str = "rows"

    @classmethod
    def of(cls, subject: AuditSubject) -> _RowShuffler:
        return cls(subject.labels, subject.groups, np.ones(len(subject.labels), dtype=bool))

    def shuffle(self, rng: np.random.Generator) -> _Placebo:
        count = self.groups.max() + 1
        source, target = (np.argsort(rng.permutation(count)[self.groups], kind="stable") for _ in range(2))
        labels = np.empty_like(self.labels)
        labels[target] = self.labels[source]
        return _Placebo(labels, np.zeros_like(labels))

    def reshuffle(self, rng: np.random.Generator, placebo: _Placebo) -> Mask:  # noqa: ARG002 - no row is removed
        return self.shuffle(rng).labels


class _PlaceboScorer:
    """Computes the average precision of the same scores for many sets of labels, averaged over the folds."""

    def __init__(self, folds: list[Fold], scores: NDArray[np.float64], eligible: Mask) -> None:
        parts = np.split(scores, np.cumsum([len(fold.test) for fold in folds])[:-1])
        self._folds = [
            (fold.test[eligible[fold.test]], part[eligible[fold.test]]) for fold, part in zip(folds, parts, strict=True)
        ]

    def __call__(self, labels: Mask) -> NDArray[np.float64]:
        """Return the average precision, shape (n_sets,), for labels of shape (n_sets, n_rows)."""
        values = [tie_groups(scores, labels[:, rows]).average_precision() for rows, scores in self._folds]
        return mean_over_folds(np.stack(values))


def _with_labels(subject: AuditSubject, placebo: _Placebo, kept: Rows) -> tuple[Panel, list[Fold]]:
    """Return the panel and folds with the labels of the placebo, without the removed rows."""
    position = np.full(len(placebo.labels), -1)
    position[kept] = np.arange(len(kept))

    def remaining(rows: Rows) -> Rows:
        positions = position[rows]
        return positions[positions >= 0]

    labels = placebo.labels[kept].astype(np.int8)
    frame = subject.panel.frame.assign(days_to_outcome=_days_to_outcome(subject, placebo))
    frame = frame.drop(columns=[SAMPLING_WEIGHT, TEST_WEIGHT], errors="ignore")
    frame = take_rows(frame, kept).reset_index(drop=True).assign(label=labels, value=np.nan)
    folds = [
        replace(fold, train=remaining(fold.train), test=remaining(fold.test), partial=remaining(fold.partial))
        for fold in subject.folds
    ]
    return replace(subject.panel, frame=frame), folds


def _days_to_outcome(subject: AuditSubject, placebo: _Placebo) -> NDArray[np.float64]:
    """Return, for rows with a label of 1, the days to the outcome of random converters of the same as-of; else NaN."""
    frame, rng = subject.panel.frame, np.random.default_rng([subject.seed, len(placebo.labels)])
    times, days = pd.factorize(frame["as_of"])[0], frame["days_to_outcome"].to_numpy(dtype=np.float64)
    assigned = np.full(len(frame), np.nan)
    for time in np.unique(times[placebo.labels]):
        donors = days[subject.labels & (times == time)]
        chosen = placebo.labels & (times == time)
        assigned[chosen] = rng.choice(donors, int(chosen.sum()))
    return assigned
