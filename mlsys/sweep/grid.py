"""The leaderboard of a grid that Hydra's own sweeper ran."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Leaderboard(Callback):
    """Hydra callback that ends a grid with a table of its runs, and any sweep with its directory on the last line."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401, ARG002 - Hydra's signature
        """Print the leaderboard, the state of the runs in the trackers, and the sweep directory."""
        from mlsys.tracking.client import flush
        from mlsys.tracking.messages import sweep_messages

        folder = Path(config.hydra.sweep.dir).absolute()
        if not folder.is_dir():  # rejected before the first job
            return
        if not (folder / "optimization_results.yaml").exists():
            show_leaderboard(folder, config)
        flush()  # wait for the last run of this process
        sys.stderr.writelines(f"{line}\n" for line in sweep_messages(folder))
        sys.stdout.write(f"{folder}\n")


def show_leaderboard(folder: Path, config: DictConfig) -> None:
    """Print the complete runs of a grid, best by the objective first.

    Parameters
    ----------
    folder : Path
        The sweep directory.
    config : DictConfig
        The grid's config; only ``objective`` is used.
    """
    from rich.table import Table

    from mlsys.evaluation.metric_table import greater_is_better, is_metric
    from mlsys.runs import Run
    from mlsys.runs.discover import run_folders
    from mlsys.sweep.checks import objectives_of
    from mlsys.terminal import Terminal

    objectives = [name for name in objectives_of(config) if is_metric(name)]
    runs = [Run.open(run, verify=False) for run in run_folders(folder) if (run / "manifest.json").exists()]
    rows = [
        (run, [run.metrics["overall"][name] for name in objectives])
        for run in runs
        if run.manifest.status == "complete"
    ]
    rows = [row for row in rows if objectives and row[1][0]["value"] is not None]
    if not rows:
        return
    rows.sort(key=lambda row: row[1][0]["value"], reverse=greater_is_better(objectives[0]))
    table = Table(title="Leaderboard", title_justify="left", box=None, pad_edge=False)
    for name in ("run", *objectives, "overrides"):
        table.add_column(name, justify="left" if name == "overrides" else "right", overflow="fold")
    for run, metrics in rows:
        overrides = " ".join(each["override"] for each in run.overrides or [])
        table.add_row(run.path.name, *(_format_metric(metric) for metric in metrics), overrides)
    Terminal(file=sys.stdout).print(table)


def _format_metric(metric: dict[str, Any]) -> str:
    interval = "" if metric.get("low") is None else f" [{metric['low']:.4g}, {metric['high']:.4g}]"
    return f"{metric['value']:.5g}{interval}"
