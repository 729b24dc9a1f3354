"""The Hydra sweeper plugin: a thin wrapper, because every Hydra program imports it at startup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


class MlsysOptunaSweeper(Sweeper):
    """Asynchronous Optuna sweeper: one study, and workers that never wait for each other.

    conf/hydra/sweeper/mlsys_optuna.yaml lists the keys; hydra-optuna-sweeper's keys keep their meaning.
    `mlsys.sweep.settings.SweepSettings` checks the values.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - checked by SweepSettings
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store Hydra's context, task function and config."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep.

        Parameters
        ----------
        arguments : list of str
            Command-line overrides.
        """
        from mlsys.sweep.preload import start_preloading

        assert self.hydra_context is not None
        assert self.config is not None
        start_preloading(self.config, self.settings)
        from mlsys.sweep.run import run_sweep

        run_sweep(self.settings, self.hydra_context, self.task_function, self.config, arguments)
