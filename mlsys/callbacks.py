"""Hydra callbacks: what happens around jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

if TYPE_CHECKING:
    from omegaconf import DictConfig


class SweepFolder(Callback):
    """Ends a grid by naming its directory, in the last line, where scripts look for it."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401, ARG002 - Hydra's signature
        """Print the sweep directory."""
        sys.stdout.write(f"{Path(config.hydra.sweep.dir).absolute()}\n")
