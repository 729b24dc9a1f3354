"""The model side of the service: loading, checking, encoding, scoring, explaining."""

from serve.scoring.problems import InvalidInput
from serve.scoring.scorer import Many, Scored, Scorer

__all__ = ["InvalidInput", "Many", "Scored", "Scorer"]
