"""Serves a run directory over HTTP: ``python -m serve RUN``. It imports nothing that trains."""
