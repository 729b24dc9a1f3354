"""Embargo: every training label must be known by the time at which the test rows are predicted."""

from __future__ import annotations

import numpy as np

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.splits import Fold
from mlsys.text import counted, is_or_are

NAME = "embargo"


def embargo(subject: AuditSubject) -> AuditCheck:
    """Fail if a training label is incomplete, or its label window ends after the fold's first test as-of.

    Rows of a flat table have a time, but no label window: a split of them that ignores time is only a warning.
    """
    incomplete = sum(int((~subject.complete[fold.train]).sum()) for fold in subject.folds)
    if incomplete:
        message = (
            f"Folds train on {counted(incomplete, 'row')} whose label window extends beyond the end of the data: "
            "accounts that convert later were learned as negatives. Train only on rows with label_complete."
        )
        return AuditCheck(NAME, "fail", incomplete, 0, message)
    if not subject.has_time:
        return AuditCheck.not_applicable(NAME, "the rows have no time.")
    future = sum(_future(subject, fold) for fold in subject.folds) if subject.uses_partial else 0
    if future:
        message = (
            f"Folds learn from {counted(future, 'partly known row')} whose as-of is not before the first test as-of: "
            "the model has seen what was not known at the time of the prediction. Use split=backtest."
        )
        return AuditCheck(NAME, "fail", future, 0, message)
    late = [_late(subject, fold) for fold in subject.folds]
    worst = int(np.argmax(late))
    horizon = f"label window of {counted(subject.horizon_days, 'day')}" if subject.horizon_days else ""
    if late[worst] == 0:
        message = (
            f"In every fold, each training row's {horizon} ends by the first test as-of."
            if horizon
            else "In every fold, each training row is earlier than the first test row."
        )
        if subject.uses_partial and not subject.ignores_time:
            message += f" {_partial_text(subject)}"
        return AuditCheck(NAME, "pass", 0, 0, message)
    fold = subject.folds[worst]
    finding = f"In fold {fold.number}, {late[worst]:,} of {counted(len(fold.train), 'training row')}"
    if horizon:
        message = (
            f"{finding} {'has' if late[worst] == 1 else 'have'} a {horizon} that ends after the first test as-of: the "
            "model has seen outcomes that were not known at the time of the prediction, so its numbers are too good. "
            + ("Use split=backtest." if subject.ignores_time else "Set split.horizon_days to data.horizon_days.")
        )
        return AuditCheck(NAME, "fail", late[worst], 0, message)
    finding = f"{finding} {is_or_are(late[worst])} not earlier than the first test row"
    if subject.ignores_time:
        message = (
            f"{finding}, because the split ignores time: the model learns from rows that are later than its test rows, "
            "which is impossible in production. Use split=backtest."
        )
        return AuditCheck(NAME, "warn", late[worst], 0, message)
    message = (
        f"{finding}: the model has learned from rows that are not yet known at the time of the prediction, so its "
        "numbers are too good. Use split=backtest."
    )
    return AuditCheck(NAME, "fail", late[worst], 0, message)


def _late(subject: AuditSubject, fold: Fold) -> int:
    times = subject.panel.frame["as_of"].to_numpy()
    first = times[fold.test].min()
    window = np.timedelta64(subject.horizon_days, "D")
    known = times[fold.train] + window <= first if subject.horizon_days else times[fold.train] < first
    return int((~known).sum())


def _future(subject: AuditSubject, fold: Fold) -> int:
    """Return the number of partly known rows that are not earlier than the test rows."""
    times = subject.panel.frame["as_of"].to_numpy()
    return 0 if fold.as_of is None else int((times[fold.partial] >= times[fold.test].min()).sum())


def _partial_text(subject: AuditSubject) -> str:
    rows = np.mean([len(fold.partial) for fold in subject.folds])
    return (
        f"The model also learns from {counted(round(rows), 'later row')} a fold, from the intervals alone that end by "
        "that as-of."
    )
