"""Trackers: show runs in W&B or MLflow; the run directory stays the record."""

from mlsys.tracking.base import MultiTracker, NoTracker, Tracker
from mlsys.tracking.mlflow_tracker import MlflowTracker
from mlsys.tracking.wandb_tracker import WandbTracker

__all__ = ["MlflowTracker", "MultiTracker", "NoTracker", "Tracker", "WandbTracker"]
