"""Duplicates: test rows that also occur in training reward memorising instead of learning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.ranking import roc_auc_error
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.ranking import tie_groups
from mlsys.pipeline.weights import mean, taken
from mlsys.text import counted

NAME = "duplicates"
MIN_POSITIVES = 10
# A ROC-AUC is clearly better if it is higher by this difference and by this many standard errors.
MIN_DIFFERENCE, MIN_ERRORS = 0.1, 2
# If the most frequent row is at least this fraction of all rows, it is that of inactive accounts and does not count.
MIN_INACTIVE = 0.02
# A smaller fraction of exact copies among the test rows is ignored, in a split that ignores time.
MIN_COPIES = 0.01

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


def duplicates(subject: AuditSubject, *, limit: float) -> AuditCheck:
    """Warn if many test rows have the features of a training row, and score clearly better than the other test rows.

    The most frequent row does not count if it is that of inactive accounts. In a split that ignores time, copies with
    the same label are enough for a warning, if there are twice as many as with independently shuffled columns.

    Parameters
    ----------
    subject : AuditSubject
        The run to check.
    limit : float
        Fraction of the test rows.
    """
    rows = _combined(_columns(subject))
    copies = _copies(subject, rows) if subject.ignores_time else None
    return copies or _memorised(subject, rows, limit)


def _columns(subject: AuditSubject) -> Iterator[Hashes]:
    """Yield the hashes of each feature, one after the other: all of them take twice the panel's memory."""
    for feature in subject.panel.features:
        yield np.asarray(pd.util.hash_pandas_object(subject.panel.frame[feature.name], index=False), dtype=np.uint64)


def _memorised(subject: AuditSubject, rows: Hashes, limit: float) -> AuditCheck:
    repeated = _repeated(subject, rows)
    fraction = round(mean(repeated, subject.weights), 6)
    which = "test rows, not counting inactive accounts," if subject.horizon_days else "test rows"
    finding = f"{fraction:.1%} of the {which} have the same features as a training row"
    if fraction <= limit:
        return AuditCheck(NAME, "pass", fraction, limit, f"{finding}.")
    comparison = _clearly_better(subject, repeated)
    if comparison is None:
        message = f"{finding}; they do not score clearly better than the other test rows."
        return AuditCheck(NAME, "pass", fraction, limit, message)
    message = (
        f"{finding}, and they score clearly better than the other test rows ({comparison}): the model memorises rows "
        "instead of generalising. Remove the copies, or keep them on one side of the split (data.group)."
    )
    return AuditCheck(NAME, "warn", fraction, limit, message)


def _clearly_better(subject: AuditSubject, repeated: Mask) -> str | None:
    """Return how much better the repeated rows score than the others; None unless they are clearly better."""
    aucs, errors, precisions = [], [], []
    for part in (repeated & subject.known, ~repeated & subject.known):
        labels, scores = subject.labels[subject.tested[part]], subject.scores[part]
        positives, negatives = int(labels.sum()), int((~labels).sum())
        if min(positives, negatives) < MIN_POSITIVES:
            return None
        groups = tie_groups(scores, labels, taken(subject.weights, part))
        aucs.append(float(groups.roc_auc()))
        errors.append(roc_auc_error(aucs[-1], positives, negatives))
        precisions.append(float(groups.average_precision()))
    if aucs[0] - aucs[1] < max(MIN_DIFFERENCE, MIN_ERRORS * float(np.hypot(errors[0], errors[1]))):
        return None
    return (
        f"ROC-AUC {aucs[0]:.3f} versus {aucs[1]:.3f}, average precision {precisions[0]:.3f} versus {precisions[1]:.3f}"
    )


def _copies(subject: AuditSubject, rows: Hashes) -> AuditCheck | None:
    """Warn if copies with the same label are on both sides of the split, more often than by chance."""
    labels = subject.labels.astype(np.uint64)
    rng = np.random.default_rng(subject.seed)
    copies = _repeated(subject, rows, labels)
    shuffled = _combined(rng.permutation(column) for column in _columns(subject))
    by_chance = _repeated(subject, shuffled, labels).mean()
    fraction, limit = round(float(copies.mean()), 6), round(max(MIN_COPIES, 2 * float(by_chance)), 6)
    if fraction <= limit:
        return None
    message = (
        f"Exact copies of training rows, including the label: {int(copies.sum()):,} of "
        f"{counted(len(copies), 'test row')} ({fraction:.1%}). The model has seen the answers, so its numbers are too "
        "good. Remove the copies, or set data.group to what they have in common, so that they stay on one side of the "
        "split."
    )
    return AuditCheck(NAME, "warn", fraction, limit, message)


def _repeated(subject: AuditSubject, rows: Hashes, labels: Hashes | None = None) -> Mask:
    """Return the mask of test rows that equal one of the fold's training rows, also in the label if it is given."""
    distinct, counts = np.unique(rows, return_counts=True)
    most_frequent = counts.argmax()
    active = (rows != distinct[most_frequent]) | (counts[most_frequent] < MIN_INACTIVE * len(rows))
    codes = np.unique(rows if labels is None else _combined([rows, labels]), return_inverse=True)[1]
    parts = []
    for fold in subject.folds:
        seen = np.zeros(len(codes), dtype=bool)
        seen[codes[fold.train]] = True
        parts.append(seen[codes[fold.test]] & active[fold.test])
    return np.concatenate(parts)


def _combined(columns: Iterable[Hashes]) -> Hashes:
    return reduce(lambda total, column: total * np.uint64(0x9E3779B97F4A7C15) + column, columns)
