"""The check of how the treatment was assigned."""

from dataclasses import replace

import numpy as np
import pytest

from mlsys.config import AuditConfig
from mlsys.data.panel import Treatment
from mlsys.evaluation.audit import run_audit
from mlsys.evaluation.audit.treatment import treatment

from .subjects import flat, leads

CALLED = Treatment("called", "yes", "no", ("yes", "no"))


def subject(called, **features):
    return flat(leads(count=len(called), called=np.where(called, "yes", "no"), **features))


def random(count=600, seed=1):
    return np.random.default_rng(seed).random(count) < 0.4


def test_a_treatment_at_random_passes():
    check = treatment(subject(random()), CALLED)
    assert (check.status, check.name) == ("pass", "treatment")
    assert check.value == pytest.approx(0.5, abs=0.08)
    assert "do not predict who was treated (ROC-AUC 0." in check.message


def test_at_random_it_rarely_warns():
    checks = [treatment(subject(random(seed=seed)), CALLED) for seed in range(8)]
    assert sum(check.status == "warn" for check in checks) <= 1


@pytest.mark.parametrize("by", ["size", "source"])
def test_a_treatment_by_a_column_warns(by):
    frame = leads()
    preferred = frame["size"] > 0 if by == "size" else frame["source"] == "web"
    called = random() & (preferred | (np.arange(600) % 3 == 0))
    check = treatment(subject(called), CALLED)
    assert check.status == "warn"
    assert check.value > 0.6
    assert "so it was not assigned at random" in check.message
    assert "set model.propensity" in check.message


def test_rows_of_a_group_are_not_independent():
    groups, draws = np.arange(600) // 100, random(6, seed=4)
    made = subject(draws[groups], company=groups.astype(float))
    frame = made.panel.frame.assign(group=groups)
    check = treatment(replace(made, panel=replace(made.panel, frame=frame)), CALLED)
    assert check.status == "pass"


def test_one_arm_is_too_small_to_tell():
    called = np.zeros(600, dtype=bool)
    called[:3] = True
    check = treatment(subject(called), CALLED)
    assert check.value is None
    assert check.message.startswith("Does not apply: there are too few")


def test_only_runs_with_a_treatment_have_the_check():
    made, config = subject(random()), AuditConfig(mode="light", sample=40)
    assert "treatment" not in [check["name"] for check in run_audit(made, config)["checks"]]
    treated = replace(made, panel=replace(made.panel, treatment=CALLED))
    assert run_audit(treated, config)["checks"][-1]["name"] == "treatment"
