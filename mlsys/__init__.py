"""Honest experiments, fast: point-in-time correct, audited, replayable conversion models on tables."""

__version__ = "0.1.0"
