"""Models loaded by a process, and swapping them."""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from mlsys.errors import MlsysError, RunError
from serve.model_reference import ResolvedModel
from serve.scoring import Scorer
from serve.shared_state import Models

logger = logging.getLogger(__name__)


class LoadedModel:
    """A loaded model with the constant parts of its JSON responses.

    Attributes
    ----------
    resolved : ResolvedModel
    scorer : Scorer
    info : dict of str to str
        Name, version and run, as in responses.
    loaded_at : str
        Time of loading, ISO 8601 in UTC.
    load_seconds : float
    """

    def __init__(self, resolved: ResolvedModel, scorer: Scorer, load_seconds: float) -> None:
        self.resolved = resolved
        self.scorer = scorer
        self.load_seconds = load_seconds
        self.loaded_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.info = resolved.info
        model_json = json.dumps(self.info, separators=(",", ":")).encode()
        threshold = json.dumps(scorer.threshold).encode()
        self.negative_json = b',"decision":false,"threshold":' + threshold + b',"warnings":'
        self.positive_json = b',"decision":true,"threshold":' + threshold + b',"warnings":'
        self.outputs_json = [b",%b:" % json.dumps(name).encode() for name in scorer.outputs]
        self.tail_json = b',"model":' + model_json + b',"request_id":"'

    @classmethod
    def load(cls, resolved: ResolvedModel) -> Self:
        """Load a run and check that it reproduces its golden rows.

        Raises
        ------
        MlsysError
            If the run is corrupt, not trusted, or does not reproduce them.
        """
        started = time.perf_counter()
        try:
            scorer = Scorer.load(Path(resolved.path))
        except MlsysError:
            raise
        except Exception as error:  # whatever a library raises for a model, the service must know that it cannot load
            logger.debug("cannot load %s", resolved.path, exc_info=True)
            raise RunError(_unforeseen(resolved, error)) from error
        return cls(resolved, scorer, time.perf_counter() - started)

    @property
    def schema(self) -> dict[str, Any]:
        """Contents of the run's schema.json."""
        return self.scorer.schema

    @property
    def version(self) -> str:
        """Registered version, or the short digest of an unregistered run."""
        return self.resolved.version


def _unforeseen(resolved: ResolvedModel, error: Exception) -> str:
    """Return the reason why a model cannot be loaded, in one line."""
    *_, place = traceback.extract_tb(error.__traceback__)
    reason = " ".join(str(error).split())[:500]
    return (
        f"Cannot load the model of {resolved.path}: {type(error).__name__}: {reason} ({Path(place.filename).name}, "
        f"line {place.lineno}). Train it again, or report this with what --log-level debug prints."
    )


class ModelSlot:
    """The models in use. A request reads `champion` once and keeps it; a swap is one assignment.

    Parameters
    ----------
    models : Models
        Models to load first.
    on_swap : callable
        Called with each new champion.

    Attributes
    ----------
    champion : LoadedModel
    shadow : LoadedModel or None
    swapping : lock
        Held while models are loaded and swapped.
    last_failure : dict or None
        Time, reference and version of the latest failed swap; the log has the reason.
    """

    def __init__(self, models: Models, on_swap: Callable[[LoadedModel], None]) -> None:
        self._on_swap = on_swap
        self.swapping = threading.RLock()  # one swap at a time: each needs memory for two models
        self.last_failure: dict[str, str] | None = None
        self.swaps = self.failures = 0
        self.champion = LoadedModel.load(models.champion)
        self.shadow = self._load_shadow(models.shadow)
        on_swap(self.champion)

    @property
    def models(self) -> Models:
        """The models being served."""
        return Models(self.champion.resolved, self.shadow.resolved if self.shadow else None)

    def swap(self, models: Models, confirm: Callable[[], bool] = lambda: True) -> bool:
        """Load and check other models, then serve them; the current ones answer until then.

        Parameters
        ----------
        models : Models
        confirm : callable
            Called once they are loaded; if it returns False, the current ones stay.

        Returns
        -------
        bool
            Whether anything changed.

        Raises
        ------
        MlsysError
            If the new champion cannot be served; the current one stays.
        """
        with self.swapping:
            current, champion, shadow = self.models, self.champion, self.shadow
            if models.champion != current.champion:
                champion = self._load_champion(models.champion)
            if models.shadow != current.shadow:
                shadow = self._load_shadow(models.shadow)
            if not confirm():
                return False
            self.shadow = shadow
            if champion is not self.champion:
                self._install(champion)
            return self.models != current

    def _load_champion(self, resolved: ResolvedModel) -> LoadedModel:
        same = (self.champion.resolved.path, self.champion.resolved.version) == (resolved.path, resolved.version)
        try:
            return LoadedModel(resolved, self.champion.scorer, 0.0) if same else LoadedModel.load(resolved)
        except MlsysError as error:
            self.failures += 1
            self.last_failure = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "reference": resolved.reference,
                "version": resolved.version,
            }
            logger.error("the swap failed; still serving %s: %s", self.champion.version, error)  # noqa: TRY400 - no traceback
            raise

    def _install(self, loaded: LoadedModel) -> None:
        self.champion = loaded
        self.swaps += 1
        self._on_swap(loaded)
        logger.info("serving %s %s (%s)", loaded.resolved.name, loaded.resolved.version, loaded.scorer.path)

    def _load_shadow(self, resolved: ResolvedModel | None) -> LoadedModel | None:
        """Load the shadow model; the champion is served even if that fails."""
        if resolved is None:
            return None
        try:
            return LoadedModel.load(resolved)
        except MlsysError as error:
            logger.error("cannot load the shadow %s %s: %s", resolved.name, resolved.version, error)  # noqa: TRY400 - no traceback
            return None
