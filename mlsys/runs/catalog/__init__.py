"""Runs found, indexed, filtered and listed."""
