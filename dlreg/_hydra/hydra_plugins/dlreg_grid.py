"""Hydra 1.3 takes a sweeper only from this namespace package; the work is in `dlreg.study.sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from dlreg.report.question import Question


class GridSweeper(Sweeper):
    """The grid over comma-separated values, without what is finished and without what makes no difference."""

    launcher: Launcher
    config: DictConfig
    question: Question | None = None  # what the table at the end asks, and by how many seeds; `dlreg train` sets it

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra hands over its parts."""
        self.loader, self.config = hydra_context.config_loader, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the grid that the overrides describe."""
        from dlreg.study.sweep import sweep  # torch comes with it; Hydra imports this file at every start

        sweep(arguments, self.loader, self.config, self.launcher, self.question)
