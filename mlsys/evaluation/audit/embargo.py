"""Embargo: no training row may know more than the moment at which the test rows are predicted."""

from __future__ import annotations

import numpy as np

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.splits import Fold
from mlsys.text import counted

NAME = "embargo"


def embargo(subject: AuditSubject) -> AuditCheck:
    """Fail where a training row's label window ends after the fold's first test as-of, or its label is not complete.

    A flat table's rows have a time and no label window: a split of them that is blind to time is a warning.
    """
    unfinished = sum(int((~subject.complete[fold.train]).sum()) for fold in subject.folds)
    if unfinished:
        message = (
            f"Folds train on {counted(unfinished, 'row')} whose label window reaches past the data's end: who converts "
            "later was learned as not converting. Train on rows with label_complete only."
        )
        return AuditCheck(NAME, "fail", unfinished, 0, message)
    if not subject.has_time:
        return AuditCheck.not_applicable(NAME, "the rows have no time, so none is later than another.")
    late = [_late(subject, fold) for fold in subject.folds]
    worst = int(np.argmax(late))
    window = f"label window of {subject.horizon_days} days" if subject.horizon_days else "time"
    if late[worst] == 0:
        message = f"In every fold, each training row's {window} ends by the first test as-of. Nothing to do."
        return AuditCheck(NAME, "pass", 0, 0, message)
    fold = subject.folds[worst]
    found = f"In fold {fold.number}, {late[worst]:,} of {counted(len(fold.train), 'training row')} have a {window}"
    if subject.is_blind_to_time and not subject.horizon_days:
        message = (
            f"{found} after that of the first test row, because the split is blind to time: the model learns from rows "
            "later than those that it is tested on, which it cannot do in use. Measure with split=backtest."
        )
        return AuditCheck(NAME, "warn", late[worst], 0, message)
    message = (
        f"{found} that ends after the first test as-of: the model has seen outcomes that nobody knew when it is said "
        "to predict, so its numbers are too good. "
        + ("Use split=backtest." if subject.is_blind_to_time else "Set split.horizon_days to data.horizon_days.")
    )
    return AuditCheck(NAME, "fail", late[worst], 0, message)


def _late(subject: AuditSubject, fold: Fold) -> int:
    times = subject.panel.frame["as_of"].to_numpy()
    first = times[fold.test].min()
    window = np.timedelta64(subject.horizon_days, "D")
    known = times[fold.train] + window <= first if subject.horizon_days else times[fold.train] < first
    return int((~known).sum())
