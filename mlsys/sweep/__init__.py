"""Sweeps: one Optuna study, and workers that never wait for each other; see docs/sweeps.md."""

from mlsys.sweep.trial_context import CurrentTrial, current_trial

__all__ = ["CurrentTrial", "current_trial"]
