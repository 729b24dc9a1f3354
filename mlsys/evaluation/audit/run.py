"""Run all checks of the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlsys.evaluation.audit.check import AuditCheck, worst
from mlsys.evaluation.audit.dates import dates
from mlsys.evaluation.audit.duplicates import duplicates
from mlsys.evaluation.audit.embargo import embargo
from mlsys.evaluation.audit.forbidden import forbidden_columns
from mlsys.evaluation.audit.groups import groups
from mlsys.evaluation.audit.missingness import missingness
from mlsys.evaluation.audit.placebo import label_placebo
from mlsys.evaluation.audit.single_feature import single_feature
from mlsys.evaluation.audit.subject import AuditSubject
from mlsys.evaluation.audit.time_travel import time_travel
from mlsys.evaluation.audit.too_good import too_good
from mlsys.evaluation.audit.treatment import treatment
from mlsys.stages import progress

if TYPE_CHECKING:
    from mlsys.config import AuditConfig


def run_audit(subject: AuditSubject, config: AuditConfig) -> dict[str, Any]:
    """Audit a run for leakage.

    Parameters
    ----------
    subject : AuditSubject
        The run to audit.
    config : AuditConfig
        Settings; ``mode=full`` adds the label placebo, which refits every fold.

    Returns
    -------
    dict
        Content of audit.json: ``checks``, and as ``status`` the most severe status of a check.
    """
    thresholds = config.thresholds
    run: list[Callable[[], AuditCheck]] = [
        lambda: time_travel(subject, sample=config.sample),
        lambda: dates(subject),
        lambda: embargo(subject),
        lambda: groups(subject),
        lambda: single_feature(subject, limit=thresholds.single_feature_auc),
        lambda: forbidden_columns(subject),
        lambda: duplicates(subject, limit=thresholds.duplicate_fraction),
        lambda: missingness(subject, limit=thresholds.missingness_gap),
        lambda: too_good(subject, auc=thresholds.too_good_auc, odds=thresholds.too_good_odds),
    ]
    if (assigned := subject.panel.treatment) is not None:
        run.append(lambda: treatment(subject, assigned))
    if config.mode == "full":
        run.append(lambda: label_placebo(subject))
    checks: list[AuditCheck] = []
    with progress("audit", len(run), "checks") as advance:
        for check in run:
            checks.append(check())
            advance()
    return {"status": worst(check.status for check in checks), "checks": [check.to_dict() for check in checks]}
