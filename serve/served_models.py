"""The models that a process serves, and how they are swapped."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from mlsys.errors import MlsysError
from serve.model_reference import ResolvedModel
from serve.scoring import Scorer
from serve.shared_state import Models

logger = logging.getLogger(__name__)


class LoadedModel:
    """A loaded model, with the parts of its answers that never change.

    Attributes
    ----------
    target : ResolvedModel
    scorer : Scorer
    loaded : str
        When, as ISO 8601 in UTC.
    seconds : float
        How long it took.
    """

    def __init__(self, target: ResolvedModel, scorer: Scorer, seconds: float) -> None:
        self.target = target
        self.scorer = scorer
        self.seconds = seconds
        self.loaded = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.model = {"name": target.name, "version": target.version, "run": target.run}
        self.model_json = json.dumps(self.model, separators=(",", ":")).encode()
        threshold = json.dumps(scorer.threshold).encode()
        self.no = b',"decision":false,"threshold":' + threshold + b',"warnings":'
        self.yes = b',"decision":true,"threshold":' + threshold + b',"warnings":'
        self.tail = b',"model":' + self.model_json + b',"request_id":"'

    @classmethod
    def load(cls, target: ResolvedModel) -> Self:
        """Load a run and let it reproduce its golden rows.

        Raises
        ------
        MlsysError
            If it is damaged, not trusted or does not reproduce them.
        """
        started = time.perf_counter()
        scorer = Scorer.load(Path(target.path))
        return cls(target, scorer, time.perf_counter() - started)

    @property
    def schema(self) -> dict[str, Any]:
        """Content of the run's schema.json."""
        return self.scorer.schema

    @property
    def version(self) -> str:
        """The registered version, or what stands for it."""
        return self.target.version


class ModelSlot:
    """The models in use. A request takes `champion` once and keeps it; a swap is one assignment.

    Parameters
    ----------
    models : Models
        What to serve first.
    on_swap : callable
        Gets each champion when it begins to answer.

    Attributes
    ----------
    champion : LoadedModel
    shadow : LoadedModel or None
    last_failure : dict or None
        The latest swap that failed: when, and what was wanted; the log says why. What answered before went on.
    """

    def __init__(self, models: Models, on_swap: Callable[[LoadedModel], None]) -> None:
        self._on_swap = on_swap
        self._loading = threading.Lock()  # one at a time: each takes memory for two models
        self.last_failure: dict[str, str] | None = None
        self.swaps = self.failures = 0
        self.champion = LoadedModel.load(models.champion)
        self.shadow = self._load_shadow(models.shadow)
        on_swap(self.champion)

    @property
    def models(self) -> Models:
        """What is served now."""
        return Models(self.champion.target, self.shadow.target if self.shadow else None)

    def swap(self, models: Models) -> bool:
        """Serve other models; those in use answer until the new ones are loaded and checked.

        Returns
        -------
        bool
            Whether anything changed.

        Raises
        ------
        MlsysError
            If the new champion cannot be served; the old one stays.
        """
        with self._loading:
            before = self.models
            if models.champion != before.champion:
                self._swap_champion(models.champion)
            if models.shadow != before.shadow:
                self.shadow = self._load_shadow(models.shadow)
            return self.models != before

    def _swap_champion(self, target: ResolvedModel) -> None:
        same = (self.champion.target.path, self.champion.target.version) == (target.path, target.version)
        try:
            loaded = LoadedModel(target, self.champion.scorer, 0.0) if same else LoadedModel.load(target)
        except MlsysError as error:
            self.failures += 1
            self.last_failure = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "reference": target.reference,
                "version": target.version,
            }
            logger.error("the model stays %s: %s", self.champion.version, error)  # noqa: TRY400 - no traceback
            raise
        self.champion = loaded
        self.swaps += 1
        self._on_swap(loaded)
        logger.info("serving %s %s (%s)", target.name, target.version, loaded.scorer.path)

    def _load_shadow(self, target: ResolvedModel | None) -> LoadedModel | None:
        """Load the silent model; without one the champion answers all the same."""
        if target is None:
            return None
        try:
            return LoadedModel.load(target)
        except MlsysError as error:
            logger.error("no shadow %s %s: %s", target.name, target.version, error)  # noqa: TRY400 - no traceback
            return None
