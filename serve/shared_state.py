"""What the processes of one service tell each other, in a private folder: which models are wanted, which are good."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.model_reference import ResolvedModel

WANTED, GOOD = "wanted.json", "good.json"


@dataclass(frozen=True)
class Models:
    """The model that answers, and the one that is scored silently beside it."""

    champion: ResolvedModel
    shadow: ResolvedModel | None = None


class SharedState:
    """The folder that the processes share; every change is a rename, so that no reader sees half of one.

    Parameters
    ----------
    folder : Path
        Of this service alone, closed to other users.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def batch_socket(self) -> Path:
        """Where batch workers listen."""
        return self.folder / "batch.sock"

    @property
    def log_socket(self) -> Path:
        """Where the process listens that writes the prediction log."""
        return self.folder / "log.sock"

    def want(self, models: Models) -> None:
        """Ask all processes to serve these models."""
        self._write(WANTED, models)

    def wanted(self) -> Models:
        """Return the models that all processes should serve."""
        return self._read(WANTED)

    def stamp(self) -> tuple[int, int]:
        """Return what differs after each `want`; cheap enough to ask four times a second."""
        status = (self.folder / WANTED).stat()
        return status.st_ino, status.st_mtime_ns

    def is_good(self, models: Models) -> None:
        """Remember that a process serves these models."""
        self._write(GOOD, models)

    def good(self) -> Models | None:
        """Return the models that were loaded last, None if none was yet."""
        return self._read(GOOD) if (self.folder / GOOD).exists() else None

    def _write(self, name: str, models: Models) -> None:
        shadow = models.shadow and models.shadow.to_dict()
        part = self.folder / f".{name}.{os.getpid()}"
        part.write_text(json.dumps({"champion": models.champion.to_dict(), "shadow": shadow}), encoding="utf-8")
        part.replace(self.folder / name)

    def _read(self, name: str) -> Models:
        found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        shadow = found["shadow"]
        return Models(ResolvedModel(**found["champion"]), ResolvedModel(**shadow) if shadow else None)
