"""Groups: a split that is blind to time must not show the model the entities that it is tested on."""

from __future__ import annotations

import numpy as np

from mlsys.evaluation.audit.check import AuditCheck, listed
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.splits import Rows
from mlsys.text import counted

NAME = "groups"


def groups(subject: AuditSubject) -> AuditCheck:
    """Fail where rows of one group are in training and in test of one fold of a split that is blind to time."""
    if not subject.is_blind_to_time:
        reason = "the split is by time, where the same entity is rightly learned from early and tested later."
        return AuditCheck.not_applicable(NAME, reason)
    shared = {fold.number: _shared(subject, fold.train, fold.test) for fold in subject.folds}
    worst = max(shared, key=lambda number: len(shared[number]))
    count = len(shared[worst])
    if count == 0:
        message = "In every fold, training and test rows have no group in common. Nothing to do."
        return AuditCheck(NAME, "pass", 0, 0, message)
    _, first = np.unique(subject.groups, return_index=True)
    names = [str(name) for name in subject.panel.frame["group"].iloc[first[shared[worst]]]]
    message = (
        f"In fold {worst}, {counted(count, 'group')} with rows in both training and test ({listed(names)}): the "
        "model can recognise them instead of learning what they have in common. Use split=group_kfold, and name "
        "what must stay together in data.group."
    )
    return AuditCheck(NAME, "fail", count, 0, message)


def _shared(subject: AuditSubject, train: Rows, test: Rows) -> Rows:
    return np.intersect1d(subject.groups[train], subject.groups[test])
