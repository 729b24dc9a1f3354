"""Serves a run directory over HTTP; the package is reserved, the service comes in a later release."""
