"""Run directories: write, read, verify, list and compare; the only interface between training and serving."""

from mlsys.runs.catalog.listing import RunRow, list_runs
from mlsys.runs.manifest import Manifest
from mlsys.runs.reader import Run, find_run
from mlsys.runs.writer import RunWriter

__all__ = ["Manifest", "Run", "RunRow", "RunWriter", "find_run", "list_runs"]
