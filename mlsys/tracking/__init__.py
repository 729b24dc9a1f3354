"""Trackers: where metrics and files go beside the run directory."""

from mlsys.tracking.base import NoTracker, Tracker

__all__ = ["NoTracker", "Tracker"]
