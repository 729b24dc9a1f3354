"""The report of a sweep: summary, plots and one HTML page."""
