"""Serves a run directory over HTTP."""
