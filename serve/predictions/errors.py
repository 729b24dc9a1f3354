"""What can go wrong with a prediction log."""

from __future__ import annotations

from mlsys.errors import MlsysError


class LogError(MlsysError):
    """A prediction log cannot be used as it was asked for: a wrong URL, a table that is not ours, a newer version."""


class LogUnavailable(MlsysError):  # noqa: N818 - what it says of the log: try again
    """The database of a prediction log cannot be written or read at the moment."""


class RowRefusedError(MlsysError):
    """A row that no retry will bring into the database."""
