"""`mlsys runs`, `mlsys show` and `mlsys replay`: list, show and repeat runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlsys.cli.markdown import Markdown
from mlsys.cli.output import AsJson, print_json, print_rows, progress_bar
from mlsys.errors import RunError
from mlsys.launch import ENVIRONMENT_PREFIX, NO_TRACKING
from mlsys.terminal import Terminal
from mlsys.text import counted

if TYPE_CHECKING:
    from mlsys.runs import RunRow

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or `latest`.")]


DEFAULT_LIMIT = 50  # rows of a table
COLUMNS = ("status", "created", "model", "data", "sampler")  # followed by the headline metrics and the audit


def runs(
    folder: Annotated[
        Path, typer.Argument(help="The folder to search: a working folder, a sweep or any other.")
    ] = Path(),
    where: Annotated[
        str | None,
        typer.Option(
            help="List only runs that match a condition: comparisons (= != < <= > >= ~) of columns, metrics or config "
            "keys such as model.max_depth with values, combined with and, or, not and parentheses."
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Comma-separated names to sort by; -NAME sorts in descending order.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, help=f"Maximum number of rows, 0 for all; by default {DEFAULT_LIMIT} in a table, all as JSON."
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every file against its manifest; exit code 1 if any was changed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first.

    Runs that are incomplete, damaged or tampered with are flagged.

    Example: mlsys runs --where 'model=catboost and roc_auc>0.8' --sort -roc_auc
    """
    from mlsys.evaluation.metric_table import headline_columns
    from mlsys.runs.catalog.index import RunIndex
    from mlsys.runs.catalog.query import query_runs

    headline = headline_columns()
    max_rows = (None if as_json else DEFAULT_LIMIT) if limit is None else limit or None
    with progress_bar() as report_progress:
        index = RunIndex(progress=report_progress)
        found = query_runs(index, folder, where=where, sort=sort, limit=max_rows, verify=verify, metrics=headline)
    base = folder.resolve()
    rows = [replace(row, path=folder / row.path.relative_to(base)) for row in found.rows]
    if as_json:
        print_json([asdict(row) | _metric_values(row, headline) for row in rows])
    else:
        print_rows(_table(rows, found.values, headline), as_json=False, empty=_no_runs_message(folder, where))
        if len(rows) < found.total:
            sys.stderr.write(f"Showing {len(rows):,} of {counted(found.total, 'run')}; use --limit 0 to list all.\n")
    if verify and any(row.status in ("tampered", "damaged") for row in rows):
        raise typer.Exit(1)


def _metric_values(row: RunRow, headline: Sequence[str]) -> dict[str, float | None]:
    return {name: row.metrics.get(name) for name in headline}


def _table(
    rows: Sequence[RunRow], values: Sequence[Mapping[str, Any]], headline: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of the table: the usual columns, those named in --where and --sort, problems and the path."""
    queried = [
        name for name in (values[0] if values else {}) if name not in (*COLUMNS, *headline, "audit", "path", "problem")
    ]
    has_problems = any(row.problem for row in rows)
    return [
        {name: getattr(row, name) for name in COLUMNS}
        | {"created": row.created[:19].replace("T", " ")}
        | _metric_values(row, headline)
        | {"audit": row.audit}
        | {name: own[name] for name in queried}
        | ({"problem": row.problem} if has_problems else {})
        | {"path": row.path}
        for row, own in zip(rows, values, strict=True)
    ]


def _no_runs_message(folder: Path, where: str | None) -> str:
    if where:
        return f"No runs in {folder.resolve()} match {where!r}."
    return f"No runs in {folder.resolve()}. Train a model with `make train` or `python -m mlsys.train`."


def show(
    run: RunName = "latest",
    all_metrics: Annotated[bool, typer.Option("--all", help="Also print all metrics, for every k.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the model card of a run.

    Example: mlsys show latest --all
    """
    from mlsys.runs import Run, find_run

    opened = Run.open(find_run(run))
    if as_json:
        print_json(
            {"run": str(opened.path), "metrics": opened.metrics, "audit": opened.audit, "threshold": opened.threshold}
        )
        return
    console = Terminal()
    console.print(Markdown(opened.card))
    if all_metrics:
        from mlsys.evaluation.formats import confidence_level, currency
        from mlsys.evaluation.report.metric_rows import metric_rows
        from mlsys.evaluation.report.terminal import metric_table

        rows = list(metric_rows(opened.metrics, currency=currency(opened.config)))
        console.print()
        console.print(metric_table(rows, folds=len(opened.metrics["folds"]), level=confidence_level(opened.config)))


def replay(
    run: RunName = "latest",
    keep: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to keep the new run directory.")] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat a run from its saved config and compare the results.

    Exit code 1 if anything differs.

    Example: mlsys replay latest
    """
    from mlsys.runs import Run, find_run
    from mlsys.runs.differences import differences

    original = Run.open(find_run(run), any_version=True)
    if original.manifest.status == "failed":
        raise RunError(f"{original.path} failed, so it has no results to compare with. Its train.log has the reason.")
    with tempfile.TemporaryDirectory(prefix="mlsys-replay-") as scratch:
        folder = keep or Path(scratch) / "run"
        _retrain(original.path, folder)
        found = differences(original, Run.open(folder))
    if as_json:
        print_json({"identical": not found, "differences": [asdict(difference) for difference in found]})
    else:
        terminal = Terminal()
        terminal.print_line("identical" if not found else "different:")
        for difference in found:
            terminal.print_line(f"  {difference}")
    if found:
        raise typer.Exit(1)


def _retrain(original: Path, folder: Path) -> None:
    # In a process of its own, like the original run, so that nothing imported or set in this one can affect it.
    command = [sys.executable, "-m", "mlsys.train", "--config-dir", str(original), "--config-name", "config"]
    settings = [f"hydra.run.dir={folder}", "hydra.output_subdir=null", "hydra.job.name=train"]
    # The saved config already includes what the environment set then; what it sets now must not change the replay.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    environment[NO_TRACKING] = "1"  # a replay is not a new experiment
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0 and not (folder / "manifest.json").exists():
        reason = (done.stderr or done.stdout).strip()
        raise RunError(f"The replay of {original} failed with exit code {done.returncode}:\n{reason}")
