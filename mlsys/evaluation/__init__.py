"""What is measured: splits, metrics, intervals, the audit, plots and pages."""
