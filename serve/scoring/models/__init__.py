"""Scoring of each library's fitted models without the library's Python API."""
