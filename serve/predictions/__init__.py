"""The prediction log: what the service answered, kept for later impact and drift."""

from pathlib import Path

from serve.predictions.errors import LogError, LogUnavailable
from serve.predictions.log import PredictionLog
from serve.predictions.open_store import store_from_url
from serve.predictions.reader import read_predictions
from serve.predictions.remote import Log, RemoteLog
from serve.predictions.row import Row

__all__ = ["Log", "LogError", "LogUnavailable", "PredictionLog", "RemoteLog", "Row", "log_of", "read_predictions"]


def log_of(url: str | None, path: Path, *, durable: bool, features: bool, max_pending: int = 50_000) -> Log:
    """Return the log of a process that answers: one that hands rows over, or one that keeps none.

    Parameters
    ----------
    url : str or None
        Of the database.
    path : Path
        The socket of the process that writes.
    durable, features : bool
        As for `PredictionLog.open`.
    max_pending : int, default 50,000
        Rows that may wait here.
    """
    if url is None:
        return PredictionLog.open(None)
    return RemoteLog(path, store_from_url(url).name, durable=durable, features=features, max_pending=max_pending)
