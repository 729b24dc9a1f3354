"""What people read of a run: terminal, card, plots and the HTML report."""
