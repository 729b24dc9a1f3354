"""The Hydra sweeper: a thin shell, because every start of every Hydra program loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


class MlsysOptunaSweeper(Sweeper):
    """One Optuna study, many workers, none of which waits for another.

    The keys are in conf/hydra/sweeper/mlsys_optuna.yaml; those of hydra-optuna-sweeper mean here what they mean there.
    Values are checked by `mlsys.sweep.settings.SweepSettings`.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - checked by SweepSettings
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep.

        Parameters
        ----------
        arguments : list of str
            The overrides of the command line.
        """
        from mlsys.sweep.preload import start_preloading

        assert self.hydra_context is not None
        assert self.config is not None
        start_preloading(self.config, self.settings)
        from mlsys.sweep.run import run_sweep

        run_sweep(self.settings, self.hydra_context, self.task_function, self.config, arguments)
