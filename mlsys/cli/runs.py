"""`mlsys runs`, `show` and `replay`: what runs left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from mlsys.cli.output import AsJson, print_json, print_rows
from mlsys.errors import RunError
from mlsys.launch import ENVIRONMENT_PREFIX, NO_TRACKING

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or `latest`.")]


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first.

    Example: mlsys runs
    """
    from mlsys.runs import list_runs

    rows = [asdict(row) | {"created": row.created[:19].replace("T", " ")} for row in list_runs(folder)]
    empty = f"No runs in {folder.resolve()}: `make train` or `python -m mlsys.train` makes one."
    print_rows(rows, as_json=as_json, empty=empty)


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
    from mlsys.runs.compare import differences

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
