"""Single features: a column that alone ranks the test rows almost perfectly is probably a leak."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.evaluation.audit.check import AuditCheck, Status, listed
from mlsys.evaluation.audit.ranking import best_roc_auc
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.text import counted

NAME = "single_feature"
WARNING_MARGIN = 0.03
# With fewer positive rows, a good column may rank them all at the top by chance.
MIN_POSITIVES = 10


def single_feature(subject: AuditSubject, *, limit: float) -> AuditCheck:
    """Fail if a single feature has a ROC-AUC above the limit on the test rows; warn from 0.03 below the limit.

    Numbers are ranked in their better direction, with missing values at the better end. A category is replaced by its
    fraction of positives in the training rows.
    """
    rows = subject.tested[subject.known]
    positive = subject.labels[rows]
    if not 0 < positive.sum() < len(positive):
        return AuditCheck.not_applicable(NAME, "the test rows with complete labels have only one class.")
    aucs = {
        feature.name: best_roc_auc(
            subject.panel.frame[feature.name].to_numpy(dtype=np.float64)[rows]
            if feature.kind == "number"
            else _rates(subject, feature.name)[subject.known],
            positive,
        )
        for feature in subject.panel.features
    }
    ranked = sorted(aucs, key=lambda name: -aucs[name])
    best = aucs[ranked[0]]
    over = [name for name in ranked if aucs[name] > limit]
    near = [name for name in ranked if aucs[name] > limit - WARNING_MARGIN]
    if not near:
        message = f"The best single feature, {ranked[0]}, has a ROC-AUC of {best:.3f} on the test rows."
        return AuditCheck(NAME, "pass", round(best, 6), limit, message)
    few = positive.sum() < MIN_POSITIVES
    status: Status = "fail" if over and not few else "warn"
    names = listed([f"{name} ({aucs[name]:.3f})" for name in over or near])
    message = (
        f"Features that alone rank the test rows almost perfectly, with their ROC-AUC: {names}. Such a column is "
        "usually the outcome in disguise, or was filled in after it. Find out when its values become known, and drop "
        "it if that is after the as-of."
        + (f" With only {counted(int(positive.sum()), 'positive test row')}, it may also be chance." if few else "")
    )
    return AuditCheck(NAME, status, round(best, 6), limit, message)


def _rates(subject: AuditSubject, name: str) -> NDArray[np.float64]:
    """Return, for each test row, the fraction of positives among the fold's training rows of the same category."""
    codes, levels = pd.factorize(subject.panel.frame[name], use_na_sentinel=False)
    parts = []
    for fold in subject.folds:
        labels = subject.labels[fold.train]
        rows = np.bincount(codes[fold.train], minlength=len(levels))
        hits = np.bincount(codes[fold.train], weights=labels, minlength=len(levels))
        # Smoothed by one row with the overall rate, which is the rate of categories without training rows.
        parts.append(((hits + labels.mean()) / (rows + 1))[codes[fold.test]])
    return np.concatenate(parts)
