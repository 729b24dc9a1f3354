"""State that the processes of one service share in a private folder: the requested models and the loaded ones."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from serve.model_reference import ResolvedModel

REQUESTED, LOADED = "requested.json", "loaded.json"
TICKET, LOCK = "ticket", "ticket.lock"


@dataclass(frozen=True)
class Models:
    """The champion, which answers requests, and the optional shadow, which is scored and logged only."""

    champion: ResolvedModel
    shadow: ResolvedModel | None = None


class SharedState:
    """Folder that the processes share; writes are atomic renames, so readers never see a partial file.

    Parameters
    ----------
    folder : Path
        Folder used by this service only and closed to other users.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def batch_socket(self) -> Path:
        """Socket of the batch workers."""
        return self.folder / "batch.sock"

    @property
    def log_socket(self) -> Path:
        """Socket of the log worker."""
        return self.folder / "log.sock"

    def take_ticket(self) -> int:
        """Return the number of a request for models; a later one has a larger number, in whichever process."""
        with self._lock():
            return self._next_ticket()

    def request(self, models: Models, ticket: int | None = None) -> bool:
        """Request that all processes serve these models, unless a later request has been made meanwhile.

        Parameters
        ----------
        models : Models
        ticket : int, optional
            Number of this request, from `take_ticket`; by default it is the latest.

        Returns
        -------
        bool
            Whether these are the requested models now.
        """
        with self._lock():
            if ticket is None:
                ticket = self._next_ticket()
            elif ticket < self.requested_ticket():
                return False
            self._write(REQUESTED, models, ticket)
            return True

    def requested_ticket(self) -> int:
        """Return the number of the request for the requested models."""
        ticket: int = json.loads((self.folder / REQUESTED).read_text(encoding="utf-8"))["ticket"]
        return ticket

    def requested(self) -> Models:
        """Return the models that all processes should serve."""
        return self._read(REQUESTED)

    def stamp(self) -> tuple[int, int]:
        """Return a value that changes with each `request`; cheap enough to poll four times a second."""
        status = (self.folder / REQUESTED).stat()
        return status.st_ino, status.st_mtime_ns

    def set_loaded(self, models: Models) -> None:
        """Record that a process has loaded these models."""
        self._write(LOADED, models)

    def last_loaded(self) -> Models | None:
        """Return the models that were loaded last, or None if no process has loaded any."""
        return self._read(LOADED) if (self.folder / LOADED).exists() else None

    def _lock(self) -> FileLock:
        return FileLock(self.folder / LOCK)

    def _next_ticket(self) -> int:
        path = self.folder / TICKET
        ticket = int(path.read_text(encoding="utf-8")) + 1 if path.exists() else 1
        path.write_text(str(ticket), encoding="utf-8")
        return ticket

    def _write(self, name: str, models: Models, ticket: int = 0) -> None:
        shadow = models.shadow and models.shadow.to_dict()
        temporary = self.folder / f".{name}.{os.getpid()}.{threading.get_ident()}"
        state = {"champion": models.champion.to_dict(), "shadow": shadow, "ticket": ticket}
        temporary.write_text(json.dumps(state), encoding="utf-8")
        temporary.replace(self.folder / name)

    def _read(self, name: str) -> Models:
        state: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        shadow = state["shadow"]
        return Models(ResolvedModel(**state["champion"]), ResolvedModel(**shadow) if shadow else None)
