"""What a tracker is, and the one that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol


class Tracker(Protocol):
    """Follows one run; the run directory stays the record, whatever a tracker does."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Begin: the run directory and the resolved config."""
        ...

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Take metrics in the shape of metrics.json."""
        ...

    def log_files(self, folder: Path) -> None:
        """Take the run directory's files."""
        ...

    def finish(self, status: Literal["complete", "failed"]) -> None:
        """End."""
        ...


class NoTracker:
    """Tracks nothing."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log_files(self, folder: Path) -> None:
        """Do nothing."""

    def finish(self, status: Literal["complete", "failed"]) -> None:
        """Do nothing."""
