"""The leakage audit: checks of every run for signs that its numbers are too good to be true."""

from mlsys.evaluation.audit.check import AuditCheck
from mlsys.evaluation.audit.run import run_audit
from mlsys.evaluation.audit.subject import AuditSubject

__all__ = ["AuditCheck", "AuditSubject", "run_audit"]
