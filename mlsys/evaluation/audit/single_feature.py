"""Single features: one column that ranks the test rows almost perfectly is more often a leak than a discovery."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.evaluation.audit.check import AuditCheck, Status, listed
from mlsys.evaluation.audit.ranking import best_roc_auc
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.text import counted

NAME = "single_feature"
MARGIN = 0.03
# With fewer positive rows a good column can rank them all on top by luck.
ENOUGH_POSITIVES = 10


def single_feature(subject: AuditSubject, *, limit: float) -> AuditCheck:
    """Fail where one feature alone ranks the test rows with a ROC-AUC above the limit; warn from 0.03 below it.

    Numbers are taken in their better direction, missing values at the better end. Categories count as the share of
    positive rows among the training rows that have them.
    """
    rows = subject.tested[subject.known]
    positive = subject.labels[rows]
    if not 0 < positive.sum() < len(positive):
        return AuditCheck.not_applicable(NAME, "the test rows with complete labels have one class only.")
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
    near = [name for name in ranked if aucs[name] > limit - MARGIN]
    if not near:
        message = (
            f"The best single feature, {ranked[0]}, ranks the test rows with a ROC-AUC of {best:.3f}. Nothing to do."
        )
        return AuditCheck(NAME, "pass", round(best, 6), limit, message)
    few = positive.sum() < ENOUGH_POSITIVES
    status: Status = "fail" if over and not few else "warn"
    names = listed([f"{name} ({aucs[name]:.3f})" for name in over or near])
    message = (
        f"Ranking the test rows almost perfectly alone (ROC-AUC): {names}. Such a column is mostly the outcome in "
        "disguise, or was filled in after it. Find out when its values become known, and drop it if that is after the "
        "as-of."
        + (f" With {counted(int(positive.sum()), 'positive test row')} only it may also be luck." if few else "")
    )
    return AuditCheck(NAME, status, round(best, 6), limit, message)


def _rates(subject: AuditSubject, name: str) -> NDArray[np.float64]:
    """Return, for each test row, the share of positive rows among the fold's training rows of its category."""
    codes, levels = pd.factorize(subject.panel.frame[name], use_na_sentinel=False)
    parts = []
    for fold in subject.folds:
        labels = subject.labels[fold.train]
        rows = np.bincount(codes[fold.train], minlength=len(levels))
        hits = np.bincount(codes[fold.train], weights=labels, minlength=len(levels))
        # One more row with the overall rate: categories without training rows get that rate.
        parts.append(((hits + labels.mean()) / (rows + 1))[codes[fold.test]])
    return np.concatenate(parts)
