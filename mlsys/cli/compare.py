"""`mlsys compare`: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mlsys.cli.output import AsJson, print_json, progress_bar

if TYPE_CHECKING:
    from mlsys.evaluation.comparison import Comparison
    from mlsys.tracking.remote import Remote


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN…", help="Run directories, `latest`, or a folder of runs such as a sweep's."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="RUN", help="Compare with this run instead of the first.")] = None,
    top: Annotated[int, typer.Option(min=1, max=20, help="Runs to take of a folder, the best first.")] = 10,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Metrics to print, with commas between; files hold all of them.")
    ] = None,
    bootstrap_resamples: Annotated[
        int | None, typer.Option(min=0, help="Draws of the bootstrap; by default those of the run compared with.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page that holds everything.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a row for each metric and run.")] = None,
    wandb: Annotated[
        str | None, typer.Option(metavar="ENTITY/PROJECT", help="Take the runs from W&B; RUN is an id or a name there.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Take the runs from MLflow; RUN is an id or a name there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare 2 to 20 runs: metrics, paired differences, settings, cost; exit code 1 if one cannot be compared.

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

        with progress_bar() as watch:
            gathered = gather(names or [], to=to, top=top, index=RunIndex(progress=watch))
    comparison = compare_runs(gathered, bootstrap_resamples=bootstrap_resamples)
    chosen = _checked(metrics, comparison)
    _write(comparison, html, csv)  # first: whoever reads the table, such as `head`, may have seen enough of it
    if as_json:
        print_json(comparison.to_dict())
    else:
        show(Console(), comparison, chosen)
    if not comparison.is_whole:
        raise typer.Exit(1)


def _remote(wandb: str | None, mlflow: str | None) -> Remote | None:
    if wandb is not None and mlflow is not None:
        from mlsys.errors import ConfigError, Problem

        problem = Problem("--wandb and --mlflow", "both", "one of them")
        raise ConfigError("The command", [problem], "Nothing was compared.")
    if wandb is not None:
        from mlsys.tracking.remote_wandb import WandbRemote

        return WandbRemote(wandb)
    if mlflow is not None:
        from mlsys.tracking.remote_mlflow import MlflowRemote

        return MlflowRemote(mlflow)
    return None


def _checked(metrics: str | None, comparison: Comparison) -> list[str] | None:
    """Return the metrics asked for, once all of them are known."""
    from mlsys.errors import ConfigError, Problem, closest

    asked = [name.strip() for name in metrics.split(",")] if metrics else []
    unknown = [name for name in asked if name not in comparison.metrics]
    if unknown:
        allowed = ", ".join(comparison.metrics)
        problems = [Problem("--metrics", name, allowed, closest(name, comparison.metrics)) for name in unknown]
        raise ConfigError("The command", problems, "Nothing was written.")
    return asked or None


def _write(comparison: Comparison, html: Path | None, csv: Path | None) -> None:
    err = Console(stderr=True)
    if html is not None:
        from mlsys.evaluation.comparison.page import render_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(render_page(comparison), encoding="utf-8")
        err.print(f"Written: {html}", highlight=False, markup=False, soft_wrap=True)
    if csv is not None:
        import pandas as pd

        csv.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(comparison.rows()).to_csv(csv, index=False)
        err.print(f"Written: {csv}", highlight=False, markup=False, soft_wrap=True)
