"""Duplicates: test rows that stand in training too reward remembering, not learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.ranking import roc_auc_error
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.ranking import tie_groups
from mlsys.text import counted

NAME = "duplicates"
ENOUGH_POSITIVES = 10
# A ROC-AUC that much higher, and by two standard errors, is clearly better.
CLEARLY, ERRORS = 0.1, 2
# Share of all rows from which on the most frequent one is taken for that of accounts that never did anything.
BLANK = 0.02
# Of the test rows of a split that is blind to time: fewer exact copies do not matter.
COPIES = 0.01

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


def duplicates(subject: AuditSubject, *, limit: float) -> AuditCheck:
    """Warn where test rows whose features all equal a training row's carry the score.

    The most frequent row does not count: it is what an account looks like that never did anything. Where the split is
    blind to time, copies with the same label are enough to warn, if there are twice as many as when each column is
    shuffled by itself.

    Parameters
    ----------
    subject : AuditSubject
    limit : float
        Share of the test rows.
    """
    columns = [_hashes(subject.panel.frame[feature.name]) for feature in subject.panel.features]
    copies = _copies(subject, columns) if subject.is_blind_to_time else None
    return copies or _remembered(subject, columns, limit)


def _remembered(subject: AuditSubject, columns: Sequence[Hashes], limit: float) -> AuditCheck:
    repeated = _repeated(subject, columns)
    share = round(float(repeated.mean()), 6)
    found = f"Apart from the most frequent row, {share:.1%} of the test rows have the very features of a training row"
    if share <= limit:
        return AuditCheck(NAME, "pass", share, limit, f"{found}. Nothing to do.")
    better = _better(subject, repeated)
    if better is None:
        message = f"{found}; they do not score clearly better than the others. Nothing to do."
        return AuditCheck(NAME, "pass", share, limit, message)
    message = (
        f"{found}, and these score clearly better than the others ({better}): the model remembers rows rather than "
        "learning from them. Remove the copies, or keep them on one side of the split (data.group)."
    )
    return AuditCheck(NAME, "warn", share, limit, message)


def _better(subject: AuditSubject, repeated: Mask) -> str | None:
    """Say how much better the repeated rows score, if they clearly do."""
    aucs, errors, precisions = [], [], []
    for part in (repeated & subject.known, ~repeated & subject.known):
        labels, scores = subject.labels[subject.tested[part]], subject.scores[part]
        count, others = int(labels.sum()), int((~labels).sum())
        if min(count, others) < ENOUGH_POSITIVES:
            return None
        groups = tie_groups(scores, labels)
        aucs.append(float(groups.roc_auc()))
        errors.append(roc_auc_error(aucs[-1], count, others))
        precisions.append(float(groups.average_precision()))
    if aucs[0] - aucs[1] < max(CLEARLY, ERRORS * float(np.hypot(errors[0], errors[1]))):
        return None
    return (
        f"ROC-AUC {aucs[0]:.3f} against {aucs[1]:.3f}, "
        f"average precision {precisions[0]:.3f} against {precisions[1]:.3f}"
    )


def _copies(subject: AuditSubject, columns: Sequence[Hashes]) -> AuditCheck | None:
    """Warn where copies with the same label stand on both sides of the split, and not by chance."""
    labels = subject.labels.astype(np.uint64)
    rng = np.random.default_rng(subject.seed)
    copies = _repeated(subject, columns, labels)
    by_chance = _repeated(subject, [rng.permutation(column) for column in columns], labels).mean()
    share, limit = round(float(copies.mean()), 6), round(max(COPIES, 2 * float(by_chance)), 6)
    if share <= limit:
        return None
    message = (
        f"{copies.sum():,} of {counted(len(copies), 'test row')} ({share:.1%}) are exact copies of a training row, "
        "label included: the model is asked what it has been told, so its numbers are too good. Remove the copies, "
        "or name in data.group what they have in common, so that they stay on one side of the split."
    )
    return AuditCheck(NAME, "warn", share, limit, message)


def _repeated(subject: AuditSubject, columns: Sequence[Hashes], labels: Hashes | None = None) -> Mask:
    """Tell the test rows whose columns, and label if given, are those of one of the fold's training rows."""
    rows = _combined(columns)
    kinds, counts = np.unique(rows, return_counts=True)
    blank = counts.argmax()
    counted = (rows != kinds[blank]) | (counts[blank] < BLANK * len(rows))
    codes = np.unique(rows if labels is None else _combined([rows, labels]), return_inverse=True)[1]
    parts = []
    for fold in subject.folds:
        seen = np.zeros(len(codes), dtype=bool)
        seen[codes[fold.train]] = True
        parts.append(seen[codes[fold.test]] & counted[fold.test])
    return np.concatenate(parts)


def _combined(columns: Sequence[Hashes]) -> Hashes:
    total = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        total = total * np.uint64(0x9E3779B97F4A7C15) + column
    return total


def _hashes(column: pd.Series) -> Hashes:
    """Hash each value by the finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, copy=True)
        numbers[np.isnan(numbers)] = np.nan  # there are many NaNs …
        bits = (numbers + 0.0).view(np.uint64)  # … and two zeros
    else:
        bits = pd.factorize(column)[0].astype(np.uint64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
