"""The model side of the service: loads models; checks, encodes, scores and explains records."""

from serve.scoring.fields import NotLoadedError
from serve.scoring.problems import InvalidInput
from serve.scoring.reasons import Reason, Reasons
from serve.scoring.scorer import BatchResult, Prediction, Scorer

__all__ = ["BatchResult", "InvalidInput", "NotLoadedError", "Prediction", "Reason", "Reasons", "Scorer"]
