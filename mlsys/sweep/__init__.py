"""Sweeps: one Optuna study, many workers, none of which waits for another; see docs/sweeps.md."""

from mlsys.sweep.trial_context import CurrentTrial, current_trial

__all__ = ["CurrentTrial", "current_trial"]
