from dataclasses import replace

import numpy as np

from mlsys.evaluation.audit.groups import groups

from .subjects import accounts, audited, flat, leads


def test_group_kfold_passes():
    frame = leads(count=300, group=np.arange(300) // 3)
    check = groups(flat(frame))
    assert (check.status, check.value) == ("pass", 0)


def test_a_group_on_both_sides_fails_and_is_named():
    frame = leads(count=300, group=[f"team {number // 3}" for number in range(300)])
    folds = list(flat(frame).folds)
    folds[2] = replace(folds[2], train=np.append(folds[2].train, folds[2].test[:1]))
    check = groups(audited(frame, folds=folds))
    assert (check.status, check.value) == ("fail", 1)
    assert frame["group"][folds[2].test[0]] in check.message
    assert "In fold 2, 1 group has" in check.message


def test_several_groups_on_both_sides_are_counted():
    frame = leads(count=300)
    folds = list(flat(frame).folds)
    folds[0] = replace(folds[0], train=np.append(folds[0].train, folds[0].test[:2]))
    check = groups(audited(frame, folds=folds))
    assert (check.status, check.value) == ("fail", 2)
    assert "In fold 0, 2 groups have rows in both" in check.message


def test_splits_by_time_may_repeat_entities():
    check = groups(audited(accounts()))
    assert (check.status, check.value) == ("pass", None)
