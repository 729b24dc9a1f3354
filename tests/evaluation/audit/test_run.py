import json
from datetime import date

import numpy as np
import pytest

from mlsys.config import AuditConfig
from mlsys.errors import DataError
from mlsys.evaluation.audit import AuditSubject, run_audit
from mlsys.evaluation.splits import GroupKFold
from mlsys.features import WholeHistory

from .blocks import RECENCY, USAGE, Company
from .subjects import accounts, audited, flat, leads

LIGHT, FULL = AuditConfig(mode="light", sample=40), AuditConfig(mode="full", sample=40)
NAMES = [
    "time_travel",
    "dates",
    "embargo",
    "groups",
    "single_feature",
    "forbidden_columns",
    "duplicates",
    "missingness",
    "too_good",
]


def statuses(audit):
    return {check["name"]: check["status"] for check in audit["checks"]}


def refit(panel, folds):
    return np.concatenate([panel.frame["activity"].to_numpy()[fold.test] for fold in folds])


def test_a_clean_run_passes_every_check(shop):
    audit = run_audit(shop.subject([USAGE, RECENCY, Company()], refit=refit), FULL)
    assert audit["status"] == "pass"
    assert statuses(audit) == dict.fromkeys([*NAMES, "label_placebo"], "pass")
    assert json.loads(json.dumps(audit, allow_nan=False)) == audit
    assert all(list(check) == ["name", "status", "value", "limit", "message"] for check in audit["checks"])
    assert all(check["message"].endswith(".") for check in audit["checks"])


def test_only_the_full_audit_refits():
    def refit(panel, folds):
        raise AssertionError("the light audit must not fit")

    audit = run_audit(audited(accounts(), refit=refit), LIGHT)
    assert [check["name"] for check in audit["checks"]] == NAMES


def test_a_clean_flat_table_passes():
    audit = run_audit(flat(leads(), refit=lambda panel, folds: np.zeros(len(panel.frame))), FULL)
    assert audit["status"] == "pass"


def test_the_classic_leakage_mistake_fails(shop):
    subject = shop.subject(
        [WholeHistory(["actions", "users"])],
        as_ofs=[date(2020, 1, 13)],
        horizon_days=190,  # "is ever a customer"
        split=GroupKFold(folds=3),
    )
    audit = run_audit(subject, LIGHT)
    assert audit["status"] == "fail"
    found = statuses(audit)
    assert (found["time_travel"], found["embargo"]) == ("fail", "fail")


def test_the_same_run_gives_the_same_audit(shop):
    first, second = (run_audit(shop.subject([USAGE], refit=refit), FULL) for _ in range(2))
    assert first == second


def test_a_wrong_number_of_predictions_is_an_error():
    subject = audited(accounts())
    facts = {name: getattr(subject, name) for name in AuditSubject.__dataclass_fields__}
    with pytest.raises(DataError, match=r"got 1 prediction for \d+ test rows in 3 folds"):
        AuditSubject(**facts | {"predictions": subject.predictions.iloc[:1]})


def test_thresholds_come_from_the_config():
    frame = accounts()
    strict = AuditConfig(mode="light", thresholds={"single_feature_auc": 0.6})
    found = [statuses(run_audit(audited(frame), config))["single_feature"] for config in (LIGHT, strict)]
    assert found == ["pass", "fail"]
