"""`mlsys runs`, `show` and `replay`: what runs left behind."""

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
from rich.console import Console
from rich.markdown import Markdown

from mlsys.cli.output import AsJson, print_json, print_rows, progress_bar
from mlsys.errors import RunError
from mlsys.launch import ENVIRONMENT_PREFIX, NO_TRACKING

if TYPE_CHECKING:
    from mlsys.runs import RunRow

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or `latest`.")]


SHOWN = 50  # rows of a table, unless asked for more
COLUMNS = ("status", "created", "model", "data", "sampler")  # then the headline metrics, and the audit


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look: a working folder, a sweep, any folder.")] = Path(),
    where: Annotated[
        str | None,
        typer.Option(
            help="Only runs of which this holds: comparisons (= != < <= > >= ~) of columns, metrics and config keys "
            "such as model.max_depth with values, joined by and, or, not, parentheses."
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Names to sort by, with commas between; -NAME is the highest first.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help=f"Rows at most; 0 is all. A table has {SHOWN}, JSON all of them.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every byte with the manifests; exit code 1 if any was changed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first, and mark those that are incomplete or were tampered with.

    Example: mlsys runs --where 'model=catboost and roc_auc>0.8' --sort -roc_auc
    """
    from mlsys.evaluation.metric_table import headline_columns
    from mlsys.runs.catalog.index import RunIndex
    from mlsys.runs.catalog.query import query_runs

    headline = headline_columns()
    most = (None if as_json else SHOWN) if limit is None else limit or None
    with progress_bar() as watch:
        found = query_runs(
            RunIndex(progress=watch), folder, where=where, sort=sort, limit=most, verify=verify, metrics=headline
        )
    base = folder.resolve()
    rows = [replace(row, path=folder / row.path.relative_to(base)) for row in found.rows]
    if as_json:
        print_json([asdict(row) | _numbers(row, headline) for row in rows])
    else:
        print_rows(_table(rows, found.values, headline), as_json=False, empty=_none_found(folder, where))
        if len(rows) < found.total:
            sys.stderr.write(f"{len(rows):,} of {found.total:,} runs; --limit 0 lists all.\n")
    if verify and any(row.status in ("tampered", "damaged") for row in rows):
        raise typer.Exit(1)


def _numbers(row: RunRow, headline: Sequence[str]) -> dict[str, float | None]:
    return {name: row.metrics.get(name) for name in headline}


def _table(
    rows: Sequence[RunRow], values: Sequence[Mapping[str, Any]], headline: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what a table shows: the usual columns, those that were asked about, what is wrong, the path."""
    asked = [
        name for name in (values[0] if values else {}) if name not in (*COLUMNS, *headline, "audit", "path", "problem")
    ]
    wrong = any(row.problem for row in rows)
    return [
        {name: getattr(row, name) for name in COLUMNS}
        | {"created": row.created[:19].replace("T", " ")}
        | _numbers(row, headline)
        | {"audit": row.audit}
        | {name: own[name] for name in asked}
        | ({"problem": row.problem} if wrong else {})
        | {"path": row.path}
        for row, own in zip(rows, values, strict=True)
    ]


def _none_found(folder: Path, where: str | None) -> str:
    if where:
        return f"No run in {folder.resolve()} of which {where!r} holds."
    return f"No runs in {folder.resolve()}: `make train` or `python -m mlsys.train` makes one."


def show(run: RunName = "latest", as_json: AsJson = False) -> None:
    """Print one run's card.

    Example: mlsys show latest
    """
    from mlsys.runs import Run, find_run

    opened = Run.open(find_run(run))
    if as_json:
        print_json(
            {"run": str(opened.path), "metrics": opened.metrics, "audit": opened.audit, "threshold": opened.threshold}
        )
        return
    console = Console()
    console.print(Markdown(opened.card))


def replay(
    run: RunName = "latest",
    keep: Annotated[Path | None, typer.Option(help="Keep the new run directory here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a saved config again and compare; exit code 1 if anything differs.

    Example: mlsys replay latest
    """
    from mlsys.runs import Run, find_run
    from mlsys.runs.differences import differences

    original = Run.open(find_run(run), any_version=True)
    with tempfile.TemporaryDirectory(prefix="mlsys-replay-") as scratch:
        folder = keep or Path(scratch) / "run"
        _train_again(original.path, folder)
        found = differences(original, Run.open(folder))
    if as_json:
        print_json({"identical": not found, "differences": [asdict(difference) for difference in found]})
    else:
        console = Console()
        console.print("identical" if not found else "different:", highlight=False)
        for difference in found:
            console.print(f"  {difference}", highlight=False, markup=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)


def _train_again(original: Path, folder: Path) -> None:
    # A process of its own, as the first time: nothing that this one has imported or set can matter.
    command = [sys.executable, "-m", "mlsys.train", "--config-dir", str(original), "--config-name", "config"]
    settings = [f"hydra.run.dir={folder}", "hydra.output_subdir=null", "hydra.job.name=train"]
    # The saved config holds what the environment had set at that time; what it sets now is for other runs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    environment[NO_TRACKING] = "1"  # a replay is no new experiment
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0 and not (folder / "manifest.json").exists():
        reason = (done.stderr or done.stdout).strip()
        raise RunError(f"The replay of {original} did not run through (exit code {done.returncode}):\n{reason}")
