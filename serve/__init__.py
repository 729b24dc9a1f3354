"""Serve a run directory over HTTP: ``python -m serve RUN``. Nothing here imports training code."""
