"""Watch the registry for moved aliases."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from mlsys.errors import MlsysError
from serve.model_reference import resolve_model, shadow_reference
from serve.settings import Settings
from serve.shared_state import Models, SharedState

logger = logging.getLogger(__name__)

IDLE = 3600.0  # seconds


def resolve_models(settings: Settings) -> Models:
    """Resolve the references in the settings to models.

    Raises
    ------
    MlsysError
        If a reference cannot be resolved.
    """
    registry = Path(settings.registry)
    champion = resolve_model(settings.run, registry)
    if settings.shadow is None:
        return Models(champion)
    return Models(champion, resolve_model(shadow_reference(settings.shadow, settings.run), registry))


class AliasWatcher:
    """Request other models when a reference resolves to another run than at the last check.

    A version requested by POST /model/reload therefore stays until the alias moves.

    Parameters
    ----------
    settings : Settings
    shared_state : SharedState
    models : Models
        Models that the references resolve to now.
    """

    def __init__(self, settings: Settings, shared_state: SharedState, models: Models) -> None:
        self.interval = settings.poll_interval if settings.follow else IDLE
        self._settings = settings
        self._shared_state = shared_state
        self._last = models
        self._next_check = time.monotonic() + self.interval
        self._last_error = ""

    def poll(self, *, now: bool = False) -> None:
        """Check the references if a check is due, or at once."""
        if not now and time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + self.interval
        try:
            models = resolve_models(self._settings)
        except MlsysError as error:
            if str(error) != self._last_error:  # the same error is logged once
                logger.error("cannot check the model references; keeping the current models: %s", error)  # noqa: TRY400 - no traceback
            self._last_error = str(error)
            return
        self._last_error = ""
        if models != self._last or now:
            self._last = models
            self._shared_state.request(models)
