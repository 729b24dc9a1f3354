"""Prediction log: the predictions that the service returned, for impact and drift reports."""

from pathlib import Path

from serve.predictions.errors import LogError, LogUnavailableError
from serve.predictions.log import PredictionLog
from serve.predictions.open_store import store_from_url
from serve.predictions.reader import read_predictions
from serve.predictions.remote import Log, RemoteLog
from serve.predictions.row import PredictionRow

__all__ = [
    "Log",
    "LogError",
    "LogUnavailableError",
    "PredictionLog",
    "PredictionRow",
    "RemoteLog",
    "create_log",
    "read_predictions",
]


def create_log(url: str | None, path: Path, *, durable: bool, features: bool, max_pending: int = 50_000) -> Log:
    """Return the log for an HTTP or batch worker: one that sends rows to the log worker, or one that is off.

    Parameters
    ----------
    url : str or None
        URL of the database, or None to log nothing.
    path : Path
        Socket of the log worker.
    durable, features : bool
        See `PredictionLog.open`.
    max_pending : int, default 50,000
        Maximum number of rows that may wait in this process.
    """
    if url is None:
        return PredictionLog.open(None)
    return RemoteLog(path, store_from_url(url).name, durable=durable, features=features, max_pending=max_pending)
