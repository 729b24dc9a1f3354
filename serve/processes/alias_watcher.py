"""Where the served references lead, looked at again and again."""

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


def find_models(settings: Settings) -> Models:
    """Return the models that the settings refer to at this moment.

    Raises
    ------
    MlsysError
        If one is not there.
    """
    registry = Path(settings.registry)
    champion = resolve_model(settings.run, registry)
    if settings.shadow is None:
        return Models(champion)
    return Models(champion, resolve_model(shadow_reference(settings.shadow, settings.run), registry))


class AliasWatcher:
    """Asks for other models when a reference leads to another run than when it was looked at last.

    A version that was asked for by POST /model/reload therefore stays until the alias moves.

    Parameters
    ----------
    settings : Settings
    control : SharedState
    models : Models
        Where the references lead now.
    """

    def __init__(self, settings: Settings, control: SharedState, models: Models) -> None:
        self.every = settings.poll_interval if settings.follow else IDLE
        self._settings = settings
        self._control = control
        self._last = models
        self._next = time.monotonic() + self.every
        self._trouble = ""

    def look(self, *, now: bool = False) -> None:
        """Look if it is time to, or at once."""
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.every
        try:
            models = find_models(self._settings)
        except MlsysError as error:
            if str(error) != self._trouble:  # the same trouble is said once
                logger.error("the models stay as they are: %s", error)  # noqa: TRY400 - no traceback
            self._trouble = str(error)
            return
        self._trouble = ""
        if models != self._last or now:
            self._last = models
            self._control.want(models)
