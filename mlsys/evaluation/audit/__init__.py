"""The leakage audit: every run asks itself whether its numbers can be true."""

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.run import run_audit
from mlsys.evaluation.audit.subject import AuditSubject

__all__ = ["AuditCheck", "AuditSubject", "run_audit"]
