"""Too good to be true: metrics that a model of rare outcomes does not reach without a leak."""

from __future__ import annotations

import numpy as np

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.ranking import tie_groups
from mlsys.evaluation.weighted_metrics import ScoredFold
from mlsys.pipeline.weights import mean
from mlsys.text import counted, is_or_are

NAME = "too_good"
# With fewer positive rows, a model without a leak sometimes exceeds the bound by chance.
MIN_POSITIVES = 30


def too_good(subject: AuditSubject, *, auc: float, odds: float) -> AuditCheck:
    """Warn if ROC-AUC or average precision is implausibly high for the base rate.

    Parameters
    ----------
    subject : AuditSubject
        The run to check.
    auc : float
        Lowest suspicious ROC-AUC.
    odds : float
        Highest plausible ratio of the odds of the average precision to the odds of the base rate. With 100, an average
        precision above 0.5 is suspicious at a base rate of 1 %, and one above 0.17 at 0.2 %.
    """
    numbers = []
    for rows, scores, weights in subject.by_fold():
        labels = subject.labels[rows]
        if 0 < labels.sum() < len(labels):
            if not ScoredFold(labels, scores, None, top_k=(), is_probability=False, weight=weights).resolves():
                return AuditCheck.not_applicable(
                    NAME,
                    "a sample of the negatives is too coarse for the average precision. Set split.test_negatives=all.",
                )
            groups = tie_groups(scores, labels, weights)
            numbers.append((float(groups.roc_auc()), float(groups.average_precision()), mean(labels, weights)))
    positives = int(subject.labels[subject.tested[subject.known]].sum())
    if positives < MIN_POSITIVES:
        return AuditCheck.not_applicable(
            NAME, f"{counted(positives, 'positive test row')} {is_or_are(positives)} too few to judge the metrics by."
        )
    if not numbers:
        return AuditCheck.not_applicable(NAME, "no fold has test rows of both classes with known outcomes.")
    roc, precision, base = (float(number) for number in np.mean(numbers, axis=0))
    bound = odds * base / (1 + (odds - 1) * base)
    finding = f"ROC-AUC {roc:.3f} and average precision {precision:.3f} at a base rate of {base:.2%}"
    if len(numbers) < len(subject.folds):
        finding += f" (mean over {counted(len(numbers), 'fold')} with known outcomes)"
    if precision <= bound and roc < auc:
        message = f"{finding}: plausible without a leak."
        return AuditCheck(NAME, "pass", round(precision, 6), round(bound, 6), message)
    message = (
        f"{finding}: too good to be true for most outcomes that depend on human decisions. Assume a leak until you "
        "have ruled it out: check the most important features, and when each of their values becomes known."
    )
    value, limit = (precision, bound) if precision > bound else (roc, auc)
    return AuditCheck(NAME, "warn", round(value, 6), round(limit, 6), message)
