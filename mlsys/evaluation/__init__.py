"""Evaluation: splits, metrics, intervals, the leakage audit, plots and reports."""
