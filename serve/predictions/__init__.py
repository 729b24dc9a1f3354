"""The prediction log: what the service answered, kept for later impact and drift."""

from serve.predictions.errors import LogError, LogUnavailable
from serve.predictions.log import PredictionLog
from serve.predictions.reader import read_predictions
from serve.predictions.row import Row

__all__ = ["LogError", "LogUnavailable", "PredictionLog", "Row", "read_predictions"]
