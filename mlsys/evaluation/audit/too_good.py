"""Too good: numbers that an honest model of rare outcomes does not reach."""

from __future__ import annotations

import numpy as np

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.ranking import tie_groups

NAME = "too_good"
# With fewer positive rows an honest model of a rare outcome reaches the bound by luck, now and then.
ENOUGH_POSITIVES = 30


def too_good(subject: AuditSubject, *, auc: float, odds: float) -> AuditCheck:
    """Warn where ROC-AUC or average precision are higher than the base rate makes plausible.

    Parameters
    ----------
    subject : AuditSubject
    auc : float
        From this ROC-AUC on it is suspicious.
    odds : float
        And so is an average precision whose odds are more than so many times those of the base rate: with 100, from 0.5
        on at a base rate of 1 %, and from 0.17 on at 0.2 %.
    """
    numbers = []
    for rows, scores in subject.by_fold():
        labels = subject.labels[rows]
        if 0 < labels.sum() < len(labels):
            groups = tie_groups(scores, labels)
            numbers.append((groups.roc_auc(), groups.average_precision(), labels.mean()))
    positives = int(subject.labels[subject.tested[subject.known]].sum())
    if not numbers or positives < ENOUGH_POSITIVES:
        return AuditCheck.not_applicable(
            NAME, f"{positives} positive test rows are too few to call any ranking too good."
        )
    roc, precision, base = (float(number) for number in np.mean(numbers, axis=0))
    bound = odds * base / (1 + (odds - 1) * base)
    found = f"ROC-AUC {roc:.3f} and average precision {precision:.3f} at a base rate of {base:.2%}"
    if len(numbers) < len(subject.folds):
        found += f" (mean of the {len(numbers)} folds with known outcomes)"
    if precision <= bound and roc < auc:
        message = f"{found}: not so high that it must be a leak. Nothing to do."
        return AuditCheck(NAME, "pass", round(precision, 6), round(bound, 6), message)
    message = (
        f"{found} are too good to be true of most outcomes that people decide on. Take them for a leak until you have "
        "shown otherwise: look at the most important features, and at when each of their values becomes known."
    )
    value, limit = (precision, bound) if precision > bound else (roc, auc)
    return AuditCheck(NAME, "warn", round(value, 6), round(limit, 6), message)
