"""Errors of the prediction log."""

from __future__ import annotations

from mlsys.errors import MlsysError


class LogError(MlsysError):
    """The prediction log cannot be used as configured: invalid URL, foreign table, or newer version."""


class LogUnavailableError(MlsysError):
    """The database of the prediction log cannot be written or read at the moment; retrying may help."""


class RowRejectedError(MlsysError):
    """The database rejects a row; retrying will not help."""
