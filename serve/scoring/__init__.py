"""The model side of the service: loading, checking, encoding, scoring, explaining."""

from serve.scoring.problems import InvalidInput
from serve.scoring.reasons import Reason, Reasons
from serve.scoring.scorer import Many, Scored, Scorer

__all__ = ["InvalidInput", "Many", "Reason", "Reasons", "Scored", "Scorer"]
