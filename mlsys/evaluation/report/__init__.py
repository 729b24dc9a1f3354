"""Presentation of a run: terminal summary, model card, plots and HTML report."""
