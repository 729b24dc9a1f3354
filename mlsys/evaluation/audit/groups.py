"""Groups: in a split that ignores time, training and test rows must not share entities."""

from __future__ import annotations

import numpy as np

from mlsys.evaluation.audit.check import AuditCheck, listed
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.splits import Rows
from mlsys.text import counted

NAME = "groups"


def groups(subject: AuditSubject) -> AuditCheck:
    """Fail if a split that ignores time has rows of one group in both training and test of a fold."""
    if not subject.ignores_time:
        reason = "in a split by time, an entity may be in training at first and in test later."
        return AuditCheck.not_applicable(NAME, reason)
    shared = {fold.number: _shared(subject, fold.train, fold.test) for fold in subject.folds}
    worst = max(shared, key=lambda number: len(shared[number]))
    count = len(shared[worst])
    if count == 0:
        message = "In every fold, training and test rows share no group."
        return AuditCheck(NAME, "pass", 0, 0, message)
    _, first = np.unique(subject.groups, return_index=True)
    names = [str(name) for name in subject.panel.frame["group"].iloc[first[shared[worst]]]]
    message = (
        f"In fold {worst}, {counted(count, 'group')} {'has' if count == 1 else 'have'} rows in both training and test "
        f"({listed(names)}): the model can recognise these groups instead of generalising. Use split=group_kfold, and "
        "set data.group to the column whose rows must stay together."
    )
    return AuditCheck(NAME, "fail", count, 0, message)


def _shared(subject: AuditSubject, train: Rows, test: Rows) -> Rows:
    return np.intersect1d(subject.groups[train], subject.groups[test])
