"""`mlsys compare`: compare runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlsys.cli.output import AsJson, print_json, progress_bar
from mlsys.terminal import Terminal

if TYPE_CHECKING:
    from mlsys.evaluation.comparison import Comparison
    from mlsys.tracking.remote import Remote


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN…", help="Run directories, `latest`, or a folder of runs such as a sweep."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="RUN", help="The run to compare with, instead of the first one.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=20, help="Number of runs to take from a folder, best first.")] = 10,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Comma-separated metrics to print; files contain all metrics.")
    ] = None,
    bootstrap_resamples: Annotated[
        int | None, typer.Option(min=0, help="Number of bootstrap resamples; by default that of the run compared with.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a self-contained HTML page.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one row per metric and run.")] = None,
    wandb: Annotated[
        str | None, typer.Option(metavar="ENTITY/PROJECT", help="Read the runs from W&B; RUN is a W&B run id or name.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Read the runs from MLflow; RUN is an MLflow run id or name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare 2 to 20 runs.

    Shows metrics, paired differences, settings and cost. Exit code 1 if a run that you name cannot be compared.

    Example: mlsys compare outputs/DATE/TIME latest --html comparison.html
    """
    from mlsys.evaluation.comparison import compare as compare_runs
    from mlsys.evaluation.comparison.terminal import show

    remote = _remote(wandb, mlflow)
    if remote is not None:
        from mlsys.tracking.remote import gather_remote

        gathered = gather_remote(remote, names or [], to=to, top=top)
    else:
        from mlsys.evaluation.comparison import gather
        from mlsys.runs.catalog.index import RunIndex

        with progress_bar() as report_progress:
            gathered = gather(names or [], to=to, top=top, index=RunIndex(progress=report_progress))
    comparison = compare_runs(gathered, bootstrap_resamples=bootstrap_resamples)
    selected = _parse_metrics(metrics, comparison)
    _write_files(comparison, html, csv)  # before printing: a reader of the pipe, such as `head`, may close it early
    if as_json:
        print_json(comparison.to_dict())
    else:
        show(Terminal(), comparison, selected)
    if not comparison.is_complete:
        raise typer.Exit(1)


def _remote(wandb: str | None, mlflow: str | None) -> Remote | None:
    if wandb is not None and mlflow is not None:
        from mlsys.errors import ConfigError, Problem

        problem = Problem("--wandb, --mlflow", "both", "only one of them")
        raise ConfigError("The command", [problem], "Nothing was compared.")
    if wandb is not None:
        from mlsys.tracking.remote_wandb import WandbRemote

        return WandbRemote(wandb)
    if mlflow is not None:
        from mlsys.tracking.remote_mlflow import MlflowRemote

        return MlflowRemote(mlflow)
    return None


def _parse_metrics(metrics: str | None, comparison: Comparison) -> list[str] | None:
    """Return the requested metrics; raise if one is unknown."""
    from mlsys.errors import ConfigError, Problem, closest

    requested = [name.strip() for name in metrics.split(",")] if metrics else []
    unknown = [name for name in requested if name not in comparison.metrics]
    if unknown:
        allowed = ", ".join(comparison.metrics)
        problems = [Problem("--metrics", name, allowed, closest(name, comparison.metrics)) for name in unknown]
        raise ConfigError("The command", problems, "Nothing was written.")
    return requested or None


def _write_files(comparison: Comparison, html: Path | None, csv: Path | None) -> None:
    terminal = Terminal(stderr=True)
    if html is not None:
        from mlsys.evaluation.comparison.page import render_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(render_page(comparison), encoding="utf-8")
        terminal.print_line(f"Wrote {html}")
    if csv is not None:
        import pandas as pd

        from mlsys.spreadsheets import write_csv

        write_csv(pd.DataFrame(comparison.rows()), csv)
        terminal.print_line(f"Wrote {csv}")
